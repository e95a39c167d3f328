"""The contract that every strategy keeps: a new one gets all of these tests by being in the registry.

Those that train genotypes one by one keep it while they tune, too.
"""

import json

import numpy as np
import pytest

from nas_mer.data import Dataset, loso_folds
from nas_mer.errors import UserError
from nas_mer.runs import Compute, derive, load_run, resume, search
from nas_mer.search import STRATEGIES, SearchReplica, SupernetStrategy, TrialStrategy, cost, read_tune
from nas_mer.search.cost import sample_steps
from nas_mer.space import Genotype, SearchSpace
from nas_mer.space.isomorphism import Distinct

NAMES = list(STRATEGIES)
SUPERNETS = [name for name, one in STRATEGIES.items() if isinstance(one, SupernetStrategy)]
ONE_BY_ONE = [name for name, one in STRATEGIES.items() if isinstance(one, TrialStrategy)]
TUNED = [f"{name}, tuned" for name in ONE_BY_ONE]
TUNE = {"tune": ("maps", "optimizer.learning_rate=1e-3..1e-2"), "objectives": ("uar", "parameters")}
ALONE = Compute(workers=1, checkpoint_every=0.0)

# Options p and r of the same module are the same network; x and y need each other's partner by a rule.
SPACE = """
version: 1
name: contract
input: {channels: 3, size: 8}
parameters: {maps: 4}
tune: {maps: [3, 4]}
states:
  a:
    from: [input]
    module: {choose: {p: {op: conv, kernel: 1, channels: $maps}, q: {op: conv, kernel: 3, channels: $maps},
                      r: {op: conv, kernel: 1, channels: $maps}}}
  b:
    from: [a]
    module: {choose: {x: [{op: conv, kernel: 1}, relu], y: [{op: conv, kernel: 3}, relu],
                      z: [{op: conv, kernel: 5}, relu]}}
constraints:
  - {at_most: 1, of: {a: [q], b: [z]}}
head: {from: b, pool: 2}
"""


@pytest.fixture(scope="module")
def small():
    return SearchSpace.parse(SPACE)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four subjects with four samples each; every class is with every subject."""
    from nas_mer.data import CLASSES, Sample

    samples = [Sample("db", f"s{s}", f"{i}", CLASSES[i % 3]) for s in range(4) for i in range(4)]
    maps = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp("data") / "small"
    Dataset("small", maps, tuple(samples)).save(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "TUNED_DRAWS", 2)
        yield


def strategy_of(name):
    return name.removesuffix(", tuned")


def asked_of(name):
    """What is asked for: the strategy, and what it tunes."""
    return {"strategy": strategy_of(name)} | (TUNE if name in TUNED else {})


def recipe_of(name, **changes):
    """A quick recipe: two epochs of two or three steps."""
    quick, strategy = {"epochs": 2, "batch_size": 3}, STRATEGIES[strategy_of(name)]
    if isinstance(strategy, SupernetStrategy):
        quick |= {"tuning": 1, "candidates": 6}
    return strategy.load("default").model_copy(update=quick | changes)


def budget_of(name, genotypes=4):
    """Enough for some genotypes, where they are trained one by one: 12 samples and a look at 8 each."""
    if name in SUPERNETS:
        return None
    steps = genotypes * (2 * 2 * 3 + 8 / 3) / 64
    if name in ONE_BY_ONE:
        return steps
    space, recipe = SearchSpace.parse(SPACE), recipe_of(name)
    sizes = [size for _, size in cost.tuned(space, recipe, read_tune(TUNE["tune"], space, recipe))]
    return 1.001 * steps * np.mean(sizes)


@pytest.fixture(scope="module")
def run_of(small, data, tmp_path_factory):
    """Return a function that searches by a strategy; the same arguments are searched once."""
    known = {}

    def run_of(name, seeds=1, protocol="shared", again=0, dataset=data, compute=ALONE, progress=None):
        key = name, seeds, protocol, again, dataset
        if key not in known:
            path = tmp_path_factory.mktemp(name) / "run"
            budget = budget_of(name, 4 if protocol == "shared" else 1)
            asked = {**asked_of(name), "budget": budget, "compute": compute, "progress": progress}
            known[key] = search(small, dataset, recipe_of(name), path, seeds, protocol=protocol, **asked)
        return known[key]

    return run_of


def found(run):
    """What a run gave, but for its own name."""
    lines = sorted((run.path / "metrics.jsonl").read_text().splitlines())
    return run.result, lines


@pytest.mark.parametrize("name", [*NAMES, *TUNED])
class TestContract:
    def test_genotypes_are_ranked_and_of_the_space(self, name, run_of, small):
        run = run_of(name)
        genotypes = [Genotype.load(run.path / "genotypes" / f"top{rank}.yaml") for rank in (1, 2, 3)]
        assert [genotype.rank for genotype in genotypes] == [1, 2, 3]
        distinct, seen = Distinct(), set()
        for genotype, of_result in zip(genotypes, run.result["genotypes"], strict=False):
            assert small.accept(genotype).overrides == genotype.parameters == of_result["parameters"]
            assert genotype.choices == of_result["choices"]
            recipe = run.path / "recipes" / f"{genotype.name}.yaml"
            seen.add((distinct.number(small.freeze(genotype)), recipe.read_text() if recipe.exists() else ""))
            assert recipe.exists() == (name in TUNED)
            assert f"strategy {strategy_of(name)}" in genotype.origin
        assert len(seen) == 3
        assert [one.choices for one in derive(run, 2)][:2] == [one.choices for one in genotypes[:2]]

    def test_another_seed_gives_another(self, name, run_of):
        run = run_of(name, seeds=2)
        lines = [{key: value for key, value in line.items() if key != "seed"} for line in run.metrics()]
        seeds = [line["seed"] for line in run.metrics()]
        first, second = ([line for line, of in zip(lines, seeds, strict=True) if of == seed] for seed in (0, 1))
        assert first
        assert first != second
        assert first == [{k: v for k, v in line.items() if k != "seed"} for line in run_of(name).metrics()]

    def test_a_stopped_run_goes_on_to_the_same_result(self, name, run_of, small, data, tmp_path):
        """After the first epoch of a supernet; where genotypes are trained one by one, after the first of them."""
        told, times = [], 1 if name in SUPERNETS else 3

        def progress(*what):
            told.append(what)
            if len(told) == times:
                raise InterruptedError

        path = tmp_path / "run"
        asked = {**asked_of(name), "budget": budget_of(name), "compute": ALONE, "progress": progress}
        with pytest.raises(InterruptedError):
            search(small, data, recipe_of(name), path, **asked)
        assert not load_run(path).finished
        told.clear()
        again = resume(path, ALONE, lambda *what: told.append(what))
        assert found(again) == found(run_of(name))
        assert len(told) + times <= 6 + (times == 3)  # nothing that was kept is done again

    def test_a_budget_too_small_is_told_before_a_run_is_made(self, name, small, data, tmp_path):
        message = rf"--budget: 0.01 steps are not enough .* strategy {strategy_of(name)}, which takes [1-9]"
        with pytest.raises(UserError, match=message):
            search(small, data, recipe_of(name), tmp_path / "run", **asked_of(name), budget=0.01, compute=ALONE)
        assert not (tmp_path / "run").exists()

    def test_a_recipe_of_the_other_kind_is_refused(self, name, small, data, tmp_path):
        other = ONE_BY_ONE[0] if name in SUPERNETS else SUPERNETS[0]
        message = rf"strategy {strategy_of(name)} trains .*, which needs a (search|retraining) recipe"
        with pytest.raises(UserError, match=message):
            search(small, data, recipe_of(other), tmp_path / "run", **asked_of(name), compute=ALONE)


@pytest.mark.parametrize("name", [*NAMES, TUNED[0]])
def test_a_held_out_subject_has_no_say(name, run_of, data, tmp_path):
    """Other maps of one subject: the same genotype for the fold that holds it out, bit for bit."""
    dataset = Dataset.load(data)
    fold = loso_folds(dataset)[1]
    maps = dataset.maps.copy()
    maps[fold.test] = np.nan
    Dataset(dataset.name, np.nan_to_num(maps, nan=1e4), dataset.samples).save(tmp_path / "other")
    runs = run_of(name, protocol="nested"), run_of(name, protocol="nested", dataset=tmp_path / "other")
    lines = [[line for line in run.metrics() if line["fold"] == fold.subject] for run in runs]
    assert lines[0]
    assert lines[0] == lines[1]
    assert runs[0].metrics() != runs[1].metrics()
    files = [Genotype.load(run.path / "folds" / f"{fold.subject}.yaml") for run in runs]
    assert files[0].choices == files[1].choices


def test_any_number_of_workers_gives_the_same(run_of):
    assert found(run_of("random", again=1, compute=Compute(workers=2))) == found(run_of("random"))


REPLICA = SearchReplica(np.arange(8), np.arange(8, 16), (0,))
"""In an epoch two steps of three samples of each half, by `recipe_of`."""


@pytest.mark.parametrize(
    ("name", "warm_up"), [*((name, 0) for name in SUPERNETS), ("darts", 3), ("darts", 100), ("perturbation", 3)]
)
def test_a_budget_sets_the_epochs_of_a_supernet(name, warm_up, small):
    """The cost of the epochs that a budget is enough for is within it, that of one more is not."""
    strategy, recipe, replica = STRATEGIES[name], recipe_of(name, warm_up=warm_up), REPLICA
    epochs = strategy.within(30.0, small, recipe, [replica]).epochs
    cost = strategy.search.cost(small, recipe, replica)
    assert sample_steps(small) * cost.of(epochs) <= 30.0 < sample_steps(small) * cost.of(epochs + 1)


def test_the_cost_of_a_search_by_hand(small):
    """Forward and backward counts whole, forward alone a third; the exact hypergradient takes four passes more."""
    alone = STRATEGIES["darts"].search.cost(small, recipe_of("darts", order="first"), REPLICA)
    assert [alone.of(epochs) for epochs in (1, 5)] == [6 + 6, 5 * (6 + 6)]
    warm = STRATEGIES["darts"].search.cost(small, recipe_of("darts", order="first", warm_up=2), REPLICA)
    assert [warm.of(epochs) for epochs in (1, 2, 5)] == [6 + 2, 2 * (6 + 2), 2 * (6 + 2) + 3 * (6 + 6)]
    assert [warm.epochs(most) for most in (7.9, 8, 27.9, 28, 51.9, 52)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", [*ONE_BY_ONE, *TUNED])
def test_no_network_is_trained_twice_and_no_more_than_the_budget(name, run_of, small):
    run = run_of(name)
    assert run.config.trials == 4
    scores = {}
    for line in run.metrics():
        assert small.combinations.allows(line["choices"])
        tuned = json.dumps([line["parameters"], line["recipe"]])
        key = "p" if line["choices"]["a"] == "r" else line["choices"]["a"], line["choices"]["b"], tuned
        scores.setdefault(key, set()).add((line["valid_uar"], line["valid_loss"]))
    assert len(scores) <= 4
    assert all(len(of_network) == 1 for of_network in scores.values())
    assert run.result["tried"] == len(scores)
    best = max(score for (score,) in scores.values())[0]
    assert run.result["trials"][0]["valid_uar"] == best == run.result["seeds"]["0"]["valid_uar"]


def test_what_cannot_be_built_has_no_cost(small, data, tmp_path):
    """Each value is one that some network can have, and no two go together."""
    tune = ["optimizer.nesterov=true", "optimizer.momentum=0"]
    message = r"--tune: none of 2 draws can be built; tune to other values: .*nesterov needs a momentum above 0"
    with pytest.raises(UserError, match=message):
        search(small, data, recipe_of("random"), tmp_path / "run", strategy="random", tune=tune, budget=9.0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", SUPERNETS)
@pytest.mark.parametrize("key", ["tune", "objectives"])
def test_who_cannot_tune_is_told_who_can(name, key, small, data, tmp_path):
    message = rf"--{key}: strategy {name} trains one supernet .* one by one: {', '.join(ONE_BY_ONE)}"
    with pytest.raises(UserError, match=message):
        search(small, data, recipe_of(name), tmp_path / "run", strategy=name, **{key: TUNE[key]}, compute=ALONE)
    assert not (tmp_path / "run").exists()


def test_a_registry_of_what_there_is():
    from nas_mer.cli.options import Strategy

    assert [one.value for one in Strategy] == NAMES
    assert all(one.name == name for name, one in STRATEGIES.items())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gumbel", {"relaxation": "softmax"}, "relaxation: strategy gumbel goes with gumbel, found softmax"),
        ("fair", {"relaxation": "sum"}, "relaxation: strategy fair goes with sigmoid, found sum"),
        ("perturbation", {"relaxation": "gumbel"}, "goes with softmax, sum, sigmoid, found gumbel"),
        ("weight-sharing-random", {"order": "exact"}, "order: strategy weight-sharing-random has no alphas"),
    ],
)
def test_what_contradicts_a_strategy(name, changes, message):
    with pytest.raises(UserError, match=message):
        STRATEGIES[name].accept(recipe_of(name, **changes))


def test_a_strategy_brings_its_relaxation():
    assert STRATEGIES["gumbel"].accept(recipe_of("gumbel")).relaxation == "gumbel"
    assert STRATEGIES["fair"].accept(recipe_of("fair")).relaxation == "sigmoid"
    assert STRATEGIES["darts"].accept(recipe_of("darts")) == recipe_of("darts")
