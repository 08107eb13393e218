"""Convolutions to test: their shapes and settings, random arrays, and the check of result and gradients.

Letters of shapes: n images, c channels and k output channels, h x w pixels, r x s taps (elements of a
filter).
"""

from typing import Any, NamedTuple

import numpy as np
from ranvier import kernels
from reference import conv2d as reference
from support.remembered import remembered
from support.tolerance import tolerance

NAMES = ("dx", "dw", "db")
forward, backward = remembered(reference.conv2d), remembered(reference.conv2d_backward)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


class Convolution(NamedTuple):
    x: tuple[int, int, int, int]  # (n, c, h, w)
    w: tuple[int, int, int, int]  # (k, c / groups, r, s)
    settings: dict[str, Any]  # keyword arguments of the call


def conv(x, w, **settings):
    return Convolution(x, w, settings)


def random_arrays(rng, dtype, x, w):
    """x and w of these shapes and a bias (k), numbers from -1 to 1."""
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in (x, w, w[:1])]


def check(x, w, bias, **geometry):
    """Result and gradients against the reference in float64; the tolerance is that of so many terms below
    1."""
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
