import pytest

from nas_mer.errors import UserError
from nas_mer.runs.retrainings.config import genotype_of


def test_which_genotype(retrained):
    with pytest.raises(UserError, match=r"holds 2 genotypes; name one, as in .*:rcn-f; known: rcn-f, rcn"):
        genotype_of(retrained, None)
    assert genotype_of(retrained, "rcn") == "rcn"
    with pytest.raises(UserError, match="did you mean 'rcn-f'"):
        genotype_of(retrained, "rcn-ff")
