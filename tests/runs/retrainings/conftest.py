"""A retraining that is stopped."""

import pytest

from nas_mer.runs import load_run, retrain


@pytest.fixture
def begun(genotypes, tiny, recipe, tmp_path, stopping, stop, alone):
    """Begin the same retraining and stop it when it has told of its progress some times: twice for each training."""

    def begin(times, error=stop, name="retrained", **changes):
        asked = {"genotypes": genotypes, "recipe": recipe, "seeds": 2, "compute": alone}
        with pytest.raises(error):
            retrain(dataset=tiny, out=tmp_path / name, **asked | {"progress": stopping(times, error)} | changes)
        return load_run(tmp_path / name)

    return begin
