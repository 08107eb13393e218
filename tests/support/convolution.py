"""What the cases of convolutions share; random convolutions, checked forward and backward."""

import numpy as np
import ranvier as rv
from ranvier import kernels
from reference import conv2d as reference
from support.op_case import OpCase
from support.remembered import remembered
from support.tolerance import tolerance

NAMES = ("dx", "dw", "db")
forward, backward = remembered(reference.conv2d), remembered(reference.conv2d_backward)


class ConvCase(OpCase):
    """x, weight and bias; the ``geometry`` follows them."""

    growth = (2, 0, 11, 10, 0, 0, 0)  # of the shape, for a team of threads

    def large_inputs(self, rng, dtype):
        return self.sized(rng, dtype, np.add(self.shape, self.growth))

    def empty_inputs(self, dtype):
        x, w, b = self.inputs(np.random.default_rng(0), dtype)
        return x[:0], w, b

    def drawn(self, rng, dtype, variant):
        self.geometry = variant["geometry"]
        return variant, self.sized(rng, dtype, variant["shape"])

    def after(self, *arrays):
        return tuple(self.geometry.values())

    def reference_backward(self, dy, x, w, b):
        return getattr(self.module, f"{self.op_name}_backward")(dy, x, w, *self.after())

    def test_gradients_that_are_not_needed_are_not_computed(self, rng):
        x, w, b = self.inputs(rng, "float32")
        y = self.op(x, rv.tensor(w, requires_grad=True), b)
        assert y.grad_fn.needs[:3] == (False, True, False)
        dx, dw, db = y.grad_fn.backward(np.ones(y.shape, np.float32))
        assert dx is db is None
        assert dw.shape == w.shape


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def random_arrays(rng, dtype, n, c, h, w, k, r, s, groups=1):
    x = rng.uniform(-1, 1, (n, c, h, w)).astype(dtype)
    weight = rng.uniform(-1, 1, (k, c // groups, r, s)).astype(dtype)
    return x, weight, rng.uniform(-1, 1, k).astype(dtype)


def check(x, w, bias, **geometry):
    """Forward and backward against the reference in float64."""
    y = kernels.conv2d(x, w, bias, **geometry)
    double = [a.astype(np.float64) for a in (x, w, bias)]
    expected = forward(*double, **geometry)
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(x.dtype, w[0].size + 1))
    dy = np.random.default_rng(1).uniform(-1, 1, y.shape).astype(x.dtype)
    found = kernels.conv2d_backward(dy, x, w, **geometry)
    wanted = backward(dy.astype(np.float64), *double[:2], **geometry)
    reductions = (w[:, 0].size, dy[:, 0].size, dy[:, 0].size)
    for name, a, b, reduction in zip(NAMES, found, wanted, reductions, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(x.dtype, reduction), err_msg=name)
