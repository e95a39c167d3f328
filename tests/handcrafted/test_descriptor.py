import numpy as np
import pytest

from nas_mer.errors import UserError
from nas_mer.handcrafted import DESCRIPTORS, find_descriptor
from nas_mer.handcrafted.descriptor import block_histograms


def test_histograms_of_blocks():
    codes = np.array([[0, 1, 2], [2, 1, 0], [2, 2, 2], [0, 0, 1]])
    halves = [codes[:2, :2], codes[:2, 2:], codes[2:, :2], codes[2:, 2:]]
    counts = [[int((half == code).sum()) for code in range(3)] for half in halves]
    assert block_histograms(codes, 2, 3).tolist() == counts
    assert block_histograms(np.stack([codes, codes]), 2, 3).tolist() == (2 * np.array(counts)).tolist()
    weights = np.arange(12.0).reshape(4, 3)
    assert block_histograms(codes, 1, 3, weights)[0].tolist() == [weights[codes == code].sum() for code in range(3)]


def test_blocks_are_alike_in_size():
    sizes = block_histograms(np.zeros((17, 23), int), 5, 1)
    assert sizes.sum() == 17 * 23
    assert set(sizes.ravel()) <= {height * width for height in (3, 4) for width in (4, 5)}
    with pytest.raises(UserError, match="23 x 4 pixels have no 5 x 5 blocks"):
        block_histograms(np.zeros((4, 23), int), 5, 1)


def test_by_name_and_with_parameters():
    assert [find_descriptor(name).kind for name in DESCRIPTORS] == ["lbp-top", "bi-woof"]
    assert find_descriptor("bi-woof", {"blocks": 8}).blocks == 8
    with pytest.raises(UserError, match=r"bi-woof: block: unknown key 'block'; did you mean 'blocks'?"):
        find_descriptor("bi-woof", {"block": 8})
    assert find_descriptor("bi-woof", {"penalty": 8}).penalty == 8.0
    with pytest.raises(UserError, match=r"bi-woof: blocks: Input should be a valid integer, found True"):
        find_descriptor("bi-woof", {"blocks": True})
    with pytest.raises(UserError, match=r"lbp-top: penalty: .* found 0"):
        find_descriptor("lbp-top", {"penalty": 0})
    with pytest.raises(UserError, match=r"no descriptor is called 'lbp'; did you mean 'lbp-top'?"):
        find_descriptor("lbp")
