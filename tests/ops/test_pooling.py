"""Pools: forward and backward against the references."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import ranvier as rv
from ranvier import ops
from ranvier.reference import pooling as reference
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
                x.shape[2 + i],
                self.kernel[i],
                self.stride[i],
                self.padding[i],
                dilation[i],
                self.ceil_mode,
            )
            for i in (0, 1)
        ]


class TestMaxPool2d(PoolCase):
    op_name = "max_pool2d"
    variants: ClassVar = [*WINDOWS, window(3, 2, 2, dilation=2), window((2, 3), 1, dilation=(3, 2))]

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

    def _arguments(self):
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.include, self.divisor

    def op(self, x):
        return ops.avg_pool2d(x, *self._arguments())

    def _divisor(self, x):
        down, across = (
            reference.divisors(
                x.shape[2 + i],
                self.kernel[i],
                self.stride[i],
                self.padding[i],
                self.ceil_mode,
                self.include,
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


def test_one_image_without_batch():
    x = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    for op in (
        lambda a: ops.max_pool2d(a, 2),
        lambda a: ops.avg_pool2d(a, 3, 1, 1),
        lambda a: ops.adaptive_avg_pool2d(a, 1),
    ):
        one, batch = rv.tensor(x, requires_grad=True), rv.tensor(x[None], requires_grad=True)
        y, z = op(one), op(batch)
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy()[0])
        y.backward(np.ones_like(y.detach().numpy()))
        z.backward(np.ones_like(z.detach().numpy()))
        np.testing.assert_array_equal(one.grad.numpy(), batch.grad.numpy()[0])
