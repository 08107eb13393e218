"""The kernels of losses of class scores on raw arrays: chunks of lines, rare values, errors."""

import numpy as np
import pytest
from ranvier import _core
from reference import class_loss as reference
from support.tolerance import tolerance


def both(name, x, target, reduction, settings):
    """Loss and gradient of x."""
    loss, *saved = getattr(_core, name)(x, target, reduction, **settings)
    dy = np.linspace(0.5, 1, loss.size, dtype=x.dtype).reshape(loss.shape)
    return dy, loss, getattr(_core, f"{name}_backward")(dy, x, target, *saved, reduction, **settings)


def test_more_lines_than_a_chunk(isa, rng):
    """Losses are added in chunks of lines; each line counts once."""
    for lines in (255, 256, 257, 16 * 256 + 3):
        x, t = rng.normal(size=(lines, 3)).astype("float32"), rng.integers(-1, 3, lines)
        loss, divisor, _ = _core.cross_entropy(x, t, "mean", None, -1)
        want = reference.cross_entropy(x.astype(np.float64), t, "mean", ignore_index=-1)
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
            x[1::10] = np.nan  # of lines that are ignored
            for reduction in ("mean", "sum"):
                (loss, dx), (other, other_dx) = (
                    both("cross_entropy", view, target, reduction, {"ignore_index": ignored})[1:]
                    for view in (x, np.asfortranarray(x))
                )
                np.testing.assert_array_equal(loss, other)
                np.testing.assert_array_equal(dx, other_dx)
                assert np.isfinite(dx).all() or not (target != ignored).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["cross_entropy"])
def test_slopes_are_never_subnormal(name, dtype, isa):
    """0 where they, or the probability, would be: of scores from just above that to far below."""
    tiny = np.finfo(dtype).tiny
    for n in (2, 10, 40):
        x = np.zeros((64, n), dtype)
        x[:, 1:] = np.log(tiny) + np.linspace(5, -50, 64 * (n - 1)).reshape(64, -1)
        target = np.zeros(64, int)
        target[::4] = 1  # whose losses are large
        for view in (x, np.asfortranarray(x)):
            saved = getattr(_core, name)(view, target, "sum")[1:]
            for dy in (1 / 64, 1, 64):
                dx = getattr(_core, f"{name}_backward")(np.array(dy, dtype), view, target, *saved, "sum")
                want, _ = getattr(reference, name).backward(dy, x.astype(float), target, "sum")
                assert not ((dx != 0) & (np.abs(dx) < tiny)).any()
                bound = tolerance(dtype, 1, 50 - np.log(tiny)) * np.abs(want)  # by the rounding of a score
                assert (np.abs(dx - want) <= bound + 3 * tiny * max(dy, 1)).all()


@pytest.mark.parametrize("shape", [(3, 5), (40, 3), (2, 300), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("name", ["cross_entropy"])
def test_scores_far_from_0(name, shape, isa, rng):
    """The same gradient as near 0: the greatest score is subtracted, and nothing else of its size."""
    x = rng.integers(-64, 65, shape).astype(np.float32) / 16  # exact after the sum
    index = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    probabilities = rng.uniform(0, 1, shape).astype(np.float32)
    for target in (index, probabilities) if name == "cross_entropy" else (index,):
        near, far = both(name, x, target, "mean", {}), both(name, x + np.float32(1e6), target, "mean", {})
        np.testing.assert_array_equal(near[1], far[1])
        np.testing.assert_array_equal(near[2], far[2])
