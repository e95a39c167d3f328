import re
import shutil

import pytest

from nas_mer.report import write_report
from nas_mer.report.choices import Chosen
from nas_mer.report.story import story
from nas_mer.runs import Compute, choose, load_run


@pytest.fixture(scope="module")
def choice(space, tiny, recipe, tmp_path_factory):
    """Two genotypes and two recipes, chosen among for three groups."""
    genotypes = [(space, space.genotype(name)) for name in ("rcn", "rcn-f")]
    recipes = {"one": recipe, "other": recipe.model_copy(update={"balance": 0.5})}
    return choose(
        genotypes, recipes, tiny, tmp_path_factory.mktemp("runs") / "choice", groups=3, compute=Compute(workers=1)
    )


def section(sections, ident):
    return next(section for section in sections if section.ident == ident)


def rows(parts, caption):
    (table,) = (part for part in parts if part.kind == "table" and part.caption.startswith(caption))
    return [[cell.text for cell in row] for row in table.rows]


def test_each_candidate_and_each_group_is_told_of(choice):
    parts = section(story([choice]), "choice").parts
    candidates = rows(parts, "Candidates")
    assert {(genotype, recipe) for genotype, recipe, *_ in candidates} == {
        (genotype, recipe) for genotype in ("rcn", "rcn-f") for recipe in ("one", "other")
    }
    groups = rows(parts, "What each group")
    assert sum(int(subjects) for _, subjects, *_ in groups) == 4
    for genotype, recipe, _, _, times in candidates:
        assert int(times) == sum(row[2:4] == [genotype, recipe] for row in groups)
    for row, group in zip(groups, choice.result["groups"], strict=True):
        assert row[2:] == [group["genotype"], group["recipe"], f"{group['uar']:.3f}", f"{group['uf1']:.3f}"]


def test_the_summary_counts_groups(choice):
    (told,) = Chosen(choice, "choice").summary()
    assert told.text.startswith("choice chose among 2 genotypes and 2 recipes on tiny for 3 groups of subjects")
    assert sum(map(int, re.findall(r" for (\d)(?!\d* groups)", told.text.partition(": ")[2]))) == 3


def test_genotypes_that_were_chosen_are_drawn(choice):
    pictures = {part.name for part in section(story([choice]), "genotypes").parts}
    assert pictures == {f"{choice.name}-{group['genotype']}" for group in choice.result["groups"]}


def test_nothing_is_said_of_a_search_that_nobody_asked_for(choice):
    sections = story([choice])
    assert [one.ident for one in sections] == ["summary", "data", "space", "choice", "genotypes", "scores", "repeat"]
    assert "No retraining run" in section(sections, "scores").parts[0].text


def test_one_under_way(choice, tmp_path):
    run = load_run(shutil.copytree(choice.path, tmp_path / "begun"))
    (run.path / "result.json").unlink()
    missing = [part.text for part in section(story([run]), "choice").parts if getattr(part, "missing", False)]
    assert len(missing) == 1
    assert f"{run.path}: is not finished" in missing[0]


def test_it_is_a_page(choice, tmp_path, opened):
    write_report([choice], tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    assert page.locator("section[aria-labelledby=choice] table").count() == 2
