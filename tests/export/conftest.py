import pytest

from nas_mer.runs import Compute, retrain


@pytest.fixture(scope="session")
def run(space, tiny, recipe, tmp_path_factory):
    """A retraining of rcn-f and rcn-a with two seeds in four folds."""
    path = tmp_path_factory.mktemp("runs") / "loso"
    pairs = [(space, space.genotype(name)) for name in ("rcn-f", "rcn-a")]
    return retrain(pairs, tiny, recipe, path, seeds=2, compute=Compute(workers=1))
