"""Softmax and losses of class scores at rare values: far scores, infinities, subnormal results, many lines;
beside formulas of NumPy in float64. Other sizes: tests/ops. A subnormal result, which is slow to compute
with, is 0 instead. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
from ranvier import _core
from reference import class_loss
from support.tolerance import tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bce_with_logits_is_never_subnormal(dtype, isa):
    """0 where the loss, the slope or the probability would be: scores from just above that to far below."""
    tiny = np.finfo(dtype).tiny
    score = np.log(tiny) + np.linspace(5, -50, 300, dtype=dtype)
    x, t = np.concatenate([score, -score]), np.repeat(np.array([0, 1], dtype), 300)

    def compare(got, want, scale):
        assert not ((got != 0) & (np.abs(got) < tiny)).any()
        bound = tolerance(dtype, 1, 50 - np.log(tiny)) * np.abs(want)  # by the rounding of a score
        assert (np.abs(got - want) <= bound + 3 * tiny * max(scale, 1)).all()

    compare(_core.bce_with_logits(x, t, "none"), np.logaddexp(0, -np.abs(x.astype(float))), 1)
    for scale in (1 / 64, 1, 64):
        got = _core.bce_with_logits_backward(np.array(scale, dtype), x, t, "sum")
        compare(got[:300], scale * np.exp(score.astype(float)), scale)
        compare(-got[300:], scale * np.exp(score.astype(float)), scale)  # not sigmoid(x) - 1, which is 0


def both(x, target, reduction, **settings):
    """dy, cross_entropy and the gradient of x."""
    loss, *saved = _core.cross_entropy(x, target, reduction, **settings)
    dy = np.linspace(0.5, 1, loss.size, dtype=x.dtype).reshape(loss.shape)
    return dy, loss, _core.cross_entropy_backward(dy, x, target, *saved, reduction, **settings)


def test_more_lines_than_a_chunk(isa, rng):
    """Losses are added in chunks of lines; each line counts once."""
    for lines in (255, 256, 257, 16 * 256 + 3):
        x, t = rng.normal(size=(lines, 3)).astype("float32"), rng.integers(-1, 3, lines)
        loss, divisor, _ = _core.cross_entropy(x, t, "mean", None, -1)
        want = class_loss.cross_entropy(x.astype(np.float64), t, "mean", ignore_index=-1)
        np.testing.assert_allclose(loss, want, rtol=1e-5)
        assert divisor == (t >= 0).sum()


def test_neighbours_are_not_read():
    """A class index is looked up where it belongs, whatever the strides."""
    x = np.arange(12, dtype="float32").reshape(2, 2, 3).transpose(0, 2, 1)  # (2, 3, 2)
    t = np.array([[0, 9, 2, 9], [1, 9, 1, 9]])[:, ::2]
    loss, _ = _core.nll(x, t, "none")
    np.testing.assert_array_equal(loss, -np.take_along_axis(x, t[:, None], 1)[:, 0])


@pytest.mark.parametrize("ignored", [-100, 0, 2**32])
def test_few_classes_have_the_bits_of_other_layouts(ignored, isa, rng):
    """Short contiguous lines have their own loops."""
    for n in (1, 2, 3, 4, 7, 10, 16, 17):
        for lines in (1, 7, 9, 16, 17, 32, 45, 200, 300):
            x = rng.normal(0, 3, (lines, n)).astype("float32")
            target = rng.integers(0, n, lines)
            target[1::5] = ignored
            x[1::10] = np.nan  # in lines that are ignored
            for reduction in ("mean", "sum"):
                (loss, dx), (other, other_dx) = (
                    both(view, target, reduction, ignore_index=ignored)[1:]
                    for view in (x, np.asfortranarray(x))
                )
                np.testing.assert_array_equal(loss, other)
                np.testing.assert_array_equal(dx, other_dx)
                assert np.isfinite(dx).all() or not (target != ignored).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_are_never_subnormal(dtype, isa):
    """0 where they, or the probability, would be: of scores from just above that to far below."""
    tiny = np.finfo(dtype).tiny
    for n in (2, 10, 40):
        x = np.zeros((64, n), dtype)
        x[:, 1:] = np.log(tiny) + np.linspace(5, -50, 64 * (n - 1)).reshape(64, -1)
        target = np.zeros(64, int)
        target[::4] = 1  # whose losses are large
        for view in (x, np.asfortranarray(x)):
            saved = _core.cross_entropy(view, target, "sum")[1:]
            for dy in (1 / 64, 1, 64):
                dx = _core.cross_entropy_backward(np.array(dy, dtype), view, target, *saved, "sum")
                want, _ = class_loss.cross_entropy.backward(dy, x.astype(float), target, "sum")
                assert not ((dx != 0) & (np.abs(dx) < tiny)).any()
                bound = tolerance(dtype, 1, 50 - np.log(tiny)) * np.abs(want)  # by the rounding of a score
                assert (np.abs(dx - want) <= bound + 3 * tiny * max(dy, 1)).all()


@pytest.mark.parametrize("shape", [(3, 5), (40, 3), (2, 300), (3, 4, 2)], ids=str)
def test_scores_far_from_0(shape, isa, rng):
    """The same gradient as near 0: the greatest score is subtracted, and nothing else of its size."""
    x = rng.integers(-64, 65, shape).astype(np.float32) / 16  # exact after the sum
    index = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    probabilities = rng.uniform(0, 1, shape).astype(np.float32)
    for target in (index, probabilities):
        near, far = both(x, target, "mean"), both(x + np.float32(1e6), target, "mean")
        np.testing.assert_array_equal(near[1], far[1])
        np.testing.assert_array_equal(near[2], far[2])


@pytest.mark.parametrize("n", [7, 200])
def test_infinities_and_nan(n, isa):
    """One line's numbers are nothing to the next; -inf has no weight, +inf and NaN make the line NaN."""
    x = np.zeros((20, n), "float32")
    x[1, 0], x[2, -1], x[3], x[4, n // 2] = np.inf, np.nan, -np.inf, -np.inf
    for view in (x, np.asfortranarray(x)):
        for name in ("softmax", "log_softmax"):
            y = getattr(_core, name)(view, 1)
            assert np.isnan(y[[1, 2, 3]]).any(1).all()
            assert not np.isnan(y[[0, *range(4, 20)]]).any()
        y = _core.softmax(view, 1)
        assert y[4, n // 2] == 0
        np.testing.assert_allclose(y[4].sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("n", [7, 128, 131, 200])
@pytest.mark.parametrize("lowest", [-80, -95, -110, -np.inf])
def test_scores_far_below_the_maximum(n, lowest, isa, rng):
    """Weights down to the subnormal ones keep their bits; below, they are 0."""
    x = rng.uniform(-3, 0, (20, n)).astype("float32")
    x[rng.random(x.shape) < 0.4] = lowest
    x[:, n // 2] = 0
    exact = np.exp(x.astype(float))
    exact /= exact.sum(1, keepdims=True)
    for view in (x, np.asfortranarray(x)):
        y = _core.softmax(view, 1)
        np.testing.assert_allclose(y, exact, rtol=2e-6, atol=2.0**-149)
        far = x == lowest
        np.testing.assert_array_equal(y[far] > 0, np.full(far.sum(), lowest > -100))
        z = _core.log_softmax(view, 1)
        with np.errstate(divide="ignore"):
            wanted = np.where(far, lowest, x) - np.log(np.exp(x.astype(float)).sum(1, keepdims=True))
        np.testing.assert_allclose(z, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lowest", [-1000, -np.inf])
def test_one_score_far_below_the_others(lowest, dtype, isa):
    """At each place of a line: in groups of vectors, whole ones after these, and the rest."""
    for n in (5, 16, 17, 48, 128, 144, 152, 200):
        x = np.where(np.eye(n) > 0, lowest, 0).astype(dtype)
        for view in (x, np.asfortranarray(x)):
            y, z = _core.softmax(view, 1), _core.log_softmax(view, 1)
            np.testing.assert_allclose(y, (1 - np.eye(n)) / (n - 1), rtol=1e-5)
            np.testing.assert_allclose(z, x - np.log(n - 1), rtol=1e-5)
