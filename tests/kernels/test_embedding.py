"""The embedding kernels on raw arrays: shared sums, bags, errors; sizes: tests/ops."""

import numpy as np
import pytest
from ranvier import _core, kernels
from support.bits import same_bits
from support.tolerance import tolerance


def test_one_row_picked_by_all(threads, rng):
    """The hardest case for sums that threads share: the same bits all the same."""
    dy = rng.standard_normal((20000, 48)).astype("float32")
    index = np.zeros(20000, np.int64)
    same_bits(threads, lambda: _core.embedding_backward(dy, index, 3))


def bags_of(index, offsets, include_last):
    """The places in the flat index, bag by bag."""
    if offsets is None:
        return np.split(np.arange(index.size), len(index))
    ends = offsets[1:] if include_last else [*offsets[1:], index.size]
    return [np.arange(a, b) for a, b in zip(offsets, ends, strict=not include_last)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 4, 17, 32, 64, 131])
@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("mode", ["sum", "weights", "mean", "max"])
def test_bags(mode, padding, width, dtype, threads, isa, rng):
    """Empty bags, repeated rows, equal rows, whole numbers: the sums are exact."""
    threads(2)
    weight = rng.integers(-9, 10, (7, width)).astype(dtype)
    weight[3] = weight[4]
    for shape, offsets, include_last in (
        ((12, 5), None, False),
        ((60,), np.array([0, 0, 5, 5, 30, 60]), False),
        ((60,), np.array([0, 0, 5, 5, 30, 50]), True),
    ):
        index = rng.integers(0, 7, shape)
        scale = rng.integers(-3, 4, shape).astype(dtype) if mode == "weights" else None
        settings = [offsets, scale, mode.replace("weights", "sum"), include_last, padding]
        bags = [b[index.ravel()[b] != padding] for b in bags_of(index, offsets, include_last)]
        dy = rng.integers(-4, 5, (len(bags), width)).astype(dtype)
        y, dweight, dscale = np.zeros(dy.shape), np.zeros(weight.shape), np.zeros(index.size)
        for b, places in enumerate(bags):
            rows = weight[index.ravel()[places]].astype(np.float64)
            shares = np.ones(rows.shape)
            if len(places) == 0:
                continue
            if mode == "weights":
                shares *= scale.ravel()[places, None]
                dscale[places] = rows @ dy[b]
            if mode == "max":
                shares *= rows == rows.max(0)
            if mode in ("max", "mean"):
                shares /= shares.sum(0)
            y[b] = (rows * shares).sum(0)
            np.add.at(dweight, index.ravel()[places], shares * dy[b])
        near = {"rtol": 0, "atol": tolerance(dtype, 64, 16)}
        for table in (weight, np.asfortranarray(weight)):
            found = kernels.embedding_bag(index, table, *settings)
            np.testing.assert_allclose(found, y, **near)
            for by_frequency in (False, True):
                back = kernels.embedding_bag_backward(dy, found, index, table, *settings, by_frequency)
                expected = dweight
                if by_frequency:
                    expected = dweight / np.maximum(_picks(index, bags, len(weight)), 1)[:, None]
                np.testing.assert_allclose(back[0], expected, **near)
                if scale is not None:
                    np.testing.assert_array_equal(back[1], dscale.reshape(shape))


def _picks(index, bags, rows):
    return np.bincount(index.ravel()[np.concatenate(bags)], minlength=rows)


def test_bags_have_the_same_bits_on_any_team(threads, isa, rng):
    weight, index = rng.standard_normal((50, 70)).astype("float32"), rng.integers(0, 50, (300, 20))
    dy = rng.standard_normal((300, 70)).astype("float32")
    for mode in ("sum", "mean", "max"):
        same_bits(threads, lambda mode=mode: kernels.embedding_bag(index, weight, None, None, mode))
        y = kernels.embedding_bag(index, weight, None, None, mode)
        same_bits(
            threads,
            lambda y=y, mode=mode: kernels.embedding_bag_backward(dy, y, index, weight, None, None, mode)[0],
        )


def test_bags_of_strided_indices_and_none(rng):
    weight, index = rng.standard_normal((9, 5)), rng.integers(0, 9, (4, 6))
    np.testing.assert_array_equal(
        kernels.embedding_bag(index.T.astype(np.int32), weight),
        kernels.embedding_bag(np.ascontiguousarray(index.T), weight),
    )
    assert kernels.embedding_bag(index[:0], weight).shape == (0, 5)
    assert not kernels.embedding_bag(index[:, :0], weight).any()
    y = kernels.embedding_bag(index[:, :0], weight, mode="max")
    assert not y.any()
    assert not kernels.embedding_bag_backward(y, y, index[:, :0], weight, mode="max")[0].any()
