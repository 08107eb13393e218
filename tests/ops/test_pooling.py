"""Pools: forward and backward against the references."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.reference import pooling as reference
from support.layouts import in_layout
from support.op_case import OpCase


def window(kernel=2, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The settings of a variant, each a pair (height, width)."""

    def pair(value):
        return (value, value) if isinstance(value, int) else value

    stride = kernel if stride is None else stride
    return {
        "kernel": pair(kernel),
        "stride": pair(stride),
        "padding": pair(padding),
        "dilation": pair(dilation),
        "ceil_mode": ceil_mode,
    }


WINDOWS = [
    window(2),
    window(3, 2, 1),
    window(3, 1, 1),
    window((3, 2), (2, 3), (1, 0)),
    window(3, 2, ceil_mode=True),
    window(2, 3, 1, ceil_mode=True),
]


class PoolCase(OpCase):
    def inputs(self, rng, dtype):
        values = np.tile(np.arange(7 * 8) * 0.05 - 1.5, (1, 3, 1))  # no two equal in a plane: no kinks
        return (rng.permuted(values, axis=-1).reshape(1, 3, 7, 8).astype(dtype),)

    def large_inputs(self, rng, dtype):
        x = rng.standard_normal((3, 37, 37, 33)).astype(dtype)
        return (np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),)

    def empty_inputs(self, dtype):
        return (np.zeros((0, 3, 7, 8), dtype),)

    def reduction(self, x):
        return x.shape[2] * x.shape[3]

    def _taps(self, x):
        dilation = getattr(self, "dilation", (1, 1))
        return [
            reference.taps(
                x.shape[2 + i], self.kernel[i], self.stride[i], self.padding[i], dilation[i], self.ceil_mode
            )
            for i in (0, 1)
        ]


class SignalCase(PoolCase):
    """The 1d pools: images of one row, with windows of one row."""

    def inputs(self, rng, dtype):
        return (rng.permuted(np.tile(np.arange(29) * 0.1 - 1.5, (2, 3, 1)), axis=-1).astype(dtype),)

    def large_inputs(self, rng, dtype):
        return (rng.standard_normal((3, 41, 333)).astype(dtype),)

    def empty_inputs(self, dtype):
        return (np.zeros((0, 3, 9), dtype),)

    def reduction(self, x):
        return x.shape[2]

    def columns(self, x):
        dilation = getattr(self, "dilation", 1)
        return reference.taps(x.shape[2], self.kernel, self.stride, self.padding, dilation, self.ceil_mode)


ROW = reference.taps(1, 1, 1, 0)


class TestMaxPool2d(PoolCase):
    op_name = "max_pool2d"
    variants: ClassVar = [*WINDOWS, window(3, 2, 2, dilation=2), window((2, 3), 1, dilation=(3, 2))]

    def draw(self, rng, dtype):
        (rows, h), (columns, w) = drawn_window(rng, 4), drawn_window(rng, 4)
        drawn = {name: (rows[name], columns[name]) for name in rows}
        shape = (*rng.integers(1, 12, 2).tolist(), h, w)
        x = rng.permuted(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape).astype(dtype)
        return {**drawn, "ceil_mode": rows["ceil_mode"]}, (x,)

    def _arguments(self):
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode

    def op(self, x):
        return ops.max_pool2d(x, *self._arguments())

    def reference(self, x):
        return reference.max_pool2d(x, *self._taps(x), self.kernel[1])[0]

    def reference_backward(self, dy, x):
        rows, columns = self._taps(x)
        _, where = reference.max_pool2d(x, rows, columns, self.kernel[1])
        return (reference.max_pool2d_backward(dy, where, x.shape, rows, columns, self.kernel[1]),)

    def torch_op(self, torch, x):
        return torch.nn.functional.max_pool2d(x, *self._arguments())


class TestAvgPool2d(PoolCase):
    op_name = "avg_pool2d"
    variants: ClassVar = [
        {**w, "include": include, "divisor": divisor}
        for w in WINDOWS
        for include, divisor in ((True, None), (False, None), (True, 5))
    ]

    def draw(self, rng, dtype):
        (rows, h), (columns, w) = drawn_window(rng, 2), drawn_window(rng, 2)
        drawn = {name: (rows[name], columns[name]) for name in rows}
        drawn.update(ceil_mode=rows["ceil_mode"], include=bool(rng.integers(2)), divisor=None)
        x = rng.uniform(-1, 1, (*rng.integers(1, 12, 2).tolist(), h, w)).astype(dtype)
        return drawn, (x,)

    def _arguments(self):
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.include, self.divisor

    def op(self, x):
        return ops.avg_pool2d(x, *self._arguments())

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

    def torch_op(self, torch, x):
        return torch.nn.functional.avg_pool2d(x, *self._arguments())


class TestAdaptiveAvgPool2d(PoolCase):
    op_name = "adaptive_avg_pool2d"
    variants: ClassVar = [{"size": 1}, {"size": (4, 5)}, {"size": (3, None)}, {"size": (13, 12)}]

    def _size(self, x):
        size = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return [n if n is not None else x.shape[2 + i] for i, n in enumerate(size)]

    def op(self, x):
        return ops.adaptive_avg_pool2d(x, self.size)

    def reference(self, x):
        return reference.adaptive_avg_pool2d(x, *self._size(x))

    def reference_backward(self, dy, x):
        return (reference.adaptive_avg_pool2d_backward(dy, x.shape),)

    def torch_op(self, torch, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, self.size)

    def draw(self, rng, dtype):
        shape = tuple(rng.integers(1, 20, 4).tolist())
        x = rng.permuted(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape).astype(dtype)
        return {"size": tuple(rng.integers(1, 12, 2).tolist())}, (x,)


class TestAdaptiveMaxPool2d(TestAdaptiveAvgPool2d):
    op_name = "adaptive_max_pool2d"

    def op(self, x):
        return ops.adaptive_max_pool2d(x, self.size)

    def reference(self, x):
        return reference.adaptive_max_pool2d(x, *self._size(x))[0]

    def reference_backward(self, dy, x):
        _, where = reference.adaptive_max_pool2d(x, *self._size(x))
        return (reference.adaptive_max_pool2d_backward(dy, where, x.shape),)

    def torch_op(self, torch, x):
        return torch.nn.functional.adaptive_max_pool2d(x, self.size)


def signal_window(kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    stride = kernel if stride is None else stride
    names = ("kernel", "stride", "padding", "dilation", "ceil_mode")
    return dict(zip(names, (kernel, stride, padding, dilation, ceil_mode), strict=True))


def drawn_window(rng, dilations):
    """A window, and a length that at least one fits into."""
    kernel, stride, dilation = (
        int(rng.integers(1, 6)),
        int(rng.integers(1, 5)),
        int(rng.integers(1, dilations)),
    )
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
        shape = (*rng.integers(1, 20, 2).tolist(), size)
        x = rng.permuted(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape).astype(dtype)
        return drawn, (x,)

    def _arguments(self):
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode

    def op(self, x):
        return ops.max_pool1d(x, *self._arguments())

    def _pooled(self, x):
        return reference.max_pool2d(x[:, :, None], ROW, self.columns(x), self.kernel)

    def reference(self, x):
        return self._pooled(x)[0][:, :, 0]

    def reference_backward(self, dy, x):
        where, image = self._pooled(x)[1], x[:, :, None]
        columns = self.columns(x)
        dx = reference.max_pool2d_backward(dy[:, :, None], where, image.shape, ROW, columns, self.kernel)
        return (dx[:, :, 0],)

    def torch_op(self, torch, x):
        kernel, stride, padding, dilation, ceil_mode = self._arguments()
        return torch.nn.functional.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode)


class TestAvgPool1d(SignalCase):
    op_name = "avg_pool1d"
    variants: ClassVar = [
        {**signal_window(2), "include": True},
        {**signal_window(3, 2, 1), "include": True},
        {**signal_window(3, 2, 1, ceil_mode=True), "include": False},
    ]

    def draw(self, rng, dtype):
        drawn, size = drawn_window(rng, 2)
        x = rng.uniform(-1, 1, (*rng.integers(1, 20, 2).tolist(), size)).astype(dtype)
        return {**drawn, "include": bool(rng.integers(2))}, (x,)

    def _arguments(self):
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.include

    def op(self, x):
        return ops.avg_pool1d(x, *self._arguments())

    def _divisor(self, x):
        settings = (self.kernel, self.stride, self.padding, self.ceil_mode, self.include)
        return np.array([reference.divisors(x.shape[2], *settings)])

    def reference(self, x):
        return reference.avg_pool2d(x[:, :, None], ROW, self.columns(x), self._divisor(x))[:, :, 0]

    def reference_backward(self, dy, x):
        shape = (*x.shape[:2], 1, x.shape[2])
        dx = reference.avg_pool2d_backward(dy[:, :, None], shape, ROW, self.columns(x), self._divisor(x))
        return (dx[:, :, 0],)

    def torch_op(self, torch, x):
        return torch.nn.functional.avg_pool1d(x, *self._arguments())


class TestAdaptiveAvgPool1d(SignalCase):
    op_name = "adaptive_avg_pool1d"
    variants: ClassVar = [{"size": 1}, {"size": 4}, {"size": 40}]

    def draw(self, rng, dtype):
        shape = tuple(rng.integers(1, 30, 3).tolist())
        x = rng.permuted(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape).astype(dtype)
        return {"size": int(rng.integers(1, 12))}, (x,)

    def op(self, x):
        return ops.adaptive_avg_pool1d(x, self.size)

    def reference(self, x):
        return reference.adaptive_avg_pool2d(x[:, :, None], 1, self.size)[:, :, 0]

    def reference_backward(self, dy, x):
        shape = (*x.shape[:2], 1, x.shape[2])
        return (reference.adaptive_avg_pool2d_backward(dy[:, :, None], shape)[:, :, 0],)

    def torch_op(self, torch, x):
        return torch.nn.functional.adaptive_avg_pool1d(x, self.size)


class TestAdaptiveMaxPool1d(TestAdaptiveAvgPool1d):
    op_name = "adaptive_max_pool1d"

    def op(self, x):
        return ops.adaptive_max_pool1d(x, self.size)

    def _pooled(self, x):
        return reference.adaptive_max_pool2d(x[:, :, None], 1, self.size)

    def reference(self, x):
        return self._pooled(x)[0][:, :, 0]

    def reference_backward(self, dy, x):
        shape = (*x.shape[:2], 1, x.shape[2])
        dx = reference.adaptive_max_pool2d_backward(dy[:, :, None], self._pooled(x)[1], shape)
        return (dx[:, :, 0],)

    def torch_op(self, torch, x):
        return torch.nn.functional.adaptive_max_pool1d(x, self.size)


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


@pytest.mark.parametrize("name", INDEXED)
def test_indices_are_torch_s(rng, name, torch):
    x = rng.integers(-2, 3, (2, 5, 7, 9)).astype(np.float32)  # many equal maxima
    y, indices = INDEXED[name](getattr(ops, name), rv.tensor(x))
    theirs = INDEXED[name](getattr(torch.nn.functional, name), torch.tensor(x))
    np.testing.assert_array_equal(y.numpy(), theirs[0].numpy())
    np.testing.assert_array_equal(indices.numpy(), theirs[1].numpy())


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
