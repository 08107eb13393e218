"""Rules for linear layers, products, embeddings, convolutions, pools, softmax and losses of classes.

A rule turns a call (`operations.Site`) into instructions, which call the helpers of `kernels/*.c`; the
helpers' comments have the formulas. A Linear of 4 to 8 features, of two rows, becomes

    linear(x, w_0_weight, w_0_bias, ram + 0, 2, 4, 8);

and a Conv2d

    conv2d(x, w_0_weight, w_0_bias, ram + 0, &(const struct window){.n = 1, .in = 3, .h = 32, ...});

In `made(helper, arguments ...)` the argument `...` is the place of the result. The settings "geometry" of
convolutions and "arguments" of pools are tuples of the op's arguments in their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.linear_maps import linear, linear_backward
from ranvier.export.operations import Rule, Site, rule
from ranvier.tensors.types import ShapeLike

Gradients = Sequence[Value | None]
"""The gradients of the inputs of a call, in their order; None where none is needed."""

Struct = dict[str, Any]
"""The fields of a struct of C by name; "struct" is the name of the struct."""


def _new_if(s: Site, i: int) -> Value | None:
    """Memory for the gradient of an input, or None where none is needed."""
    if s.inputs[i] is not None and s.needs[i]:
        return s.routine.new(s.input(i).shape)
    return None


def _present(*values: Value | None) -> list[Value]:
    return [v for v in values if v is not None]


# --- linear layers and products


def _linear(s: Site) -> Value:
    """y (rows, outputs) = x (rows, features) w^T + bias, with w (outputs, features)."""
    x = s.input(0)
    w = s.input(1)
    bias = s.inputs[2]
    outputs, features = w.shape
    rows = x.size // features
    s.routine.multiplications += rows * outputs * features
    shape = (*x.shape[:-1], outputs)
    return s.routine.made("linear", x, w, bias, ..., rows, features, outputs, shape=shape)


def _linear_backward(s: Site, dy: Value) -> Gradients:
    """dx = dy w, dw = dy^T x, db = the sums of dy over its rows."""
    x = s.input(0)
    w = s.input(1)
    outputs, features = w.shape
    rows = x.size // features
    dx = _new_if(s, 0)
    dw = _new_if(s, 1)
    db = _new_if(s, 2)
    if dx is not None:
        s.routine.multiplications += rows * w.size
        s.routine.call("linear_dx", dy, w, dx, rows, features, outputs, writes=dx)
    if dw is not None:
        s.routine.multiplications += rows * w.size
        s.routine.call("linear_dw", dy, x, dw, rows, features, outputs, writes=dw)
    if db is not None:
        # sizes before, along and after the axis of the sum; factor 1
        s.routine.call("sum_axis", dy, db, 1, rows, outputs, 1.0, writes=db)
    return [dx, dw, db]


rule("Linear")(Rule(_linear, _linear_backward))


def _matrices(s: Site) -> list[Value]:
    """Both operands as (..., rows, columns).

    Batch dimensions are broadcast, except that a single matrix stays one.
    """
    a = s.input(0)
    b = s.input(1)
    if len(a.shape) == 1:
        a = a.as_shape((1, *a.shape))
    if len(b.shape) == 1:
        b = b.as_shape((*b.shape, 1))
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    matrices = []
    for x in (a, b):
        if len(x.shape) > 2 and x.shape[:-2] != lead:
            x = s.expanded(x, (*lead, *x.shape[-2:]))
        matrices.append(x)
    return matrices


def _batches(*operands: Value) -> int:
    """The number of products of matrices."""
    batches = 1
    for x in operands:
        batches = max(batches, int(np.prod(x.shape[:-2])))
    return batches


def _steps(x: Value, transposed: bool = False) -> tuple[int, int, int]:
    """The elements from one matrix of x, row and column to the next, for the helper `matmul`.

    The first is 0 for a single matrix, which all products share.
    """
    rows, columns = x.shape[-2:]
    to_next_matrix = rows * columns if len(x.shape) > 2 else 0
    if transposed:
        return to_next_matrix, 1, columns
    return to_next_matrix, columns, 1


def _matmul(s: Site) -> Value:
    """y (..., m, n) = a (..., m, k) b (..., k, n)."""
    a, b = s.saved = _matrices(s)
    m, k = a.shape[-2:]
    n = b.shape[-1]
    batches = _batches(a, b)
    s.routine.multiplications += batches * m * k * n
    shape = s.call.outputs[0].shape
    return s.routine.made("matmul", a, b, ..., batches, m, k, n, _steps(a), _steps(b), shape=shape)


def _matmul_backward(s: Site, dy: Value) -> Gradients:
    """da = dy b^T, db = a^T dy."""
    a, b = s.saved
    m, k = a.shape[-2:]
    n = b.shape[-1]
    batches = _batches(a, b)
    lead = a.shape[:-2] or b.shape[:-2]
    steps_of_dy = (m * n, n, 1)
    da = db = None
    if s.needs[0]:
        product = s.routine.new((*lead, m, k))
        steps_of_b = _steps(b, transposed=True)
        s.routine.call("matmul", dy, b, product, batches, m, n, k, steps_of_dy, steps_of_b, writes=product)
        da = _operand_gradient(s, product, 0)
    if s.needs[1]:
        product = s.routine.new((*lead, k, n))
        steps_of_a = _steps(a, transposed=True)
        s.routine.call("matmul", a, dy, product, batches, k, m, n, steps_of_a, steps_of_dy, writes=product)
        db = _operand_gradient(s, product, 1)
    s.routine.multiplications += sum(s.needs) * batches * m * k * n
    return [da, db]


def _operand_gradient(s: Site, dx: Value, i: int) -> Value:
    """The gradient of operand i, summed over broadcast axes; dx: that of its matrices."""
    shape = s.input(i).shape
    matrix = shape if len(shape) > 1 else dx.shape[-2:]
    return s.reduced(dx, matrix).as_shape(shape)


rule("Matmul")(Rule(_matmul, _matmul_backward))


def _embedding(s: Site) -> Value:
    table = s.input(0)
    index = s.input(1)
    rows, features = table.shape
    shape = (*index.shape, features)
    return s.routine.made("embedding", table, index, ..., index.size, rows, features, shape=shape)


def _embedding_backward(s: Site, dy: Value) -> Gradients:
    if s.get("scale_grad_by_freq"):
        raise s.refuse("scale_grad_by_freq is not supported in a step")
    table = s.input(0)
    index = s.input(1)
    rows, features = table.shape
    padding = s.get("padding_idx")  # the row that gets no gradient; -1 for none
    padding = -1 if padding is None else padding % rows
    args = dy, index, ..., index.size, rows, features, padding
    return [s.routine.made("embedding_backward", *args, shape=table.shape), None]


rule("Embedding")(Rule(_embedding, _embedding_backward))


# --- convolutions and pools; signals are computed as images with one row


def _pair(value: ShapeLike, axes: int, first: int) -> tuple[int, int]:
    """A setting as (value for rows, value for columns); first: the value for the single row of a signal."""
    if isinstance(value, Sequence):
        sizes = [int(n) for n in value]
    else:
        sizes = [int(value)]
    if len(sizes) == 1:
        sizes = sizes * axes
    if axes == 1:
        return (first, sizes[0])
    return (sizes[0], sizes[1])


def _window(
    s: Site,
    axes: int,
    kernel: ShapeLike,
    stride: ShapeLike,
    padding: ShapeLike = 0,
    dilation: ShapeLike = 1,
    groups: int = 1,
) -> Struct:
    """The `struct window` of kernels/image.c, with its settings of a convolution or pool.

    axes: 1 for signals (n, channels, length), 2 for images (n, channels, height, width); n may be missing.
    """
    shape = s.input(0).shape
    out = s.call.outputs[0].shape
    h, w = _pair(shape[-axes:], axes, first=1)
    out_h, out_w = _pair(out[-axes:], axes, first=1)
    kernel_h, kernel_w = _pair(kernel, axes, first=1)
    stride_h, stride_w = _pair(stride, axes, first=1)
    pad_h, pad_w = _pair(padding, axes, first=0)
    dilation_h, dilation_w = _pair(dilation, axes, first=1)
    batch = shape[0] if len(shape) == axes + 2 else 1
    return {
        "struct": "window",
        "n": batch,
        "in": shape[-axes - 1],
        "h": h,
        "w": w,
        "out": out[-axes - 1],
        "out_h": out_h,
        "out_w": out_w,
        "kh": kernel_h,
        "kw": kernel_w,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "pad_h": pad_h,
        "pad_w": pad_w,
        "step_h": dilation_h,
        "step_w": dilation_w,
        "groups": int(groups),
    }


def _axes(s: Site) -> int:
    """1 or 2, from a name such as Conv2d."""
    return int(s.call.kind[-2])


def conv_window(s: Site) -> Struct:
    """The `struct window` of a convolution."""
    axes = _axes(s)
    stride, padding, dilation, groups = s.get("geometry")
    kernel = s.input(1).shape[2:]
    if padding == "same":  # half of what the dilated kernel reaches beyond its first element
        dilations = _pair(dilation, axes, first=1)[-axes:]
        padding = tuple([d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True)])
    elif padding == "valid":
        padding = 0
    return _window(s, axes, kernel, stride, padding, dilation, groups)


def _conv(s: Site) -> Value:
    weight = s.input(1)
    shape = s.call.outputs[0].shape
    # one multiplication of each result for each weight of its output channel
    s.routine.multiplications += math.prod(shape) * math.prod(weight.shape[1:])
    return s.routine.made("conv2d", s.input(0), weight, s.inputs[2], ..., conv_window(s), shape=shape)


def _conv_backward(s: Site, dy: Value) -> Gradients:
    weight = s.input(1)
    dx = _new_if(s, 0)
    dw = _new_if(s, 1)
    db = _new_if(s, 2)
    s.routine.multiplications += len(_present(dx, dw)) * dy.size * math.prod(weight.shape[1:])
    args = dy, s.input(0), weight, dx, dw, db, conv_window(s)
    s.routine.call("conv2d_backward", *args, writes=_present(dx, dw, db))
    return [dx, dw, db]


rule("Conv1d", "Conv2d")(Rule(_conv, _conv_backward))


class Pool(NamedTuple):
    """The `struct window` of a pool, and whether an average counts the padding as zeros."""

    window: Struct
    counts_padding: bool


def pool_window(s: Site) -> Pool | None:
    """The windows of a pool; None if they have different sizes, or an average has another divisor."""
    axes = _axes(s)
    if "Adaptive" in s.call.kind:
        sizes = s.input(0).shape[-axes:]
        outs = s.call.outputs[0].shape[-axes:]
        if any(n % out for n, out in zip(sizes, outs, strict=True)):
            return None
        kernel = tuple([n // out for n, out in zip(sizes, outs, strict=True)])
        return Pool(_window(s, axes, kernel, stride=kernel), counts_padding=False)
    if s.call.kind.startswith("Max"):
        kernel, stride, padding, dilation = s.get("arguments")[:4]
        if stride is None:
            stride = kernel
        return Pool(_window(s, axes, kernel, stride, padding, dilation), counts_padding=False)
    kernel, stride, padding, _, counts_padding, *divisors = s.get("arguments")  # _: ceil_mode
    if stride is None:
        stride = kernel
    if any(divisor is not None for divisor in divisors):
        return None
    return Pool(_window(s, axes, kernel, stride, padding), bool(counts_padding))


def max_window(s: Site) -> Struct:
    """The `struct window` of a max pool; ValueError for one that is not supported."""
    if s.call.settings.get("return_indices"):
        raise s.refuse("return_indices is not supported")
    pool = pool_window(s)
    if pool is None:
        raise s.refuse("windows that divide the image unevenly are not supported")
    return pool.window


def _max_pool(s: Site) -> Value:
    return s.routine.made("max_pool", s.input(0), ..., max_window(s), shape=s.call.outputs[0].shape)


def _max_pool_backward(s: Site, dy: Value, *gradient_of_indices: Value | None) -> Gradients:
    x = s.input(0)
    return [s.routine.made("max_pool_backward", dy, x, ..., max_window(s), shape=x.shape)]


def _avg_pool(s: Site) -> Value:
    pool = pool_window(s)
    if pool is None:
        return linear(s)
    shape = s.call.outputs[0].shape
    return s.routine.made("avg_pool", s.input(0), ..., pool.window, pool.counts_padding, shape=shape)


def _avg_pool_backward(s: Site, dy: Value) -> Gradients:
    pool = pool_window(s)
    if pool is None:
        return linear_backward(s, dy)
    shape = s.input(0).shape
    return [s.routine.made("avg_pool_backward", dy, ..., pool.window, pool.counts_padding, shape=shape)]


_max_rule = Rule(_max_pool, _max_pool_backward)
_average_rule = Rule(_avg_pool, _avg_pool_backward)
rule("MaxPool1d", "MaxPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d")(_max_rule)
rule("AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d")(_average_rule)


# --- softmax and losses of classes


def _softmax(s: Site) -> Value:
    x = s.input(0)
    name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[s.call.kind]
    return s.routine.made(name, x, ..., *s.channels(s.get("dim")), shape=x.shape, replaced=[x])


def _softmax_backward(s: Site, dy: Value) -> Gradients:
    y = s.outputs[0]
    name = {"Softmax": "softmax_backward", "LogSoftmax": "log_softmax_backward"}[s.call.kind]
    return [s.routine.made(name, dy, y, ..., *s.channels(s.get("dim")), shape=y.shape, replaced=[dy])]


rule("Softmax", "LogSoftmax")(Rule(_softmax, _softmax_backward))


def _class_loss(s: Site) -> Value:
    """A loss of scores (N, C) and class indices (N). Its helper computes the gradient, too."""
    reduction, weight, ignored, *smoothing = s.get("settings")
    x = s.input(0)
    target = s.input(1)
    if len(x.shape) != 2 or not target.buffer.integer or reduction not in ("mean", "sum"):
        raise s.refuse("only scores (N, C), class indices (N) and the reductions mean and sum are supported")
    if weight is not None or any(smoothing[:1]):
        raise s.refuse("weights of classes and label smoothing are not supported")
    y = s.routine.new(())
    dx = _new_if(s, 0)
    s.saved = [dx]
    name = {"CrossEntropy": "cross_entropy", "Nll": "nll"}[s.call.kind]
    samples, classes = x.shape
    is_mean = reduction == "mean"
    args = x, target, y, dx, samples, classes, int(ignored), is_mean
    s.routine.call(name, *args, writes=_present(y, dx))
    return y


def _class_loss_backward(s: Site, dy: Value) -> Gradients:
    (dx,) = s.saved
    return [s.scaled(dx, dy), None]


rule("CrossEntropy", "Nll")(Rule(_class_loss, _class_loss_backward))
