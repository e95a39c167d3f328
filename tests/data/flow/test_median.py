import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter

from nas_mer.data.flow.median import median


@pytest.mark.parametrize("shape", [(2, 2, 33, 40), (1, 2, 131, 150), (1, 1, 3, 2), (1, 2, 1, 1)])
def test_agrees_with_scipy(shape):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = median_filter(images, (1, 1, 5, 5), mode="nearest")
    np.testing.assert_array_equal(median(torch.from_numpy(images)).numpy(), expected)


def test_ties():
    images = np.random.default_rng(1).integers(0, 3, (1, 1, 50, 60)).astype(np.float32)
    expected = median_filter(images, (1, 1, 5, 5), mode="nearest")
    np.testing.assert_array_equal(median(torch.from_numpy(images)).numpy(), expected)


def test_every_order_counts_by_the_zero_one_principle():
    # What finds the median of all windows of zeros and ones finds it of all windows: sample them with balance.
    rng = np.random.default_rng(2)
    ones = rng.permuted(np.arange(25) < np.array([12, 13])[rng.integers(0, 2, 4000)][:, None], axis=1)
    images = ones.reshape(4000, 1, 5, 5).astype(np.float32)
    np.testing.assert_array_equal(median(torch.from_numpy(images))[:, 0, 2, 2].numpy(), ones.sum(1) == 13)
