from nas_mer.words import did_you_mean, listed, plural


def test_long_lists_are_cut():
    assert listed("abc") == "a, b, c"
    assert listed(range(13)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 3 more"


def test_counts():
    assert [plural(count, "genotype") for count in (0, 1, 1000)] == ["0 genotypes", "1 genotype", "1,000 genotypes"]


def test_what_was_meant():
    assert did_you_mean("surprize", ["surprise", "negative"]) == "; did you mean 'surprise'?"
    assert did_you_mean("xyz", ["b", "a"]) == "; known: a, b"
    assert did_you_mean("xyz", []) == ""
