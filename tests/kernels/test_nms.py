"""The kernel of nms: boxes that overlap at, below and above the threshold, edge sizes, errors."""

import numpy as np
import pytest
from ranvier import kernels
from reference import images as reference


def boxes(rng, n, dtype, spread=4.0):
    corner = rng.uniform(0, spread, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0, 2, (n, 2))], 1).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 70])
def test_values(n, dtype, isa, rng):
    for spread, threshold in ((2.0, 0.1), (6.0, 0.3), (6.0, 0.0), (1.0, 0.9)):
        x = boxes(rng, n, dtype, spread)
        kept = kernels.nms(x, threshold)
        assert kept.dtype == bool
        np.testing.assert_array_equal(kept, reference.nms(x, threshold))
        wide = np.zeros((n, 8), dtype)
        wide[:, ::2] = x
        np.testing.assert_array_equal(kernels.nms(wide[:, ::2], threshold), kept)


def test_the_threshold_itself_is_no_overlap(isa, rng):
    """Also where a threshold is no float32: 0.7 is above its nearest one, 0.1 below."""
    for _ in range(20):
        pair = boxes(rng, 2, "float32", 0.5)
        share = np.float32(reference.shared(*pair))
        for threshold in (share, np.nextafter(np.float64(share), 0), np.nextafter(np.float64(share), 1)):
            kept = kernels.nms(pair, float(threshold))
            assert kept.tolist() == [True, float(share) <= float(threshold)]
    pair = np.array([[0, 0, 10, 1], [0, 0, 7, 1], [0, 0, 1, 1]], "float32")  # 7 tenths, a tenth
    for threshold in (0.7, 0.1):
        assert kernels.nms(pair, threshold).tolist() == reference.nms(pair, threshold).tolist()


def test_boxes_without_size_and_nan_stay(isa):
    x = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [np.nan, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]], "float32")
    assert kernels.nms(x, 0.5).tolist() == [True, True, True, True, False]
