import pytest

from nas_mer.errors import UserError, refuse


def test_several_problems_are_one_error():
    refuse([])
    with pytest.raises(UserError, match=r"^a\nb\nand 1 more$"):
        refuse(["a", "b", "c"], limit=2)
