"""Kernels of normalisations beside the reference in NumPy, in float64, within the roundings of a sum of all
normalised elements; the same bits on any number of threads and of lines alone; numbers far from 0, tiny and
huge ones. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import functools

import numpy as np
import pytest
from ranvier import _core
from reference import norm as reference
from support.layouts import in_layout
from support.threads import same_bits
from support.tolerance import tolerance


def close(dtype, got, want, reduction, magnitude=8.0):
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, reduction, magnitude))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_planes_have_the_same_bits_channel_by_channel(dtype, isa, threads, rng):
    """One thread takes each of 6 channels as a whole; two share the planes of all channels."""
    x, dy = rng.uniform(-2, 2, (2, 9, 6, 61, 33)).astype(dtype)
    weight, bias = rng.uniform(0.5, 1.5, (2, 6)).astype(dtype)

    def run():
        y, mean, rstd = _core.batch_norm(x, weight, bias, eps=0.1)
        return y, mean, rstd, *_core.batch_norm_backward(dy, x, weight, mean, rstd)

    same_bits(threads, run, (1, 2))
    y, _, _, *gradients = run()
    exact, elements = x.astype("float64"), x[:, 0].size
    close(dtype, y, reference.batch_norm(exact, weight, bias, 0.1), elements)
    wanted = reference.batch_norm_backward(dy.astype("float64"), exact, weight, 0.1)
    for got, want in zip(gradients, wanted, strict=True):
        close(dtype, got, want, elements)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_lines_have_the_same_bits_alone(name, dtype, isa, threads, rng):
    """Several short lines are normalised at once."""
    for n in (1, 9, 17, 300, 1025):
        x, weight = rng.uniform(-2, 2, (35, n)).astype(dtype), rng.uniform(0.5, 1.5, n).astype(dtype)
        extra = (weight, None) if name == "layer_norm" else (weight,)
        run = functools.partial(getattr(_core, name), x, (n,), *extra, 0.1)
        same_bits(threads, run, (1, 2))
        alone = zip(*(getattr(_core, name)(line[None], (n,), *extra, 0.1) for line in x), strict=True)
        for part, parts in zip(run(), alone, strict=True):
            np.testing.assert_array_equal(part.reshape(35, -1), np.stack(parts).reshape(35, -1))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
def test_far_from_zero(mean, channels_last, isa, rng):
    """Where the mean is 1e6 deviations off, float32 keeps what its input has: compared with float64."""
    x = (rng.standard_normal((8, 5, 33, 17)) + mean).astype("float32")
    exact = x.astype("float64")
    x = in_layout(x, "channels_last") if channels_last else x
    limit = tolerance("float32", 64, 5.0)  # a block's sum, of values within 5 deviations
    close("float32", _core.batch_norm(x)[0], reference.batch_norm(exact, None, None), 64, 5.0)
    close("float32", _core.group_norm(x, 5)[0], reference.group_norm(exact, 5, None, None), 64, 5.0)
    _, found, rstd = _core.batch_norm(x, eps=0.0)
    assert np.abs(found - exact.mean((0, 2, 3))).max() < limit
    assert np.abs(rstd * exact.std((0, 2, 3)) - 1).max() < limit
    dy = rng.standard_normal(x.shape).astype("float32")
    _, *saved = _core.batch_norm(x)
    wanted = reference.batch_norm_backward(dy.astype("float64"), exact, None)
    for got, w in zip(_core.batch_norm_backward(dy, x, None, *saved), wanted, strict=True):
        close("float32", got, w, x.size // x.shape[1], 5.0)
    line = np.ascontiguousarray(x[0, 0].reshape(1, -1))
    close(
        "float32",
        _core.layer_norm(line, line.shape[1:])[0],
        reference.layer_norm(line.astype("f8"), 1, None, None),
        64,
        5.0,
    )


@pytest.mark.parametrize("at", [0, 1, 63, 64, 500])
def test_one_value_far_from_the_others(at, isa):
    """The first row of a block is what the others are measured from, also where it is an outlier."""
    x = np.full((1000, 3), 100.0, "float32") + np.linspace(-1, 1, 1000, dtype="float32")[:, None]
    x[at] = 0
    want = x.astype("float64").var(0)
    _, _, rstd = _core.batch_norm(x, eps=0.0)
    np.testing.assert_allclose(1 / rstd**2, want, rtol=tolerance("float32", 64))


def test_constant_channels_and_no_epsilon(isa):
    x = np.full((40, 5), 3.1, "float32")
    assert (_core.batch_norm(x)[0] == 0).all()
    assert np.isnan(_core.batch_norm(x, eps=0.0)[0]).all()  # 0 / 0, as in PyTorch
    assert (_core.layer_norm(x, (5,))[0] == 0).all()


def test_nan_stays_in_its_channel(isa):
    x = np.ones((70, 20), "float32")
    x[3, 7] = np.nan
    wrong = np.isnan(_core.batch_norm(x)[0])
    assert wrong[:, 7].all()
    assert wrong.sum() == 70


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0), (2, 0, 4)])
def test_an_empty_batch_leaves_running_statistics(shape):
    x = np.zeros(shape, "float32")
    mean, variance, batches = np.zeros(shape[1], "float32"), np.ones(shape[1], "float32"), np.array(4)
    _core.batch_norm(x, None, None, mean, variance, batches)
    assert batches == 5
    assert (mean == 0).all()
    assert (variance == 1).all()


def test_group_norm_of_many_channels(isa, rng):
    """Channels-last images of more channels than a thread takes at once."""
    x = np.asarray(rng.standard_normal((2, 3, 2, 1200)), np.float32).transpose(0, 3, 1, 2)
    y, mean, rstd = _core.group_norm(x, 6, None, None, 0.1)
    exact = x.astype("float64")
    np.testing.assert_allclose(y, reference.group_norm(exact, 6, None, None, 0.1), rtol=0, atol=1e-5)
    dy = np.asarray(rng.standard_normal(x.shape), np.float32)
    dx = _core.group_norm_backward(dy, x, 6, None, mean, rstd)[0]
    wanted = reference.group_norm_backward(dy.astype("float64"), exact, 6, None, 0.1)[0]
    np.testing.assert_allclose(dx, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e20, 1e30])
def test_gradients_of_tiny_and_huge_numbers(scale, isa, rng):
    """The factor of x in its gradient, about scale ** -3, leaves float32: of lines, planes and columns."""
    for shape, layout in (((3, 40), ""), ((70, 5), ""), ((2, 4, 5, 6), ""), ((2, 4, 5, 6), "channels_last")):
        dy, x = (in_layout(rng.standard_normal(shape).astype("float32"), layout) for _ in range(2))
        x *= np.float32(scale)
        wide, n = [a.astype("float64") for a in (dy, x)], shape[1:] if len(shape) == 2 else shape[3:]
        _, *of_line = _core.layer_norm(x, n, None, None, 0.0)
        _, *of_group = _core.group_norm(x, 1, None, None, 0.0)
        _, *of_batch = _core.batch_norm(x, eps=0.0)
        for found, want in (
            (
                _core.layer_norm_backward(dy, x, n, None, *of_line),
                reference.layer_norm_backward(*wide, 1, None, 0),
            ),
            (
                _core.group_norm_backward(dy, x, 1, None, *of_group),
                reference.group_norm_backward(*wide, 1, None, 0),
            ),
            (
                _core.batch_norm_backward(dy, x, None, *of_batch),
                reference.batch_norm_backward(*wide, None, 0),
            ),
        ):
            close("float32", found[0], want[0], x.size, np.abs(want[0]).max())
