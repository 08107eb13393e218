"""Random convolutions on arrays, checked forward and backward."""

import numpy as np
from ranvier import kernels
from reference import conv2d as reference
from support.remembered import remembered
from support.tolerance import tolerance

NAMES = ("dx", "dw", "db")
forward, backward = remembered(reference.conv2d), remembered(reference.conv2d_backward)


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
