"""Rules for norms and recurrent layers; the helpers are in kernels/norm.c and kernels/recurrent.c."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule

Gradients = Sequence[Value | None]


def _batch_norm(s: Site) -> Value:
    x = s.input(0)
    weight = s.inputs[1]
    bias = s.inputs[2]
    running = s.get("running")
    eps = float(s.get("eps"))
    shape = s.channels(1)
    mean, var = (None if r is None else s.value_of(r) for r in running[:2])
    if s.get("training"):
        if running[0] is not None and s.get("momentum") is None:
            raise s.refuse("momentum=None is not supported in a step")
        y, *s.saved = (s.r.new(size) for size in (x.shape, shape[1:2], shape[1:2]))
        made = [y, *s.saved, *(v for v in (mean, var) if v is not None)]
        momentum = float(s.get("momentum") or 0.0)
        args = x, weight, bias, mean, var, y, *s.saved, *shape, momentum, eps
        s.r.call("batch_norm", *args, writes=made)
        return y
    if mean is None or var is None or any(s.needs):
        raise s.refuse("in evaluation mode it needs running statistics, and has no backward pass in C")
    operands = [v for v in (weight, bias, mean, var) if v is not None]
    if any(v.buffer.kind != "constant" for v in operands):
        fixed = x, weight, bias, mean, var, ..., *shape, eps
        return s.r.made("batch_norm_eval", *fixed, shape=x.shape, replaced=[x])
    one = np.ones(shape[1])
    zero = np.zeros(shape[1])
    pairs = (weight, one), (bias, zero), (mean, zero), (var, one)
    w, b, m, v = (default if p is None else _numbers(p) for p, default in pairs)
    scale = w / np.sqrt(v + eps)
    name = mean.buffer.name.removeprefix("w_").removesuffix("running_mean")
    numbers = ((scale, "scale"), (b - m * scale, "shift"))
    line = [s.value_of(np.asarray(a, np.float32), name + what) for a, what in numbers]
    return s.r.made("scale_shift", x, *line, ..., *shape, shape=x.shape, replaced=[x])


def _numbers(p: Value) -> Any:
    assert p.buffer.values is not None
    return p.buffer.values.astype(np.float64).reshape(-1)


def _batch_norm_backward(s: Site, dy: Value) -> Gradients:
    x = s.input(0)
    dx, dw, db = _three(s)
    args = dy, x, s.inputs[1], *s.saved, dx, dw, db, *s.channels(1)
    s.r.call("batch_norm_backward", *args, writes=[v for v in (dx, dw, db) if v is not None])
    return [dx, dw, db]


def _three(s: Site) -> list[Value | None]:
    """New values for the gradient of x, and for those of weight and bias, None if not needed."""
    made: list[Value | None] = [s.r.new(s.input(0).shape)]
    for i in (1, 2):
        there = i < len(s.inputs) and s.inputs[i] is not None and s.needs[i]
        made.append(s.r.new(s.input(i).shape) if there else None)
    return made


rule("BatchNorm")(Rule(_batch_norm, _batch_norm_backward))


def _rows(s: Site) -> tuple[int, int, int, int, int]:
    """The arguments rows, size, inner, count and centre of the helper `normalize`, which norm.c explains."""
    x = s.input(0)
    kind = s.call.kind
    if kind == "GroupNorm":
        rows = x.shape[0] * int(s.get("part"))
        return rows, x.size // rows, math.prod(x.shape[2:]), x.shape[1], 1
    size = math.prod(s.get("part" if kind == "LayerNorm" else "normalized_shape"))
    return x.size // size, size, 1, size, int(kind == "LayerNorm")


def _normalize(s: Site) -> Value:
    x = s.input(0)
    rows = _rows(s)
    eps = s.get("eps")
    if eps is None:
        eps = float(np.finfo(np.float32).eps)
    else:
        eps = float(eps)
    y = s.r.new(x.shape)
    stats = s.r.new((rows[0], 2))
    s.saved = [stats]
    bias = s.inputs[2] if len(s.inputs) > 2 else None
    s.r.call("normalize", x, s.inputs[1], bias, y, stats, *rows, eps, writes=[y, stats], replaced=[x])
    return y


def _normalize_backward(s: Site, dy: Value) -> Gradients:
    dx, dw, db = _three(s)
    args = dy, s.input(0), s.inputs[1], *s.saved, dx, dw, db, *_rows(s)
    s.r.call("normalize_backward", *args, writes=[v for v in (dx, dw, db) if v is not None])
    return [dx, dw, db]


rule("LayerNorm", "GroupNorm", "RMSNorm")(Rule(_normalize, _normalize_backward))


# --- recurrent layers


def _layer(s: Site) -> dict[str, Any]:
    """The `struct recurrent` of kernels/recurrent.c."""
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = s.inputs
    assert x is not None
    assert w_hh is not None
    steps, n, inputs = x.shape
    fields: dict[str, Any] = {"struct": "recurrent", "x": x, "h0": h0, "c0": c0, "w_ih": w_ih, "w_hh": w_hh}
    fields |= {"b_ih": b_ih, "b_hh": b_hh, **dict(zip(("y", "c", "gates", "u"), s.saved, strict=True))}
    fields |= {"steps": steps, "n": n, "in": inputs, "hidden": w_hh.shape[1]}
    return fields | {"reverse": int(s.get("reverse")), "keep": int(any(s.needs))}


def _cell(s: Site) -> tuple[str, list[Any]]:
    """The name of the helper, and its arguments after the structs."""
    cell = s.get("cell")
    return cell.partition("_")[0], [int(cell.endswith("relu"))] if cell.startswith("rnn") else []


def _recurrent(s: Site) -> tuple[Value, ...]:
    if s.get("sizes") is not None:
        raise s.refuse("packed sequences are not supported")
    steps, n, inputs = s.input(0).shape
    hidden = s.input(4).shape[1]
    cell = s.get("cell")
    rows = steps * n if any(s.needs) else 1
    y = s.r.new((steps, n, hidden))
    if cell.startswith("rnn"):
        gates = None
    else:
        gates = s.r.new((rows, 4, hidden))
    sums = s.r.new(s.input(4).shape[:1])
    if cell == "lstm":
        states = s.r.new((steps if any(s.needs) else 1, n, hidden))
    else:
        states = None
    s.saved = [y, states, gates, sums]
    s.r.multiplications += steps * n * s.input(3).shape[0] * (inputs + hidden)
    name, more = _cell(s)
    s.r.call(name, _layer(s), *more, writes=[v for v in s.saved if v is not None])
    last = 0 if s.get("reverse") else steps - 1
    h_n = y.as_shape((n, hidden), last * n * hidden)
    if states is None:
        return y, h_n
    return y, h_n, states.as_shape((n, hidden), last * n * hidden if any(s.needs) else 0)


def _recurrent_backward(s: Site, dy: Any, dh_n: Any, dc_n: Any = None) -> Gradients:
    name, more = _cell(s)
    n = s.input(0).shape[1]
    hidden = s.input(4).shape[1]
    zeros: list[Value | None] = []
    for given in (dh_n, dc_n if name == "lstm" else None):
        if given is None:
            zeros.append(s.r.made("fill", ..., n * hidden, 0.0, shape=(n, hidden)))
        else:
            zeros.append(s.r.made("copy_all", given, ..., n * hidden, shape=(n, hidden)))
    dh = zeros[0]
    dc = zeros[1] if name == "lstm" else None
    gradients: list[Value | None] = [s.r.new(s.input(0).shape) if s.needs[0] else None, dh, dc]
    for i in (3, 4, 5, 6):
        w = s.inputs[i]
        gradients.append(None if w is None else s.r.made("fill", ..., w.size, 0.0, shape=w.shape))
    scratch = s.r.new(((2 if name == "gru" else 1) * s.input(4).shape[0],))
    dx, _, _, dw_ih, dw_hh, db_ih, db_hh = gradients
    operands: dict[str, Any] = {"struct": "recurrent_gradients", "dy": dy, "dh": dh, "dc": dc, "dx": dx}
    operands |= {"dw_ih": dw_ih, "dw_hh": dw_hh, "db_ih": db_ih, "db_hh": db_hh, "d": scratch}
    s.r.multiplications += 2 * s.input(0).shape[0] * n * s.input(3).shape[0] * (s.input(0).shape[2] + hidden)
    made = [v for v in (*gradients, scratch) if v is not None]
    s.r.call(f"{name}_backward", _layer(s), operands, *more, writes=made)
    return [g if need else None for g, need in zip(gradients, s.needs, strict=True)]


rule("Recurrent")(Rule(_recurrent, _recurrent_backward))
