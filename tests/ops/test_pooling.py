"""Pools: forward and backward against the references."""

from typing import ClassVar

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import pooling as reference
from support.layouts import in_layout
from support.op_case import OpCase

SETTINGS = ("kernel", "stride", "padding", "dilation", "ceil_mode")
ROW = reference.taps(1, 1, 1, 0)


def window(kernel=2, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The settings of a variant, each a pair (height, width)."""

    def pair(value):
        return (value, value) if isinstance(value, int) else value

    pairs = map(pair, (kernel, kernel if stride is None else stride, padding, dilation))
    return dict(zip(SETTINGS, (*pairs, ceil_mode), strict=True))


WINDOWS = [
    window(2),
    window(3, 2, 1),
    window(3, 1, 1),
    window((3, 2), (2, 3), (1, 0)),
    window(3, 2, ceil_mode=True),
    window(2, 3, 1, ceil_mode=True),
]


class PoolCase(OpCase):
    arguments = SETTINGS
    dilation = (1, 1)
    large, empty = (3, 37, 37, 33), (0, 3, 7, 8)

    def inputs(self, rng, dtype):
        values = np.tile(np.arange(7 * 8) * 0.05 - 1.5, (1, 3, 1))  # no two equal in a plane: no kinks
        return (rng.permuted(values, axis=-1).reshape(1, 3, 7, 8).astype(dtype),)

    def large_inputs(self, rng, dtype):
        return (in_layout(*super().large_inputs(rng, dtype), "channels_last"),)

    def unequal(self, rng, dtype, *shape):
        """An array without equal elements."""
        return (rng.permuted(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape).astype(dtype),)

    def reduction(self, x):
        return int(np.prod(x.shape[2:]))

    def _taps(self, x):
        return [
            reference.taps(n, *settings, self.ceil_mode)
            for n, *settings in zip(
                x.shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]


class SignalCase(PoolCase):
    """The 1d pools: images of one row, with windows of one row."""

    dilation = 1
    large, empty = (3, 41, 333), (0, 3, 9)

    def inputs(self, rng, dtype):
        return (rng.permuted(np.tile(np.arange(29) * 0.1 - 1.5, (2, 3, 1)), axis=-1).astype(dtype),)

    def _taps(self, x):
        settings = (self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)
        return ROW, reference.taps(x.shape[3], *settings)

    def reference(self, x):
        return self.of_images(x[:, :, None])[:, :, 0]

    def reference_backward(self, dy, x):
        return (self.of_images_backward(dy[:, :, None], x[:, :, None])[:, :, 0],)


class TestMaxPool2d(PoolCase):
    op_name = "max_pool2d"
    variants: ClassVar = [*WINDOWS, window(3, 2, 2, dilation=2), window((2, 3), 1, dilation=(3, 2))]

    def draw(self, rng, dtype):
        (rows, h), (columns, w) = drawn_window(rng, 4), drawn_window(rng, 4)
        drawn = {name: (rows[name], columns[name]) for name in rows}
        x = self.unequal(rng, dtype, *rng.integers(1, 12, 2).tolist(), h, w)
        return {**drawn, "ceil_mode": rows["ceil_mode"]}, x

    def reference(self, x):
        return reference.max_pool2d(x, *self._taps(x), self.kernel[1])[0]

    def reference_backward(self, dy, x):
        rows, columns = self._taps(x)
        _, where = reference.max_pool2d(x, rows, columns, self.kernel[1])
        return (reference.max_pool2d_backward(dy, where, x.shape, rows, columns, self.kernel[1]),)


class TestAvgPool2d(PoolCase):
    op_name = "avg_pool2d"
    arguments = ("kernel", "stride", "padding", "ceil_mode", "include", "divisor")
    variants: ClassVar = [
        {**w, "include": include, "divisor": divisor}
        for w in WINDOWS
        for include, divisor in ((True, None), (False, None), (True, 5))
    ]

    def draw(self, rng, dtype):
        (rows, h), (columns, w) = drawn_window(rng, 2), drawn_window(rng, 2)
        drawn = {name: (rows[name], columns[name]) for name in rows}
        drawn.update(ceil_mode=rows["ceil_mode"], include=bool(rng.integers(2)), divisor=None)
        return drawn, self.sized(rng, dtype, (*rng.integers(1, 12, 2).tolist(), h, w))

    def _divisor(self, x):
        down, across = (
            reference.divisors(
                x.shape[2 + i], self.kernel[i], self.stride[i], self.padding[i], self.ceil_mode, self.include
            )
            for i in (0, 1)
        )
        product = np.outer(down, across)
        return np.full_like(product, self.divisor) if self.divisor else product

    def reference(self, x):
        return reference.avg_pool2d(x, *self._taps(x), self._divisor(x))

    def reference_backward(self, dy, x):
        return (reference.avg_pool2d_backward(dy, x.shape, *self._taps(x), self._divisor(x)),)


class TestAdaptiveAvgPool2d(PoolCase):
    op_name = "adaptive_avg_pool2d"
    arguments = ("size",)
    variants: ClassVar = [{"size": 1}, {"size": (4, 5)}, {"size": (3, None)}, {"size": (13, 12)}]

    def _size(self, x):
        size = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return [n if n is not None else x.shape[2 + i] for i, n in enumerate(size)]

    def reference(self, x):
        return reference.adaptive_avg_pool2d(x, *self._size(x))

    def reference_backward(self, dy, x):
        return (reference.adaptive_avg_pool2d_backward(dy, x.shape),)

    def draw(self, rng, dtype):
        x = self.unequal(rng, dtype, *rng.integers(1, 20, 4).tolist())
        return {"size": tuple(rng.integers(1, 12, 2).tolist()), "inner": 1.0}, x  # windows overlap


class TestAdaptiveMaxPool2d(TestAdaptiveAvgPool2d):
    op_name = "adaptive_max_pool2d"

    def reference(self, x):
        return reference.adaptive_max_pool2d(x, *self._size(x))[0]

    def reference_backward(self, dy, x):
        _, where = reference.adaptive_max_pool2d(x, *self._size(x))
        return (reference.adaptive_max_pool2d_backward(dy, where, x.shape),)


def signal_window(kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    stride = kernel if stride is None else stride
    return dict(zip(SETTINGS, (kernel, stride, padding, dilation, ceil_mode), strict=True))


def drawn_window(rng, dilations):
    """A window, and a length that at least one fits into."""
    kernel, stride, dilation = rng.integers(1, [6, 5, dilations]).tolist()
    padding = int(rng.integers(0, kernel // 2 + 1))
    size = dilation * (kernel - 1) + 1 + int(rng.integers(0, 40))
    return signal_window(kernel, stride, padding, dilation, bool(rng.integers(2))), size


class TestMaxPool1d(SignalCase):
    op_name = "max_pool1d"
    variants: ClassVar = [
        signal_window(2),
        signal_window(3, 2, 1),
        signal_window(3, 2, 1, 2, ceil_mode=True),
        signal_window(4, 1, 2),
    ]

    def draw(self, rng, dtype):
        drawn, size = drawn_window(rng, 4)
        return drawn, self.unequal(rng, dtype, *rng.integers(1, 20, 2).tolist(), size)

    def of_images(self, x):
        return reference.max_pool2d(x, *self._taps(x), self.kernel)[0]

    def of_images_backward(self, dy, x):
        _, where = reference.max_pool2d(x, *self._taps(x), self.kernel)
        return reference.max_pool2d_backward(dy, where, x.shape, *self._taps(x), self.kernel)


class TestAvgPool1d(SignalCase):
    op_name = "avg_pool1d"
    arguments = ("kernel", "stride", "padding", "ceil_mode", "include")
    variants: ClassVar = [
        {**signal_window(2), "include": True},
        {**signal_window(3, 2, 1), "include": True},
        {**signal_window(3, 2, 1, ceil_mode=True), "include": False},
    ]

    def draw(self, rng, dtype):
        drawn, size = drawn_window(rng, 2)
        x = self.sized(rng, dtype, (*rng.integers(1, 20, 2).tolist(), size))
        return {**drawn, "include": bool(rng.integers(2))}, x

    def _divisor(self, x):
        return np.array([reference.divisors(x.shape[3], *self.after())])

    def of_images(self, x):
        return reference.avg_pool2d(x, *self._taps(x), self._divisor(x))

    def of_images_backward(self, dy, x):
        return reference.avg_pool2d_backward(dy, x.shape, *self._taps(x), self._divisor(x))


class TestAdaptiveAvgPool1d(SignalCase):
    op_name = "adaptive_avg_pool1d"
    arguments = ("size",)
    variants: ClassVar = [{"size": 1}, {"size": 4}, {"size": 40}]

    def draw(self, rng, dtype):
        x = self.unequal(rng, dtype, *rng.integers(1, 30, 3).tolist())
        return {"size": int(rng.integers(1, 12)), "inner": 1.0}, x  # windows overlap

    def of_images(self, x):
        return reference.adaptive_avg_pool2d(x, 1, self.size)

    def of_images_backward(self, dy, x):
        return reference.adaptive_avg_pool2d_backward(dy, x.shape)


class TestAdaptiveMaxPool1d(TestAdaptiveAvgPool1d):
    op_name = "adaptive_max_pool1d"

    def of_images(self, x):
        return reference.adaptive_max_pool2d(x, 1, self.size)[0]

    def of_images_backward(self, dy, x):
        _, where = reference.adaptive_max_pool2d(x, 1, self.size)
        return reference.adaptive_max_pool2d_backward(dy, where, x.shape)


INDEXED = {
    "max_pool1d": (lambda f, x: f(x[:, :, 0], 3, 2, 1, 2, True, return_indices=True)),
    "max_pool2d": (lambda f, x: f(x, (3, 2), (2, 1), (1, 0), (1, 2), return_indices=True)),
    "adaptive_max_pool1d": (lambda f, x: f(x[:, :, 0], 3, return_indices=True)),
    "adaptive_max_pool2d": (lambda f, x: f(x, (3, 4), return_indices=True)),
}


@pytest.mark.parametrize("name", INDEXED)
def test_indices(rng, name):
    """Each index names, in its image, the value that the maximum is, in any layout; so do gradients."""
    images = rng.standard_normal((2, 5, 7, 9)).astype(np.float32)
    for layout in ("plain", "channels_last"):
        x = rv.tensor(in_layout(images, layout), requires_grad=True)
        y, indices = INDEXED[name](getattr(ops, name), x)
        where = indices.numpy().reshape(2, 5, -1)
        planes = (images if name.endswith("2d") else images[:, :, 0]).reshape(2, 5, -1)
        np.testing.assert_array_equal(
            np.take_along_axis(planes, where, -1).reshape(y.shape), y.detach().numpy()
        )
        assert indices.dtype == np.int64
        y.backward(np.ones(y.shape, np.float32))
        expected = np.zeros_like(planes)
        np.add.at(expected, (*np.ogrid[:2, :5, :1][:2], where), 1)
        got = x.grad.numpy() if name.endswith("2d") else x.grad.numpy()[:, :, 0]
        np.testing.assert_array_equal(got.reshape(planes.shape), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(2, 2, 1), (3, 1, 1), (3, 2, 1), (2, 1, 2), (3, 3, 1)]
)
def test_the_last_nan_of_a_window_is_its_maximum(rng, dtype, layout, kernel, stride, dilation):
    """As in PyTorch: index and gradient are those of the last."""
    x = rng.standard_normal((2, 5, 11, 23)).astype(dtype)
    x[rng.random(x.shape) < 0.4] = np.nan
    leaf = rv.tensor(in_layout(x, layout), requires_grad=True)
    y, where = ops.max_pool2d(leaf, kernel, stride, 0, dilation, return_indices=True)
    places = np.arange(11 * 23).reshape(11, 23)
    span = dilation * (kernel - 1) + 1
    windows, at = (
        np.lib.stride_tricks.sliding_window_view(v, (span, span), (-2, -1))[
            ..., ::stride, ::stride, ::dilation, ::dilation
        ].reshape(*v.shape[:-2], *y.shape[2:], -1)
        for v in (x, places)
    )
    last = windows.shape[-1] - 1 - np.isnan(windows[..., ::-1]).argmax(-1)
    tap = np.where(np.isnan(windows).any(-1), last, np.nan_to_num(windows, nan=-9).argmax(-1))
    want = np.take_along_axis(np.broadcast_to(at, windows.shape), tap[..., None], -1)[..., 0]
    np.testing.assert_array_equal(where.numpy(), want)
    (dx,) = rv.autograd.grad(y.sum(), leaf)
    counts = np.zeros((2 * 5, 11 * 23))
    np.add.at(counts, (np.arange(10)[:, None], want.reshape(10, -1)), 1)
    np.testing.assert_array_equal(dx.numpy().reshape(counts.shape), counts)


def test_one_image_without_batch():
    x = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    for op in (
        lambda a: ops.max_pool2d(a, 2),
        lambda a: ops.avg_pool2d(a, 3, 1, 1),
        lambda a: ops.adaptive_avg_pool2d(a, 1),
        lambda a: ops.adaptive_max_pool2d(a, 3),
        lambda a: ops.max_pool2d(a, 2, return_indices=True)[0],
    ):
        one, batch = rv.tensor(x, requires_grad=True), rv.tensor(x[None], requires_grad=True)
        y, z = op(one), op(batch)
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy()[0])
        y.backward(np.ones_like(y.detach().numpy()))
        z.backward(np.ones_like(z.detach().numpy()))
        np.testing.assert_array_equal(one.grad.numpy(), batch.grad.numpy()[0])


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_a_stride_or_dilation_without_effect_takes_no_memory(pool):
    """Of one window, or of one element: scratch was as large as the stride."""
    x = rv.tensor(np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7))
    for stride in (2**30, (2, 2**30), (2**30, 2)):
        less = tuple(min(s, 8) for s in (stride if isinstance(stride, tuple) else (stride, stride)))
        assert pool(x, 3, stride).tolist() == pool(x, 3, less).tolist()
    assert ops.max_pool2d(x, 1, 1, dilation=2**30).tolist() == x.tolist()
