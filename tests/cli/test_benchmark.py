"""A space retrained whole, packed and shown."""

import json

import pytest

from nas_mer.runs import load_run, predictions
from nas_mer.score import by_genotype, score

SPACE = """
version: 1
name: pair
input: {channels: 3, size: 16}
states:
  conv:
    from: input
    module: {choose: {small: {op: conv, channels: 4, kernel: 1}, large: {op: conv, channels: 4, kernel: 3}}}
head: {from: conv, pool: 2}
"""
QUICK = ("--epochs", "1", "--workers", "1")


@pytest.fixture(scope="module")
def folder(tiny, run_all, tmp_path_factory):
    """A folder with a space, its run with two seeds, and its table."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "pair.yaml").write_text(SPACE)
    run = ["benchmark", "run", folder / "pair.yaml", "--data", tiny, *QUICK, "--seeds", "2", "--out", folder / "run"]
    run_all(run, ["benchmark", "pack", folder / "run", "-o", folder / "tiny-pair-16.npz"])
    return folder


class TestRun:
    def test_it_is_a_retraining_run_that_resumes(self, folder, done):
        run = load_run(folder / "run", "retrain")
        assert run.config.genotypes == ("large", "small")
        assert run.config.seeds == (0, 1)
        assert "small" in done("runs", "resume", folder / "run")

    def test_a_large_space_is_refused_unless_the_user_says_so(self, refused, tiny, folder, tmp_path):
        said = refused("benchmark", "run", "nasbench201", "--data", tiny, "--out", tmp_path / "run")
        assert "has 15,625 genotypes" in said
        assert "--limit (now 200)" in said
        said = refused(
            "benchmark", "run", folder / "pair.yaml", "--data", tiny, "--limit", "1", "--out", tmp_path / "r"
        )
        assert "has 2 genotypes" in said
        assert not list(tmp_path.iterdir())

    def test_a_part_and_other_seeds(self, folder, run_all, done, tmp_path, tiny):
        run = ["benchmark", "run", folder / "pair.yaml", "--data", tiny, *QUICK]
        for name, which in (("a", ("--part", "1/2")), ("b", ("--part", "2/2")), ("c", ("--seeds", "1-1"))):
            run_all([*run, *which, "--out", tmp_path / name])
        assert load_run(tmp_path / "c").config.seeds == (1,)
        for name in "ab":
            assert len(load_run(tmp_path / name).config.genotypes) == 1
            assert "1 genotype, 1 seed" in done(
                "benchmark", "pack", "--partial", tmp_path / name, "-o", tmp_path / f"{name}.npz"
            )
        whole = tmp_path / "tiny-pair-16.npz"
        done("benchmark", "pack", *(tmp_path / name for name in ("c", "a.npz", "b.npz")), "-o", whole)
        assert whole.read_bytes() == (folder / "tiny-pair-16.npz").read_bytes()

    @pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
    def test_no_part(self, refused, folder, tiny, part):
        assert f"found '{part}'" in refused("benchmark", "run", folder / "pair.yaml", "--data", tiny, "--part", part)

    def test_more_parts_than_networks(self, refused, folder, tiny):
        said = refused("benchmark", "run", folder / "pair.yaml", "--data", tiny, "--part", "3/3")
        assert f"there are 2 networks of {folder / 'pair.yaml'} to retrain, found '3/3'" in said

    def test_what_a_table_does_not_have(self, folder, run_all, done, refused, tmp_path, tiny):
        run = ["benchmark", "run", folder / "pair.yaml", "--data", tiny, *QUICK, "--seeds", "2"]
        run_all([*run, "--part", "2/2", "--out", tmp_path / "half"])
        done("benchmark", "pack", "--partial", tmp_path / "half", "-o", tmp_path / "half.npz")
        run_all([*run, "--missing-from", tmp_path / "half.npz", "--out", tmp_path / "rest"])
        assert load_run(tmp_path / "rest").config.genotypes == ("large",)
        whole = tmp_path / "tiny-pair-16.npz"
        done("benchmark", "pack", tmp_path / "half.npz", tmp_path / "rest", "-o", whole)
        assert whole.read_bytes() == (folder / "tiny-pair-16.npz").read_bytes()
        said = refused(*run, "--missing-from", whole, "--out", tmp_path / "none")
        assert f"{whole}: has every network of {folder / 'pair.yaml'} with seed 0, 1; ask for other seeds" in said
        assert not (tmp_path / "none").exists()


class TestPack:
    def test_it_says_what_it_packed(self, folder, done, tmp_path):
        file = tmp_path / "again.npz"
        said = done("benchmark", "pack", folder / "run", "-o", file)
        assert said == f"{file}: 2 genotypes, 2 seeds, 16 samples of 4 subjects\n"
        assert file.read_bytes() == (folder / "tiny-pair-16.npz").read_bytes()

    def test_refused(self, refused, folder, tmp_path):
        assert "a table is a .npz file" in refused("benchmark", "pack", folder / "run", "-o", tmp_path / "a.csv")
        assert "no such run" in refused("benchmark", "pack", tmp_path / "gone", "-o", tmp_path / "a.npz")
        assert not list(tmp_path.iterdir())


class TestShow:
    def test_json_has_the_scores_of_the_run(self, folder, done):
        document = json.loads(done("benchmark", "show", folder / "tiny-pair-16.npz", "--json"))
        assert (document["name"], document["size"]) == ("tiny-pair-16", 16)
        groups = by_genotype(predictions(load_run(folder / "run")))
        means = {row["genotype"]: row["uar"] for row in document["means"]}
        assert means == {name: score(*seeds).composite.uar for name, seeds in groups.items()}
        assert list(means.values()) == sorted(means.values(), reverse=True)
        assert document["last_and_first"]["b"]["genotype"] == next(iter(means))

    def test_the_best_and_whether_it_matters(self, folder, done):
        said = done("benchmark", "show", folder / "tiny-pair-16.npz", "--top", "1")
        first, last = (row["genotype"] for row in self.ranking(folder, done))
        assert said.startswith("tiny-pair-16: 2 genotypes of pair at 16x16 on tiny\n")
        assert "nas-mer benchmark run pair --data tiny --recipe RECIPE.yaml --seeds 2\n" in said
        assert f"A: {last}, the last of 2. B: {first}, the first. UAR: " in said

    def ranking(self, folder, done):
        return json.loads(done("benchmark", "show", folder / "tiny-pair-16.npz", "--json"))["means"]

    def test_refused(self, refused, folder):
        assert "no benchmark is called so" in refused("benchmark", "show", "megc")
        assert "take maps of size 16, not 28" in refused(
            "benchmark", "show", folder / "tiny-pair-16.npz", "--size", "28"
        )
