import numpy as np
import pytest

from nas_mer.data import Dataset, loso_folds
from nas_mer.runs import Compute
from nas_mer.runs.folder import maps_of
from nas_mer.runs.trainings import Training, train_all
from nas_mer.train import Inputs, Replica, train


@pytest.fixture
def dataset(tiny):
    return Dataset.load(tiny)


@pytest.fixture
def trainings(space, recipe, dataset):
    """Two sizes of a network and two recipes, in turn."""
    longer = recipe.model_copy(update={"epochs": 3, "normalise": "standardise"})
    found = {}
    for fold in loso_folds(dataset):
        for sized in (space, space.with_parameters(size=12)):
            genotype = sized.genotype("rcn")
            for name, how in (("short", recipe), ("long", longer)):
                graph = sized.freeze(genotype)
                size = graph.shapes["input"].height
                replica = Replica(f"{genotype.digest} {size}", graph, fold.subject, fold.train, fold.test, 0)
                found[f"{fold.subject}, {size}, {name}"] = Training(replica, how)
    return found


@pytest.mark.parametrize("group", [1, 3])
def test_each_is_trained_by_its_own_recipe_on_maps_of_its_own_size(trainings, dataset, group):
    found, tasks = {}, []

    def hear(task, heard):
        tasks.append(task)
        found.update(heard.trained)

    train_all(trainings, dataset, Compute(workers=1, group=group), hear)
    assert found.keys() == trainings.keys()
    for key, one in trainings.items():
        size = one.replica.graph.shapes["input"].height
        inputs = Inputs.of(maps_of(dataset, size), one.recipe.normalise, one.recipe.augment)
        (expected,) = train([one.replica], lambda group: None, inputs, one.recipe)
        assert len(found[key].losses) == one.recipe.epochs
        tolerance = {"rtol": 0, "atol": 0} if group == 1 else {"rtol": 1e-2, "atol": 2e-3}
        np.testing.assert_allclose(found[key].logits, expected.logits, **tolerance)
    for task in tasks:
        assert 1 <= len(task.keys) <= group
        assert len({(one.recipe, one.replica.genotype) for one in task.trainings}) == 1
    if group == 1:
        assert list(dict.fromkeys(str(task) for task in tasks)) == list(trainings)


def test_nothing_to_train(dataset):
    train_all({}, dataset, Compute(workers=1), pytest.fail)
