"""Samples of pools and what undoes them: functions of `ops/image`, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np
from ranvier import nn
from reference import pooling

from samples.convolution import of_axes
from samples.draw import images, sequences
from samples.index import OVERWRITTEN
from samples.sample import call, op, refused


def any_window(x, axes, *names):
    """A window and its settings at random, and images that at least one fits into."""
    dilates = "dilation" in names
    kernel, stride, dilation = (
        tuple(x.size(1, most) for _ in range(axes)) for most in (4, 4, 3 if dilates else 1)
    )
    sizes = [d * (k - 1) + 1 + x.size(0, 20) for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(x.size(0, k // 2) for k in kernel)
    settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    settings = of_axes(axes, {name: v for name, v in settings.items() if name != "dilation" or dilates})
    flags = {name: bool(x.size(0, 1)) for name in names if name != "dilation"}
    return call(x(x.size(1, 3), x.size(1, 20), *sizes), **settings, **flags)


def windows_1d(*names):
    def samples(x):
        yield call(x(2, 4, 7), 2)
        yield call(x(2, 4, 9), 3, 2, 1)
        yield call(x(4, 7), 3, ceil_mode=True)
        yield call(x(2, x.n, 9), 4, 1, 2)
        yield call(x(2, 3, x.n + 1), 2, 2)
        yield any_window(x, 1, *names)
        yield refused(ValueError, "got", x(2, 4, 7), 9)

    return samples


def windows_2d(*names):
    def samples(x):
        yield call(x(2, 4, 5, 6), 2)
        yield call(x(2, 4, 6, 7), (3, 2), (2, 1), 1)
        yield call(x(1, 2, 5, 5), 2, ceil_mode=True)
        yield call(x(1, 3, 7, 8), 2, 3, 1, ceil_mode=True)
        yield call(x(2, 4, 4), 3, 1, 1)
        yield call(x(1, x.n, 5, 6), 3, 2, 1)
        yield call(x(1, 2, 3, x.n + 1), 2, 1)
        yield call(x(1, 2, 5, 2 * x.n + 3), 3, 2, 1)
        yield call(x(0, 4, 5, 6), 2)
        yield any_window(x, 2, *names)
        yield refused(ValueError, "got", x(2, 4, 5, 6), 9)

    return samples


def plane(x, *rest, **settings):
    """The most elements that a window has."""
    return x.shape[-1] * x.shape[-2]


for _axes, _windows in ((1, windows_1d), (2, windows_2d)):
    op(
        _windows("dilation", "ceil_mode"),
        names=f"max_pool{_axes}d",
        reference=partial(pooling.max_pool, _axes),
        exact=True,
        terms=plane,
    )
    op(
        _windows("ceil_mode", "count_include_pad"),
        names=f"avg_pool{_axes}d",
        reference=partial(pooling.avg_pool, _axes),
        terms=plane,
    )


@op(of="nn.functional.max_pool2d", lacks="C ONNX")
def max_pool2d_with_indices(x):
    yield call(x(2, 4, 6, 7), 3, 2, dilation=2, return_indices=True)
    yield call(x(2, 4, 4), 2, return_indices=True)


@op(of="nn.functional.avg_pool2d", reference=partial(pooling.avg_pool, 2), terms=plane)
def avg_pool2d_divided(x):
    yield call(x(2, 4, 6, 7), 3, 2, 1, count_include_pad=False)
    yield call(x(2, 4, 6, 7), (3, 2), (2, 3), (1, 0), True, False)
    yield call(x(2, 4, 6, 7), 3, divisor_override=5)


def power_pool(x, p, kernel_size, stride=None, ceil_mode=False):
    """The mean of a window times the size of a whole one, as PyTorch's."""
    size = np.prod(kernel_size) if isinstance(kernel_size, tuple) else kernel_size**2
    return (pooling.avg_pool(2, x**p, kernel_size, stride, ceil_mode=ceil_mode) * size) ** (1 / p)


@op(reference=power_pool, terms=plane, lacks="rounding", apart="NaN infinity")
def lp_pool2d(x):
    yield call(x(2, 4, 5, 6, low=0.1), 2, 2)
    yield call(x(1, 2, 5, 6, low=0.1), 3.0, (2, 3), 1)
    yield call(x(2, 3, 6, 7, low=0.1), 1, (3, 2), (2, 1))
    yield call(x(2, 3, 6, 7, low=0.5), -2, 3, 2, True)
    yield call(x(2, 3, 6, 7, low=0.1), 2, 3, 2, True)
    for p in (0, float("nan"), float("-inf"), "2", True, None):
        yield refused(ValueError, f"[lp_pool2d] got norm_type {p!r}; expected a number", x(1, 1, 4, 4), p, 2)


def adaptive_1d(x):
    yield call(x(2, 4, 7), 3)
    yield call(x(2, 4, 6), 2)
    yield call(x(2, 3, 9), 40)
    yield call(x(2, x.n, 5), 3)
    yield call(x(2, 3, x.n), 4)
    yield call(x(*(x.size(1, 30) for _ in range(3))), x.size(1, 11))


def adaptive_2d(x):
    yield call(x(2, 4, 5, 6), (2, 3))
    yield call(x(2, 4, 6, 6), 3)
    yield call(x(1, 2, 5, 7), (None, 2))
    yield call(x(1, 3, 7, 8), (13, 12))
    yield call(x(2, 4, 4), 3)
    yield call(x(1, x.n, 5, 4), (3, 2))
    yield call(x(1, 2, 5, x.n + 3), (3, x.n // 2 + 1))  # windows of uneven lengths
    yield call(x(2, x.n, 3, 5), 1)
    yield call(x(2, 9, 3, x.n), 1)
    yield call(x(0, 3, 5, 4), 1)
    yield call(x(*(x.size(1, 19) for _ in range(4))), (x.size(1, 11), x.size(1, 11)))


for _axes, _samples in ((1, adaptive_1d), (2, adaptive_2d)):
    for _name, _largest in (("avg", False), ("max", True)):
        op(
            _samples,
            names=f"adaptive_{_name}_pool{_axes}d",
            reference=partial(pooling.adaptive_pool, _axes, _largest),
            exact=_largest,
            terms=plane,
            inner=1.0,  # windows overlap
            lacks="ONNX" if _largest else "",
        )


@op(lacks="C ONNX", autocast="float32")
def max_unpool1d(x):
    yield call(x(2, 4, 3), np.tile(np.array([0, 3, 5]), (2, 4, 1)), 2)
    yield call(x(0, 1, 2), np.zeros((0, 1, 2), np.int64), 2)
    twice = call(x(1, 1, 4), np.array([[[4, 2, 4, 5]]]), 1, 2)
    yield twice.without(OVERWRITTEN, "pytorch")
    yield refused(ValueError, "[max_unpool1d] got x of shape (4, 3)", x(4, 3), np.array([[0, 3, 5]]), 2)


@op(lacks="C ONNX", autocast="float32")
def max_unpool2d(x):
    yield call(x(1, 2, 2, 2), np.tile(np.array([[0, 3], [8, 15]]), (1, 2, 1, 1)), 2)
    yield call(x(1, 2, 2), np.array([[[4, 4], [4, 2]]]), 2, 1).without(OVERWRITTEN, "pytorch")
    yield call(x(0, 1, 2, 2), np.zeros((0, 1, 2, 2), np.int64), 2)


@op
def MaxPool1d(x):
    yield call(nn.MaxPool1d(2), sequences(x))
    yield call(nn.MaxPool1d(3, 2, 1), sequences(x))


@op
def MaxPool2d(x):
    yield call(nn.MaxPool2d(3, 2, 1), images(x))
    yield call(nn.MaxPool2d((2, 3), dilation=2, ceil_mode=True), images(x))
    yield call(nn.MaxPool2d((2, 1), dilation=2), images(x))


@op
def AvgPool1d(x):
    yield call(nn.AvgPool1d(3, 2, 1), sequences(x))
    yield call(nn.AvgPool1d(2, ceil_mode=True), sequences(x))


@op
def AvgPool2d(x):
    yield call(nn.AvgPool2d(2), images(x))
    yield call(nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), images(x))
    yield call(nn.AvgPool2d(2, ceil_mode=True), x(2, 3, 9, 7))


@op(lacks="rounding")
def LPPool2d(x):
    yield call(nn.LPPool2d(2.0, 2), x(2, 4, 8, 8, low=0.1))


@op()
def AdaptiveAvgPool1d(x):
    yield call(nn.AdaptiveAvgPool1d(4), sequences(x))


@op
def AdaptiveAvgPool2d(x):
    yield call(nn.AdaptiveAvgPool2d((3, None)), images(x))
    yield call(nn.AdaptiveAvgPool2d((None, 2)), images(x))


@op(lacks="C ONNX")
def AdaptiveMaxPool1d(x):
    yield call(nn.AdaptiveMaxPool1d(4), sequences(x))


@op(lacks="C ONNX")
def AdaptiveMaxPool2d(x):
    yield call(nn.AdaptiveMaxPool2d((3, 5)), images(x))
    yield call(nn.AdaptiveMaxPool2d((5, None)), images(x))


@op(lacks="C ONNX", autocast="float32")
def MaxUnpool1d(x):
    yield call(nn.MaxUnpool1d(2), x(2, 4, 3), np.tile(np.array([0, 3, 5]), (2, 4, 1)))


@op(lacks="C ONNX", autocast="float32")
def MaxUnpool2d(x):
    yield call(nn.MaxUnpool2d(2), x(1, 2, 2, 2), np.tile(np.array([[0, 3], [8, 15]]), (1, 2, 1, 1)))
