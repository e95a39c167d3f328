"""What a run keeps of its spaces' sizes."""

from dataclasses import replace

import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.runs import Choice, Nested, choose, retrain
from nas_mer.space import SearchSpace


@pytest.fixture
def wider(space):
    """The same space, whose file gives other sizes."""
    return SearchSpace.parse(space.source.replace("feature_maps: 16", "feature_maps: 32"), "wider.yaml")


def test_two_files_of_one_space_are_not_taken_for_one(space, wider, tiny, recipe, tmp_path):
    assert wider.hash == space.hash
    both = [(space, space.genotype("rcn")), (wider, replace(wider.genotype("rcn"), name="wide"))]
    folds = {subject: Choice(*both[1]) for subject in Dataset.load(tiny).subjects}
    nested = Nested("nested", folds, Dataset.load(tiny).fingerprint)
    message = (
        r"^wider\.yaml: differs from .*rcn\.yaml in its sizes alone \(feature_maps is 32, there 16\), and a run keeps "
        r"one file of a space; use one file for all, with --set feature_maps=32, or a run for each$"
    )
    for genotypes in (both, [both[0], nested], [both[0], (wider, wider.genotype("rcn"))]):
        with pytest.raises(UserError, match=message):
            retrain(genotypes, tiny, recipe, tmp_path / "run")
    with pytest.raises(UserError, match=message):
        choose(both, {"plain": recipe}, tiny, tmp_path / "run", groups=3)
    assert not (tmp_path / "run").exists()
