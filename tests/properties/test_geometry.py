"""Convolution and pooling with any sizes, strides, paddings, dilations and groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranvier import ops
from ranvier.reference import conv2d as conv_reference
from ranvier.reference import pooling as pool_reference
from support.check import agree
from support.strategies import dtypes, laid_out, repeatable

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolution(draw):
    """Images, weights, bias and geometry that fit each other."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    n, c, k = draw(st.integers(0, 3)), groups * draw(st.integers(1, 9)), groups * draw(st.integers(1, 18))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    least = [d * (r - 1) + 1 - 2 * p for r, d, p in zip(kernel, dilation, padding, strict=True)]
    size = [max(1, low) + draw(st.integers(0, 7)) for low in least]
    dtype = draw(dtypes)
    shapes = (n, c, *size), (k, c // groups, *kernel), (k,)
    arrays = [draw(laid_out(shape, dtype, -1, 1)) for shape in shapes]
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return arrays, geometry


@repeatable
@given(case=convolution())
def test_conv2d(case):
    arrays, geometry = case
    x, w, _ = arrays
    y = conv_reference.conv2d(*arrays, **geometry)
    longest = max(w[0].size + 1, w[:, 0].size, y[:, 0].size)
    agree(
        lambda *t: ops.conv2d(*t, **geometry),
        arrays,
        lambda *a: conv_reference.conv2d(*a, **geometry),
        lambda dy, x, w, b: conv_reference.conv2d_backward(dy, x, w, **geometry),
        longest,
    )
    assert y.shape[0] == x.shape[0]


@st.composite
def pooling(draw, dilated):
    """Images whose values differ within a plane, and a window that fits them."""
    kernel, stride = draw(pair), draw(pair)
    dilation = draw(pair) if dilated else (1, 1)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    least = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    h, w = (max(1, low) + draw(st.integers(0, 8)) for low in least)
    n, c = draw(st.integers(0, 2)), draw(st.integers(1, 20))
    x = draw(laid_out((n, c, h, w), draw(dtypes)))
    places = np.random.default_rng(h * w).permutation(n * c * h * w).reshape(x.shape)
    x[...] = places / 64
    return x, kernel, stride, padding, dilation, draw(st.booleans())


def _taps(x, kernel, stride, padding, dilation, ceil_mode):
    return [
        pool_reference.taps(x.shape[2 + i], kernel[i], stride[i], padding[i], dilation[i], ceil_mode)
        for i in (0, 1)
    ]


@repeatable
@given(case=pooling(dilated=True))
def test_max_pool2d(case):
    x, kernel, *rest = case
    rows, columns = _taps(x, kernel, *rest)

    def backward(dy, a):
        _, where = pool_reference.max_pool2d(a, rows, columns, kernel[1])
        return (pool_reference.max_pool2d_backward(dy, where, a.shape, rows, columns, kernel[1]),)

    agree(
        lambda t: ops.max_pool2d(t, kernel, *rest),
        [x],
        lambda a: pool_reference.max_pool2d(a, rows, columns, kernel[1])[0],
        backward,
        kernel[0] * kernel[1] + 1,
    )


@pytest.mark.parametrize("include", [True, False])
@repeatable
@given(case=pooling(dilated=False))
def test_avg_pool2d(include, case):
    x, kernel, stride, padding, dilation, ceil_mode = case
    rows, columns = _taps(x, kernel, stride, padding, dilation, ceil_mode)
    down, across = (
        pool_reference.divisors(x.shape[2 + i], kernel[i], stride[i], padding[i], ceil_mode, include)
        for i in (0, 1)
    )
    divisor = np.outer(down, across)
    agree(
        lambda t: ops.avg_pool2d(t, kernel, stride, padding, ceil_mode, include),
        [x],
        lambda a: pool_reference.avg_pool2d(a, rows, columns, divisor),
        lambda dy, a: (pool_reference.avg_pool2d_backward(dy, a.shape, rows, columns, divisor),),
        kernel[0] * kernel[1] + 1,
    )
