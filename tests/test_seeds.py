import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.errors import UserError
from nas_mer.seeds import numbers_of, read_seeds, seeds_in_words


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1", [0]), ("3", [0, 1, 2]), ("2-2", [2]), ("3-5", [3, 4, 5]), ("0,4-6", [0, 4, 5, 6]), ("0,2", [0, 2])],
)
def test_read(text, numbers):
    assert read_seeds(text) == numbers
    assert seeds_in_words(numbers) == text


@given(st.sets(st.integers(0, 30), min_size=1))
def test_words_are_read_as_what_they_say(numbers):
    assert read_seeds(seeds_in_words(sorted(numbers))) == sorted(numbers)


@pytest.mark.parametrize("text", ["0", "-1", "5-3", "5-3,1", "x", "", "1,", "1.5", "2,2", "0-3,2"])
def test_not_read(text):
    with pytest.raises(UserError, match=rf"--seeds: expected .*, found '{text}'"):
        read_seeds(text)


def test_numbers():
    assert numbers_of(3) == (0, 1, 2)
    assert numbers_of([4, 2]) == (4, 2)


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], [-1, 0]])
def test_no_numbers(seeds):
    with pytest.raises(UserError, match="seeds: expected at least one, from 0 on and none twice, found"):
        numbers_of(seeds)
