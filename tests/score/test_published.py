import pytest

from nas_mer.score import compared, find_published, published
from nas_mer.score.published import SAMPLES, find_published_hours, published_times

# Typed from the paper once more: (method, feature maps, pooling) -> UAR in Table II.
TABLE_II = {
    ("RCN", 16, 5): 0.6773, ("RCN-P", 64, 5): 0.6643, ("RCN-C", 32, 7): 0.6787, ("RCN-W", 64, 7): 0.6815,
    ("RCN-A", 32, 7): 0.7052, ("RCN-F", 16, 7): 0.6915, ("RCN-S", 32, 7): 0.7146,
}  # fmt: skip


@pytest.mark.parametrize(("setting", "uar"), TABLE_II.items())
def test_table_ii(setting, uar):
    found = find_published(setting[0].lower(), SAMPLES, 60, *setting[1:])
    assert found.scores["composite"].uar == uar
    assert "II" in found.tables


def test_table_v_has_each_database():
    found = find_published("rcn-a", SAMPLES, 60, 64, 7)
    assert found.tables == ("II", "V")
    assert found.scores == {
        "composite": (0.7190, 0.7432),
        "smic": (0.6441, 0.6326),
        "casme2": (0.8123, 0.8512),
        "samm": (0.6715, 0.7601),
    }


def test_two_databases_are_a_composite_of_their_own():
    two = {name: SAMPLES[name] for name in ("samm", "casme2")}
    assert find_published("rcn-s", two, 60, 64, 7).scores == {"composite": (0.7491, None)}
    assert find_published("rcn-f", two, 60, 32, 5) is None


def test_other_samples_sizes_and_names_match_nothing():
    assert find_published("rcn-f", SAMPLES | {"smic": 163}, 60, 16, 5) is None
    assert find_published("rcn-f", {"smic": 164}, 60, 16, 5) is None
    assert find_published("rcn-f", SAMPLES, 28, 16, 5) is None
    assert find_published("top1", SAMPLES, 60, 16, 5) is None
    assert compared({"smic": 164}) == []


def test_magnified_motion_does_not_stand_for_motion_as_it_is():
    assert find_published("rcn", SAMPLES, 100, 16, 5).scores["composite"].uar == 0.6594
    assert {row.scores["composite"].uar for row in published() if row.magnified and row.size == 100} == {
        0.6154, 0.5792, 0.6199, 0.6337, 0.6267,
    }  # fmt: skip


def test_no_setting_is_there_twice_and_all_are_shares():
    rows = published()
    keys = [(row.method, row.databases, row.size, row.feature_maps, row.pool, row.magnified) for row in rows]
    assert len(set(keys)) == len(keys)
    counts = {table: sum(table in row.tables for row in rows) for table in ("II", "III", "IV", "V")}
    assert counts == {"II": 42, "III": 20, "IV": 30, "V": 14}
    values = [value for row in rows for part in row.scores.values() for value in part if value is not None]
    assert 0 < min(values) <= max(values) < 1


def test_the_papers_contradictions_are_told():
    assert "0.6915" in find_published("rcn-f", SAMPLES, 60, 16, 5).remark
    best = max(row.scores["composite"].uar for row in published() if row.method == "RCN-S" and "II" in row.tables)
    assert str(best) in find_published("rcn-s", SAMPLES, 60, 16, 5).remark


def test_the_methods_it_compares_with():
    found = {row.method: row for row in compared(SAMPLES)}
    assert len(found) == 10
    assert found["OFF-ApexNet"].scores["casme2"] == (None, 0.8764)
    assert found["Dual-Inception"].source == "Tab. V"


def test_table_vi():
    """Typed from the paper once more: all of its times at 16 feature maps and 200 pixels, and some others."""
    methods = ("RCN", "RCN-A", "RCN-S", "RCN-W", "RCN-F")
    assert [find_published_hours(method, 200, 16, 5) for method in methods] == [4.7, 4.9, 4.8, 4.9, 5.0]
    assert [find_published_hours("RCN-W", size, 64, 9) for size in (60, 100, 200, 300)] == [1.8, 2.2, 6.2, 13.8]
    assert find_published_hours("RCN", 60, 16, 9) is None
    assert len({(row.method, row.size, row.feature_maps, row.pool) for row in published_times()}) == 5 * 4 * 2
