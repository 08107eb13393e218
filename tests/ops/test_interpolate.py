"""interpolate: forward and backward against the reference, in every mode."""

import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.autograd import gradcheck
from reference import images as reference
from support.op_case import WIDTHS, OpCase
from support.refused import refused


def variant(shape, mode, size=None, factor=None, corners=False):
    return {"shape": shape, "mode": mode, "size": size, "factor": factor, "corners": corners}


class TestInterpolate(OpCase):
    op_name = "interpolate"
    inner = 1.0  # weights that are rounded at 1
    variants = (
        variant((2, 3, 5, 6), "nearest", factor=2.0),
        variant((2, 3, 5, 6), "nearest", size=(7, 4)),
        variant((1, 2, 5, 6), "nearest", factor=(1.5, 0.6)),
        variant((2, 3, 7), "nearest", size=16),
        variant((2, 3, 5, 6), "nearest-exact", size=(8, 17)),
        variant((2, 17, 4, 5), "bilinear", factor=2.0),
        variant((2, 3, 5, 6), "bilinear", size=(9, 4), corners=True),
        variant((1, 3, 6, 7), "bilinear", factor=(0.4, 1.7)),
        variant((1, 3, 3, 1), "bilinear", size=(1, 5), corners=True),
        variant((2, 3, 6), "linear", size=11),
        variant((2, 3, 6), "linear", factor=2.5, corners=True),
        variant((1, 3, 6, 5), "bicubic", size=(11, 3)),
        variant((1, 2, 6, 5), "bicubic", factor=1.6, corners=True),
    )

    def resized(self):
        return ((2, n, *self.shape[2:-1], n + 2) for n in WIDTHS[:13])

    def large_inputs(self, rng, dtype):
        return self.sized(rng, dtype, tuple(n + 20 for n in self.shape))

    def empty_inputs(self, dtype):
        return (np.zeros((0, *self.shape[1:]), dtype),)

    def draw(self, rng, dtype):
        axes = int(rng.integers(1, 3))
        mode = str(rng.choice(["nearest", "linear"] if axes == 1 else ["nearest", "bilinear", "bicubic"]))
        shape = (*rng.integers(1, 20, 2).tolist(), *rng.integers(1, 14, axes).tolist())
        corners = mode != "nearest" and bool(rng.integers(2))
        if rng.random() < 0.6:
            settings = {"size": tuple(rng.integers(1, 30, axes).tolist())}
        elif mode == "nearest":  # where others keep a size, PyTorch's gradient is not its forward's
            settings = {"factor": float(rng.integers(1, 4))}
        else:
            factors = 1 / np.array(shape[2:]) + 0.1 + rng.random(axes) * 2
            settings = {"factor": tuple(np.round(factors, 2).tolist())}
        return variant(shape, mode, **settings, corners=corners), self.sized(rng, dtype, shape)

    def op(self, x):
        return ops.interpolate(x, self.size, self.factor, self.mode, self.corners)

    def _matrices(self, x):
        axes = x.shape[2:]
        listed = {
            name: value if isinstance(value, tuple) else (value,) * len(axes)
            for name, value in (("size", self.size), ("factor", self.factor))
        }
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(self.mode, self.mode)
        matrices = []
        for n, size, factor in zip(axes, listed["size"], listed["factor"], strict=True):
            out = int(n * factor) if size is None else size
            copied = out == n and (mode == "linear" or (mode == "nearest" and len(axes) == 2))
            scale = None if factor is None or copied else 1 / factor  # as PyTorch, which copies equal sizes
            matrices.append(reference.weights(n, out, mode, scale, self.corners))
        return [np.eye(1), *matrices] if len(axes) == 1 else matrices

    def _as_image(self, x):
        return x if x.ndim == 4 else x[:, :, None]

    def reference(self, x):
        y = reference.interpolate(self._as_image(x), *self._matrices(x))
        return y if x.ndim == 4 else y[:, :, 0]

    def reference_backward(self, dy, x):
        dx = reference.interpolate_backward(self._as_image(dy), *self._matrices(x))
        return (dx if x.ndim == 4 else dx[:, :, 0],)

    def reduction(self, x):
        """Of y: 16 taps of bicubic; of dx: the outputs that an input goes into."""
        return max(16, *(int((m != 0).sum(0).max()) ** 2 for m in self._matrices(x)))


def test_recomputed_factor(rng):
    """With recompute_scale_factor the factor only says how large the result is."""
    x = rng.uniform(-1, 1, (1, 2, 7, 5)).astype("float32")
    y = ops.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True)
    expected = ops.interpolate(x, size=(9, 6), mode="bilinear")
    np.testing.assert_array_equal(y.numpy(), expected.numpy())


def test_no_weight_no_infinity():
    """An input of weight 0 has no influence, whatever its value."""
    x = np.array([[[1.0, np.inf, 2.0]]])
    y = ops.interpolate(x, size=5, mode="linear", align_corners=True).numpy()
    assert y[0, 0].tolist() == [1.0, np.inf, np.inf, np.inf, 2.0]


def test_layout_stays(rng):
    x = rv.from_numpy(rng.uniform(-1, 1, (2, 5, 6, 3)).astype("float32").transpose(0, 3, 1, 2))
    for mode in ("nearest", "bilinear", "bicubic"):
        y = ops.interpolate(x.requires_grad_(), scale_factor=2, mode=mode)
        assert y.detach().numpy().transpose(0, 2, 3, 1).flags.c_contiguous
        y.backward(y.detach())
        assert x.grad.numpy().transpose(0, 2, 3, 1).flags.c_contiguous


def test_area(rng):
    x = rng.uniform(-1, 1, (1, 2, 7, 5)).astype("float32")
    expected = ops.adaptive_avg_pool2d(x, (3, 2)).numpy()
    np.testing.assert_array_equal(ops.interpolate(x, (3, 2), mode="area").numpy(), expected)
    np.testing.assert_array_equal(
        ops.interpolate(x[:, :, 0], scale_factor=0.5, mode="area").numpy(),
        ops.adaptive_avg_pool1d(x[:, :, 0], 2).numpy(),
    )
    for settings in ({"size": 2, "align_corners": True}, {}):
        with pytest.raises(ValueError, match=r"\[interpolate\] got mode 'area', x of shape"):
            ops.interpolate(x, mode="area", **settings)


def test_antialias(rng):
    """A triangle twice as wide where the size halves: inputs at 1/4 and 3/4 of its reach, less at the ends.
    An axis that grows is interpolated as without it."""
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    shares = np.array([[3, 3, 1, 0, 0, 0], [0, 1, 3, 3, 1, 0], [0, 0, 0, 1, 3, 3]]) / [[7.0], [8.0], [7.0]]
    y = ops.interpolate(rv.tensor(np.tile(x, (1, 1, 4, 1))), (4, 3), mode="bilinear", antialias=True)
    np.testing.assert_allclose(y.numpy()[0, 0], np.tile(shares @ x, (4, 1)), rtol=1e-15)
    x = rv.tensor(rng.uniform(-1, 1, (2, 2, 5, 4)), requires_grad=True)
    for mode, corners in itertools.product(("bilinear", "bicubic"), (False, True)):
        settings = {"mode": mode, "align_corners": corners, "antialias": True}
        assert gradcheck(lambda x, settings=settings: ops.interpolate(x, (3, 7), **settings), (x,))
    larger, plain = (ops.interpolate(x, (9, 7), mode="bilinear", antialias=a).detach() for a in (True, False))
    np.testing.assert_allclose(larger.numpy(), plain.numpy(), rtol=0, atol=1e-15)
    for error, text, settings in (
        (ValueError, "got antialias and mode 'nearest'; expected 'bilinear' or 'bicubic'", {"size": 2}),
        (ValueError, "got antialias and mode 'area'", {"size": 2, "mode": "area"}),
        (ValueError, "got neither size and scale_factor", {"mode": "bilinear"}),
        (ValueError, "got an output of 0 along an axis of", {"size": 0, "mode": "bicubic"}),
        (ValueError, "got size", {"size": (1, 2, 3), "mode": "bicubic"}),
        (TypeError, "got size", {"size": 2.5, "mode": "bicubic"}),
    ):
        refused(error, f"[interpolate] {text}", ops.interpolate, x, antialias=True, **settings)
    with pytest.raises(TypeError, match=r"\[interpolate\] got x of dtype int64"):
        ops.interpolate(rv.ones(1, 1, 4, 4, dtype=rv.int64), 2, mode="bilinear", antialias=True)


@pytest.mark.parametrize(
    ("mode", "right"),
    [
        ("bilinear", [[31, 127, 82, 80], [178, 158, 36, 30], [77, 70, 11, 4]]),
        ("bicubic", [[18, 129, 85, 86], [193, 175, 21, 30], [72, 71, 5, 1]]),
    ],
)
def test_bytes_are_rounded_after_each_axis_as_in_pytorch(mode, right):
    rows = [[0, 3, 255, 7, 200, 20], [9, 255, 0, 31, 77, 50], [255] * 3 + [0] * 3, [1, 2, 3, 4, 5, 6]]
    x = rv.tensor([[rows]], dtype=rv.uint8)
    y = ops.interpolate(x, (3, 4), mode=mode, antialias=True)
    assert (y.dtype, y[0, 0].tolist()) == (rv.uint8, right)


@pytest.mark.parametrize(
    ("mode", "factor"), [("nearest", (1.15, 2.0)), ("linear", 1.16), ("bilinear", (1.15, 2.0))]
)
def test_an_axis_that_keeps_its_length_is_copied(mode, factor):
    x = rv.arange(6.0).reshape(1, 1, 6) if mode == "linear" else rv.arange(12.0).reshape(1, 1, 6, 2)
    y = rv.nn.functional.interpolate(x, scale_factor=factor, mode=mode)
    expected = x if mode == "linear" else rv.nn.functional.interpolate(x, scale_factor=(1.0, 2.0), mode=mode)
    assert y.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("mode", "old", "new", "output", "right"),
    [("nearest", 4, 82, 41, 1), ("nearest", 12, 74, 37, 5), ("nearest-exact", 4, 49, 24, 2)],
)
def test_float32_rounds_the_coordinates_of_nearest_inputs_as_in_pytorch(mode, old, new, output, right):
    x = rv.arange(float(old)).reshape(1, 1, old)
    assert rv.nn.functional.interpolate(x, new, mode=mode)[0, 0, output] == right


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_pixels_of_bytes_stay_bytes(mode):
    x = np.arange(200, 248, dtype=np.uint8).reshape(1, 3, 4, 4)
    got = rv.nn.functional.interpolate(rv.from_numpy(x), (3, 5), mode=mode)
    want = rv.nn.functional.interpolate(rv.from_numpy(x.astype(np.float32)), (3, 5), mode=mode)
    assert got.dtype == rv.uint8
    assert (got.numpy() == want.numpy()).all()
