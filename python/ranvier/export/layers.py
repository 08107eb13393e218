"""Rules for linear layers, products, embeddings, convolutions, pools, softmax and losses of classes.

A rule turns a call (`operations.Site`) into instructions, which call the helpers of `kernels/*.c`; the
helpers' comments have the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.linear_maps import linear, linear_backward
from ranvier.export.operations import Rule, Site, rule

Gradients = Sequence[Value | None]


def _new_if(s: Site, i: int) -> Value | None:
    """Memory for the gradient of an input, or None where none is needed."""
    if s.inputs[i] is not None and s.needs[i]:
        return s.r.new(s.input(i).shape)
    return None


def _present(*values: Value | None) -> list[Value]:
    return [v for v in values if v is not None]


# --- linear layers and products


def _linear(s: Site) -> Value:
    x = s.input(0)
    w = s.input(1)
    rows = x.size // x.shape[-1]
    out, n = w.shape
    s.r.multiplications += rows * out * n
    return s.r.made("linear", x, w, s.inputs[2], ..., rows, n, out, shape=(*x.shape[:-1], out))


def _linear_backward(s: Site, dy: Value) -> Gradients:
    x = s.input(0)
    w = s.input(1)
    sizes = x.size // x.shape[-1], w.shape[1], w.shape[0]
    dx, dw, db = (_new_if(s, i) for i in range(3))
    s.r.multiplications += sum(d is not None for d in (dx, dw)) * sizes[0] * w.size
    if dx is not None:
        s.r.call("linear_dx", dy, w, dx, *sizes, writes=dx)
    if dw is not None:
        s.r.call("linear_dw", dy, x, dw, *sizes, writes=dw)
    if db is not None:
        s.r.call("sum_axis", dy, db, 1, sizes[0], sizes[2], 1.0, writes=db)
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
    return [
        x if len(x.shape) == 2 or x.shape[:-2] == lead else s.expanded(x, (*lead, *x.shape[-2:]))
        for x in (a, b)
    ]


def _batches(x: Value) -> int:
    """The number of matrices of a batch; 0 for a single matrix, which all products share."""
    if len(x.shape) > 2:
        return int(np.prod(x.shape[:-2]))
    return 0


def _matmul(s: Site) -> Value:
    a, b = s.saved = _matrices(s)
    m, k = a.shape[-2:]
    n = b.shape[-1]
    batches = max(_batches(a), _batches(b), 1)
    # elements from one matrix, row and column to the next; 0 for a matrix that all products share
    steps = [(bool(_batches(x)) * x.shape[-2] * x.shape[-1], x.shape[-1], 1) for x in (a, b)]
    s.r.multiplications += batches * m * k * n
    return s.r.made("matmul", a, b, ..., batches, m, k, n, *steps, shape=s.call.outputs[0].shape)


def _matmul_backward(s: Site, dy: Value) -> Gradients:
    a, b = s.saved
    m, k = a.shape[-2:]
    n = b.shape[-1]
    batches = max(_batches(a), _batches(b), 1)
    lead = a.shape[:-2] or b.shape[:-2]
    gradients: list[Value | None] = [None, None]
    if s.needs[0]:  # dy b^T
        dx = s.r.new((*lead, m, k))
        steps = (m * n, n, 1), (bool(_batches(b)) * k * n, 1, n)
        s.r.call("matmul", dy, b, dx, batches, m, n, k, *steps, writes=dx)
        gradients[0] = _of_operand(s, dx, 0)
    if s.needs[1]:  # a^T dy
        dx = s.r.new((*lead, k, n))
        steps = (bool(_batches(a)) * m * k, 1, k), (m * n, n, 1)
        s.r.call("matmul", a, dy, dx, batches, k, m, n, *steps, writes=dx)
        gradients[1] = _of_operand(s, dx, 1)
    s.r.multiplications += sum(s.needs) * batches * m * k * n
    return gradients


def _of_operand(s: Site, dx: Value, i: int) -> Value:
    """The gradient of operand i, summed over broadcast axes; dx: that of its matrices."""
    shape = s.input(i).shape
    matrix = shape if len(shape) > 1 else dx.shape[-2:]
    return s.reduced(dx, matrix).as_shape(shape)


rule("Matmul")(Rule(_matmul, _matmul_backward))


def _embedding(s: Site) -> Value:
    table = s.input(0)
    index = s.input(1)
    args = table, index, ..., index.size, *table.shape
    return s.r.made("embedding", *args, shape=(*index.shape, table.shape[1]))


def _embedding_backward(s: Site, dy: Value) -> Gradients:
    if s.get("scale_grad_by_freq"):
        raise s.refuse("scale_grad_by_freq is not supported in a step")
    table = s.input(0)
    index = s.input(1)
    padding = s.get("padding_idx")
    padding = -1 if padding is None else padding % table.shape[0]
    args = dy, index, ..., index.size, *table.shape, padding
    return [s.r.made("embedding_backward", *args, shape=table.shape), None]


rule("Embedding")(Rule(_embedding, _embedding_backward))


# --- convolutions and pools; signals are computed as images with one row


def _pair(value: Any, axes: int, first: int) -> tuple[int, int]:
    """A setting as (value for rows, value for columns); first: the value for the single row of a signal."""
    if isinstance(value, (tuple, list)):
        sizes = [int(n) for n in value]
    else:
        sizes = [int(value)]
    if len(sizes) == 1:
        sizes = sizes * axes
    if axes == 1:
        return (first, sizes[0])
    return (sizes[0], sizes[1])


def _window(s: Site, axes: int, kernel: Any, stride: Any, padding: Any, step: Any, groups: int) -> Any:
    """The `struct window` of kernels/image.c; axes: 1 for signals, 2 for images. step: the dilation."""
    shape = s.input(0).shape
    out = s.call.outputs[0].shape
    n = shape[0] if len(shape) == axes + 2 else 1
    h, w = _pair(shape[-axes:], axes, 1)
    out_h, out_w = _pair(out[-axes:], axes, 1)
    kh, kw = _pair(kernel, axes, 1)
    sizes: dict[str, int] = {"n": n, "in": shape[-axes - 1], "h": h, "w": w}
    sizes |= {"out": out[-axes - 1], "out_h": out_h, "out_w": out_w, "kh": kh, "kw": kw}
    sizes |= dict(zip(("stride_h", "stride_w"), _pair(stride, axes, 1), strict=True))
    sizes |= dict(zip(("pad_h", "pad_w"), _pair(padding, axes, 0), strict=True))
    sizes |= dict(zip(("step_h", "step_w"), _pair(step, axes, 1), strict=True))
    return {"struct": "window", **sizes, "groups": int(groups)}


def conv_window(s: Site) -> Any:
    """The `struct window` of a convolution."""
    axes = int(s.call.kind[-2])
    stride, padding, step, groups = s.get("geometry")
    kernel = s.input(1).shape[2:]
    if padding == "same":
        steps = _pair(step, axes, 1)[-axes:]
        padding = tuple(d * (k - 1) // 2 for d, k in zip(steps, kernel, strict=True))
    elif padding == "valid":
        padding = 0
    return _window(s, axes, kernel, stride, padding, step, groups)


def _conv(s: Site) -> Value:
    shape = s.call.outputs[0].shape
    s.r.multiplications += int(np.prod(shape)) * int(np.prod(s.input(1).shape[1:]))
    return s.r.made("conv2d", s.input(0), s.input(1), s.inputs[2], ..., conv_window(s), shape=shape)


def _conv_backward(s: Site, dy: Value) -> Gradients:
    dx, dw, db = (_new_if(s, i) for i in range(3))
    s.r.multiplications += sum(d is not None for d in (dx, dw)) * dy.size * int(np.prod(s.input(1).shape[1:]))
    args = dy, s.input(0), s.input(1), dx, dw, db, conv_window(s)
    s.r.call("conv2d_backward", *args, writes=_present(dx, dw, db))
    return [dx, dw, db]


rule("Conv1d", "Conv2d")(Rule(_conv, _conv_backward))


def pool_window(s: Site) -> tuple[Any, bool] | None:
    """The `struct window` of a pool, and whether an average counts the padding.

    None if the windows have different sizes, or an average has another divisor.
    """
    axes = int(s.call.kind[-2])
    if "Adaptive" in s.call.kind:
        sizes = s.input(0).shape[-axes:]
        outs = s.call.outputs[0].shape[-axes:]
        if any(n % out for n, out in zip(sizes, outs, strict=True)):
            return None
        kernel = tuple(n // out for n, out in zip(sizes, outs, strict=True))
        return _window(s, axes, kernel, kernel, 0, 1, 1), False
    kernel, stride, padding, third, *more = s.get("arguments")
    if stride is None:
        stride = kernel
    if s.call.kind.startswith("Max"):
        return _window(s, axes, kernel, stride, padding, third, 1), False
    if any(d is not None for d in more[1:]):
        return None
    return _window(s, axes, kernel, stride, padding, 1, 1), bool(more[0])


def max_window(s: Site) -> Any:
    """The `struct window` of a max pool; ValueError for one that is not supported."""
    if s.call.settings.get("return_indices"):
        raise s.refuse("return_indices is not supported")
    if (window := pool_window(s)) is None:
        raise s.refuse("windows that divide the image unevenly are not supported")
    return window[0]


def _max_pool(s: Site) -> Value:
    return s.r.made("max_pool", s.input(0), ..., max_window(s), shape=s.call.outputs[0].shape)


def _max_pool_backward(s: Site, dy: Value, *_: Any) -> Gradients:
    x = s.input(0)
    return [s.r.made("max_pool_backward", dy, x, ..., max_window(s), shape=x.shape)]


def _avg_pool(s: Site) -> Value:
    if (window := pool_window(s)) is None:
        return linear(s)
    return s.r.made("avg_pool", s.input(0), ..., *window, shape=s.call.outputs[0].shape)


def _avg_pool_backward(s: Site, dy: Value) -> Gradients:
    if (window := pool_window(s)) is None:
        return linear_backward(s, dy)
    return [s.r.made("avg_pool_backward", dy, ..., *window, shape=s.input(0).shape)]


for _name in ("", "Adaptive"):
    rule(f"{_name}MaxPool1d", f"{_name}MaxPool2d")(Rule(_max_pool, _max_pool_backward))
    rule(f"{_name}AvgPool1d", f"{_name}AvgPool2d")(Rule(_avg_pool, _avg_pool_backward))


# --- softmax and losses of classes


def _softmax(s: Site) -> Value:
    x = s.input(0)
    name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[s.call.kind]
    return s.r.made(name, x, ..., *s.channels(s.get("dim")), shape=x.shape, replaced=[x])


def _softmax_backward(s: Site, dy: Value) -> Gradients:
    y = s.outputs[0]
    name = {"Softmax": "softmax_backward", "LogSoftmax": "log_softmax_backward"}[s.call.kind]
    return [s.r.made(name, dy, y, ..., *s.channels(s.get("dim")), shape=y.shape, replaced=[dy])]


rule("Softmax", "LogSoftmax")(Rule(_softmax, _softmax_backward))


def _class_loss(s: Site) -> Value:
    """A loss of scores (N, C) and class indices (N)."""
    settings = s.get("settings")
    reduction, weight, ignored = settings[:3]
    x = s.input(0)
    target = s.input(1)
    if len(x.shape) != 2 or not target.buffer.integer or reduction not in ("mean", "sum"):
        raise s.refuse("only scores (N, C), class indices (N) and the reductions mean and sum are supported")
    if weight is not None or (len(settings) > 3 and settings[3]):
        raise s.refuse("weights of classes and label smoothing are not supported")
    y = s.r.new(())
    dx = _new_if(s, 0)
    s.saved = [dx]
    name = {"CrossEntropy": "cross_entropy", "Nll": "nll"}[s.call.kind]
    args = x, target, y, dx, *x.shape, int(ignored), reduction == "mean"
    s.r.call(name, *args, writes=_present(y, dx))
    return y


rule("CrossEntropy", "Nll")(Rule(_class_loss, lambda s, dy: [s.scaled(s.saved[0], dy), None]))
