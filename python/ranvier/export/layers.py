"""Layers, views and losses of classes as instructions: forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ranvier.export.program import Value
from ranvier.export.rules import RULES, Rule, Site, rule

Gradients = Sequence[Value | None]


def _new_if(s: Site, i: int) -> Value | None:
    """Memory for the gradient of an input, or None where none is needed."""
    return s.r.new(s.input(i).shape) if s.inputs[i] is not None and s.needs[i] else None


def _present(*values: Value | None) -> list[Value]:
    return [v for v in values if v is not None]


# --- linear layers and products


def _linear(s: Site) -> Value:
    x, w = s.input(0), s.input(1)
    rows, (out, n) = x.size // x.shape[-1], w.shape
    s.r.multiplications += rows * out * n
    return s.r.made("linear", x, w, s.inputs[2], ..., rows, n, out, shape=(*x.shape[:-1], out))


def _linear_backward(s: Site, dy: Value) -> Gradients:
    x, w = s.input(0), s.input(1)
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


def _matrices(s: Site) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """The shapes of both operands as (batches, rows, columns), and the batch shape of the result."""
    a, b = s.input(0).shape, s.input(1).shape
    a = (1, *a) if len(a) == 1 else a
    b = (*b, 1) if len(b) == 1 else b
    lead = np.broadcast_shapes(a[:-2], b[:-2])
    if any(len(m) > 2 and m[:-2] != lead for m in (a, b)):
        raise s.refuse("products of batches that broadcast are not supported")
    return [(int(np.prod(m[:-2])), *m[-2:]) for m in (a, b)], lead


def _matmul(s: Site) -> Value:
    (a, b), _ = _matrices(s)
    batches, (m, k), n = max(a[0], b[0]), a[1:], b[2]
    steps = [((x[0] == batches) * x[1] * x[2], x[2], 1) for x in (a, b)]
    s.r.multiplications += batches * m * k * n
    args = s.input(0), s.input(1), ..., batches, m, k, n, *steps
    return s.r.made("matmul", *args, shape=s.call.outputs[0].shape)


def _matmul_backward(s: Site, dy: Value) -> Gradients:
    (a, b), _ = _matrices(s)
    batches, (m, k), n = max(a[0], b[0]), a[1:], b[2]
    gradients: list[Value | None] = [None, None]
    of_dy = m * n
    if s.needs[0]:  # dy b^T
        dx = s.r.new((batches, m, k))
        b_step = ((b[0] == batches) * k * n, 1, n)
        s.r.call("matmul", dy, s.input(1), dx, batches, m, n, k, (of_dy, n, 1), b_step, writes=dx)
        gradients[0] = s.reduced(dx, a).as_shape(s.input(0).shape)
    if s.needs[1]:  # a^T dy
        dx = s.r.new((batches, k, n))
        a_step = ((a[0] == batches) * m * k, 1, k)
        s.r.call("matmul", s.input(0), dy, dx, batches, k, m, n, a_step, (of_dy, n, 1), writes=dx)
        gradients[1] = s.reduced(dx, b).as_shape(s.input(1).shape)
    s.r.multiplications += sum(s.needs) * batches * m * k * n
    return gradients


rule("Matmul")(Rule(_matmul, _matmul_backward))


def _embedding(s: Site) -> Value:
    table, index = s.input(0), s.input(1)
    args = table, index, ..., index.size, *table.shape
    return s.r.made("embedding", *args, shape=(*index.shape, table.shape[1]))


def _embedding_backward(s: Site, dy: Value) -> Gradients:
    if s.get("scale_grad_by_freq"):
        raise s.refuse("scale_grad_by_freq is not supported in a step")
    table, index, padding = s.input(0), s.input(1), s.get("padding_idx")
    padding = -1 if padding is None else padding % table.shape[0]
    args = dy, index, ..., index.size, *table.shape, padding
    return [s.r.made("embedding_backward", *args, shape=table.shape), None]


rule("Embedding")(Rule(_embedding, _embedding_backward))


# --- convolutions and pools: signals are images of one row


def _pair(value: Any, axes: int, first: int) -> tuple[int, int]:
    """A setting for rows and columns; first: of the rows of a signal."""
    sizes = [int(n) for n in value] if isinstance(value, (tuple, list)) else [int(value)]
    sizes = sizes * axes if len(sizes) == 1 else sizes
    return (first, sizes[0]) if axes == 1 else (sizes[0], sizes[1])


def _window(s: Site, axes: int, kernel: Any, stride: Any, padding: Any, step: Any, groups: int) -> Any:
    shape, out = s.input(0).shape, s.call.outputs[0].shape
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
    """The sizes of a convolution."""
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


def pool_window(s: Site) -> tuple[Any, bool]:
    """The sizes of a pool, and whether an average counts the padding."""
    axes = int(s.call.kind[-2])
    if "Adaptive" in s.call.kind:
        sizes = s.input(0).shape[-axes:]
        outs = s.call.outputs[0].shape[-axes:]
        if any(n % out for n, out in zip(sizes, outs, strict=True)):
            raise s.refuse(f"windows that divide {sizes} unevenly into {outs} are not supported")
        kernel = tuple(n // out for n, out in zip(sizes, outs, strict=True))
        return _window(s, axes, kernel, kernel, 0, 1, 1), False
    kernel, stride, padding, third, *more = s.get("arguments")
    is_max = s.call.kind.startswith("Max")
    if not is_max and any(d is not None for d in more[1:]):
        raise s.refuse("divisor_override is not supported")
    window = _window(
        s, axes, kernel, kernel if stride is None else stride, padding, third if is_max else 1, 1
    )
    return window, not is_max and bool(more[0])


def _max_pool(s: Site) -> Value:
    if s.call.settings.get("return_indices"):
        raise s.refuse("return_indices is not supported")
    return s.r.made("max_pool", s.input(0), ..., pool_window(s)[0], shape=s.call.outputs[0].shape)


def _max_pool_backward(s: Site, dy: Value, *_: Any) -> Gradients:
    x = s.input(0)
    return [s.r.made("max_pool_backward", dy, x, ..., pool_window(s)[0], shape=x.shape)]


def _avg_pool(s: Site) -> Value:
    return s.r.made("avg_pool", s.input(0), ..., *pool_window(s), shape=s.call.outputs[0].shape)


def _avg_pool_backward(s: Site, dy: Value) -> Gradients:
    return [s.r.made("avg_pool_backward", dy, ..., *pool_window(s), shape=s.input(0).shape)]


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
    x, target = s.input(0), s.input(1)
    if len(x.shape) != 2 or not target.buffer.integer or reduction not in ("mean", "sum"):
        raise s.refuse("only scores (N, C), class indices (N) and the reductions mean and sum are supported")
    if weight is not None or (len(settings) > 3 and settings[3]):
        raise s.refuse("weights of classes and label smoothing are not supported")
    y, dx = s.r.new(()), _new_if(s, 0)
    s.saved = [dx]
    name = {"CrossEntropy": "cross_entropy", "Nll": "nll"}[s.call.kind]
    args = x, target, y, dx, *x.shape, int(ignored), reduction == "mean"
    s.r.call(name, *args, writes=_present(y, dx))
    return y


rule("CrossEntropy", "Nll")(Rule(_class_loss, lambda s, dy: [s.scaled(s.saved[0], dy), None]))


# --- views and joins


def _view(kind: str, view: Callable[[Site], Callable[[Any], Any]]) -> None:
    def forward(s: Site) -> Value:
        return s.strided(s.input(0), view(s))

    def backward(s: Site, dy: Value) -> Gradients:
        return [s.scattered(dy, s.input(0), view(s))]

    rule(kind)(Rule(forward, backward))


def _getitem(s: Site) -> Callable[[Any], Any]:
    key = s.get("key")
    whole = key if isinstance(key, tuple) else (key,)
    whole = whole if any(k is Ellipsis for k in whole) else (*whole, ...)
    return lambda a: a[whole]


_view("GetItem", _getitem)
_view("Permute", lambda s: lambda a: a.transpose(s.get("dims")))
_view("Expand", lambda s: lambda a: np.broadcast_to(a, s.call.outputs[0].shape))
_view("Flip", lambda s: lambda a: np.flip(a, s.get("dims")))
rule("Reshape")(
    Rule(
        lambda s: s.input(0).as_shape(s.call.outputs[0].shape),
        lambda s, dy: [dy.as_shape(s.input(0).shape)],
    )
)
rule("Clone")(Rule(lambda s: s.input(0), lambda s, dy: [dy]))


def _places(s: Site) -> list[tuple[int, Callable[[Any], Any]]]:
    """The inputs of a join, each with the view of the result that it becomes."""
    shape = s.call.outputs[0].shape
    axis = s.get("axis") % len(shape)
    places: list[tuple[int, Callable[[Any], Any]]] = []
    start = 0
    for i, x in enumerate(s.inputs):
        assert x is not None
        if len(x.shape) == len(shape):
            key = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
            places.append((i, itemgetter(key)))
            start += x.shape[axis]
    return places


def _concatenate(s: Site) -> Value:
    y = s.r.new(s.call.outputs[0].shape)
    for i, view in _places(s):
        shape, offset, n, steps = s._walk(y, view)
        x = s.input(i)
        dense = tuple(int(np.prod(n[k + 1 :])) for k in range(4))
        s.r.call("copy", y.as_shape(shape, offset), x, tuple(n), tuple(steps), dense, writes=y)
    return y


def _concatenate_backward(s: Site, dy: Value) -> Gradients:
    gradients: list[Value | None] = [None] * len(s.inputs)
    for i, view in _places(s):
        if s.needs[i]:
            gradients[i] = s.strided(dy, view)
    return gradients


rule("Concatenate")(Rule(_concatenate, _concatenate_backward))


def _pad(s: Site) -> Value:
    if s.get("mode") != "constant":
        raise s.refuse(f"padding in mode {s.get('mode')!r} is not supported")
    x, shape = s.input(0), s.call.outputs[0].shape
    y = s.r.made("fill", ..., int(np.prod(shape)), float(s.get("value") or 0.0), shape=shape)
    inner, offset, n, steps = s._walk(y, _inside(s))
    dense = tuple(int(np.prod(n[k + 1 :])) for k in range(4))
    s.r.call("copy", y.as_shape(inner, offset), x, tuple(n), tuple(steps), dense, writes=y)
    return y


def _inside(s: Site) -> Callable[[Any], Any]:
    """The part of a padded array that the operand becomes."""
    sizes, shape = [int(n) for n in s.get("sizes")], s.input(0).shape
    if min(sizes, default=0) < 0:
        raise s.refuse("padding below 0 is not supported")
    before = [0] * len(shape)
    for i in range(len(sizes) // 2):
        before[len(shape) - 1 - i] = sizes[2 * i]
    key = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    return lambda a: a[key]


rule("Pad")(Rule(_pad, lambda s, dy: [s.strided(dy, _inside(s))]))


# --- sums and means


def _sum_axes(s: Site) -> tuple[tuple[int, ...], float]:
    """The axes of a sum, and its factor."""
    shape, axes = s.input(0).shape, s.get("axes")
    if axes is None:
        axes = tuple(range(len(shape)))
    axes = tuple(sorted(a % max(len(shape), 1) for a in (axes if isinstance(axes, tuple) else (axes,))))
    count = int(np.prod([shape[a] for a in axes])) if shape else 1
    return axes if shape else (), 1.0 / count if s.get("mean") else 1.0


def _sum(s: Site) -> Value:
    x, (axes, factor) = s.input(0), _sum_axes(s)
    if axes and axes != tuple(range(axes[0], axes[-1] + 1)):
        order = [a for a in range(len(x.shape)) if a not in axes] + list(axes)
        x = s.strided(x, lambda a: a.transpose(order))
        axes = tuple(range(len(order) - len(axes), len(order)))
    start, end = (axes[0], axes[-1] + 1) if axes else (0, 0)
    sizes = [int(np.prod(part)) for part in (x.shape[:start], x.shape[start:end], x.shape[end:])]
    return s.r.made("sum_axis", x, ..., *sizes, factor, shape=s.call.outputs[0].shape)


def _sum_backward(s: Site, dy: Value) -> Gradients:
    shape, (axes, factor) = s.input(0).shape, _sum_axes(s)
    if dy is None:
        return [None]
    kept = dy.as_shape([1 if a in axes else n for a, n in enumerate(shape)])
    dx = s.expanded(kept, shape)
    if factor == 1.0:
        return [dx]
    return [s.r.made("map_mul_number", dx, ..., dx.size, factor, shape=shape, replaced=[dx])]


rule("Sum")(Rule(_sum, _sum_backward))
assert RULES
