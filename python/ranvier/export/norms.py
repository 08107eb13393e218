"""Rules for norms and recurrent layers; the helpers are in kernels/norm.c and kernels/recurrent.c.

A rule turns a call (`operations.Site`) into instructions. A layer norm of x (2, 4) becomes

    normalize(x, w_0_weight, w_0_bias, ram + 0, ram + 8, 2, 4, 1, 4, 1, 9.99999975e-06f);

and a recurrent layer one call, whose operands are the fields of a struct:

    lstm(&(const struct recurrent){.x = x, .w_ih = w_weight_ih_l0, ..., .hidden = 8, .reverse = 0});

In `made(helper, arguments ...)` the argument `...` is the place of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule

Gradients = Sequence[Value | None]
"""The gradients of the inputs of a call, in their order; None where none is needed."""


def _present(*values: Value | None) -> list[Value]:
    return [value for value in values if value is not None]


def _batch_norm(s: Site) -> Value:
    x = s.input(0)
    weight = s.inputs[1]
    bias = s.inputs[2]
    running_mean, running_var = s.get("running")[:2]  # arrays, or None without running statistics
    mean = None if running_mean is None else s.value_of(running_mean)
    var = None if running_var is None else s.value_of(running_var)
    eps = float(s.get("eps"))
    outer, channels, inner = s.channels(1)
    if s.get("training"):
        if running_mean is not None and s.get("momentum") is None:
            raise s.refuse("momentum=None is not supported in a step")
        y = s.routine.new(x.shape)
        batch_mean = s.routine.new((channels,))
        batch_rstd = s.routine.new((channels,))
        s.saved = [batch_mean, batch_rstd]
        momentum = float(s.get("momentum") or 0.0)
        args = x, weight, bias, mean, var, y, batch_mean, batch_rstd, outer, channels, inner, momentum, eps
        s.routine.call("batch_norm", *args, writes=_present(y, batch_mean, batch_rstd, mean, var))
        return y
    if mean is None or var is None or any(s.needs):
        raise s.refuse("in evaluation mode it needs running statistics, and has no backward pass in C")
    # where a step in the file changes one of these, the factors are computed at each call
    if any(value.buffer.kind != "constant" for value in _present(weight, bias, mean, var)):
        args_of_eval = x, weight, bias, mean, var, ..., outer, channels, inner, eps
        return s.routine.made("batch_norm_eval", *args_of_eval, shape=x.shape, replaced=[x])
    # All numbers are known: y = scale x + shift for each channel.
    scale = _numbers(weight, np.ones(channels)) / np.sqrt(_numbers(var, np.ones(channels)) + eps)
    shift = _numbers(bias, np.zeros(channels)) - _numbers(mean, np.zeros(channels)) * scale
    name = mean.buffer.name.removeprefix("w_").removesuffix("running_mean")
    scales = s.value_of(scale.astype(np.float32), f"{name}scale")
    shifts = s.value_of(shift.astype(np.float32), f"{name}shift")
    sizes = outer, channels, inner
    return s.routine.made("scale_shift", x, scales, shifts, ..., *sizes, shape=x.shape, replaced=[x])


def _numbers(constant: Value | None, default: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The values of a constant in float64; `default` for None."""
    if constant is None:
        return default
    assert constant.buffer.values is not None
    return constant.buffer.values.astype(np.float64).reshape(-1)


def _batch_norm_backward(s: Site, dy: Value) -> Gradients:
    batch_mean, batch_rstd = s.saved
    dx, dw, db = _new_gradients(s)
    args = dy, s.input(0), s.inputs[1], batch_mean, batch_rstd, dx, dw, db, *s.channels(1)
    s.routine.call("batch_norm_backward", *args, writes=_present(dx, dw, db))
    return [dx, dw, db]


def _new_gradients(s: Site) -> list[Value | None]:
    """New values for the gradients of x, weight and bias.

    The helpers always write that of x; the others are None if not needed.
    """
    gradients: list[Value | None] = [s.routine.new(s.input(0).shape), None, None]
    for i in (1, 2):
        is_needed = i < len(s.inputs) and s.inputs[i] is not None and s.needs[i]
        if is_needed:
            gradients[i] = s.routine.new(s.input(i).shape)
    return gradients


rule("BatchNorm")(Rule(_batch_norm, _batch_norm_backward))


class _Rows(NamedTuple):
    """What the helper `normalize` (norm.c) normalises: `rows` rows of `size` numbers.

    A weight belongs to `inner` numbers in succession; `weights` is their number. centre: 1 if the mean is
    subtracted, which RMSNorm does not.
    """

    rows: int
    size: int
    inner: int
    weights: int
    centre: int


def _rows(s: Site) -> _Rows:
    x = s.input(0)
    kind = s.call.kind
    if kind == "GroupNorm":  # x (n, channels, ...): a row for each group of channels
        groups = int(s.get("part"))
        rows = x.shape[0] * groups
        size_of_channel = math.prod(x.shape[2:])
        return _Rows(rows, x.size // rows, inner=size_of_channel, weights=x.shape[1], centre=1)
    is_layer_norm = kind == "LayerNorm"
    normalized_shape = s.get("part") if is_layer_norm else s.get("normalized_shape")
    size = math.prod(normalized_shape)
    return _Rows(x.size // size, size, inner=1, weights=size, centre=int(is_layer_norm))


def _normalize(s: Site) -> Value:
    x = s.input(0)
    rows = _rows(s)
    eps = s.get("eps")
    eps = float(np.finfo(np.float32).eps) if eps is None else float(eps)
    y = s.routine.new(x.shape)
    stats = s.routine.new((rows.rows, 2))  # mean and 1 / deviation of each row, for the backward pass
    s.saved = [stats]
    bias = s.inputs[2] if len(s.inputs) > 2 else None
    args = x, s.inputs[1], bias, y, stats, *rows, eps
    s.routine.call("normalize", *args, writes=[y, stats], replaced=[x])
    return y


def _normalize_backward(s: Site, dy: Value) -> Gradients:
    (stats,) = s.saved
    dx, dw, db = _new_gradients(s)
    args = dy, s.input(0), s.inputs[1], stats, dx, dw, db, *_rows(s)
    s.routine.call("normalize_backward", *args, writes=_present(dx, dw, db))
    return [dx, dw, db]


rule("LayerNorm", "GroupNorm", "RMSNorm")(Rule(_normalize, _normalize_backward))


# --- recurrent layers


class _Sizes(NamedTuple):
    """x has the shape (steps, n, inputs); a gate has `hidden` units, all gates together `gates`."""

    steps: int
    n: int
    inputs: int
    hidden: int
    gates: int


def _sizes(s: Site) -> _Sizes:
    steps, n, inputs = s.input(0).shape
    gates, hidden = s.input(4).shape  # w_hh
    return _Sizes(steps, n, inputs, hidden, gates)


def _layer(s: Site) -> dict[str, Any]:
    """The `struct recurrent` of kernels/recurrent.c."""
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = s.inputs
    y, states, gates, sums = s.saved
    sizes = _sizes(s)
    return {
        "struct": "recurrent",
        "x": x,
        "h0": h0,
        "c0": c0,
        "w_ih": w_ih,
        "w_hh": w_hh,
        "b_ih": b_ih,
        "b_hh": b_hh,
        "y": y,
        "c": states,
        "gates": gates,
        "u": sums,
        "steps": sizes.steps,
        "n": sizes.n,
        "in": sizes.inputs,
        "hidden": sizes.hidden,
        "reverse": int(s.get("reverse")),
        "keep": int(any(s.needs)),
    }


def _cell(s: Site) -> tuple[str, list[int]]:
    """The name of the helper (rnn, lstm or gru), and its arguments after the structs."""
    cell = s.get("cell")  # "rnn_tanh", "rnn_relu", "lstm" or "gru"
    if cell.startswith("rnn"):
        applies_relu = int(cell.endswith("relu"))
        return "rnn", [applies_relu]
    return cell, []


def _recurrent(s: Site) -> tuple[Value, ...]:
    if s.get("sizes") is not None:
        raise s.refuse("packed sequences are not supported")
    steps, n, inputs, hidden, gate_rows = _sizes(s)
    name, more = _cell(s)
    keeps = any(s.needs)  # gates and cell states of all steps are kept for the backward pass
    y = s.routine.new((steps, n, hidden))
    gates = None
    if name != "rnn":
        kept_rows = steps * n if keeps else 1
        gates = s.routine.new((kept_rows, 4, hidden))
    sums = s.routine.new((gate_rows,))
    states = None
    if name == "lstm":
        kept_steps = steps if keeps else 1
        states = s.routine.new((kept_steps, n, hidden))
    s.saved = [y, states, gates, sums]
    s.routine.multiplications += steps * n * gate_rows * (inputs + hidden)
    s.routine.call(name, _layer(s), *more, writes=_present(*s.saved))
    last_step = 0 if s.get("reverse") else steps - 1
    offset = last_step * n * hidden
    h_n = y.as_shape((n, hidden), offset)
    if states is None:
        return y, h_n
    offset_of_states = offset if keeps else 0
    return y, h_n, states.as_shape((n, hidden), offset_of_states)


def _recurrent_backward(
    s: Site, dy: Value | None, dh_n: Value | None, dc_n: Value | None = None
) -> Gradients:
    """dy, dh_n, dc_n: the gradients of the results of `_recurrent`, None for those that nothing uses."""
    steps, n, inputs, hidden, gate_rows = _sizes(s)
    name, more = _cell(s)
    dh = _first_gradient(s, dh_n, (n, hidden))
    dc = None
    if name == "lstm":
        dc = _first_gradient(s, dc_n, (n, hidden))
    dx = s.routine.new(s.input(0).shape) if s.needs[0] else None
    gradients: list[Value | None] = [dx, dh, dc]
    for weight in s.inputs[3:7]:  # w_ih, w_hh, b_ih, b_hh: the helper adds to their gradients
        gradient = None
        if weight is not None:
            gradient = s.routine.made("fill", ..., weight.size, 0.0, shape=weight.shape)
        gradients.append(gradient)
    _, _, _, dw_ih, dw_hh, db_ih, db_hh = gradients
    scratch_size = 2 * gate_rows if name == "gru" else gate_rows
    scratch = s.routine.new((scratch_size,))
    operands = {
        "struct": "recurrent_gradients",
        "dy": dy,
        "dh": dh,
        "dc": dc,
        "dx": dx,
        "dw_ih": dw_ih,
        "dw_hh": dw_hh,
        "db_ih": db_ih,
        "db_hh": db_hh,
        "d": scratch,
    }
    s.routine.multiplications += 2 * steps * n * gate_rows * (inputs + hidden)
    s.routine.call(f"{name}_backward", _layer(s), operands, *more, writes=_present(*gradients, scratch))
    for i, is_needed in enumerate(s.needs):
        if not is_needed:
            gradients[i] = None
    return gradients


def _first_gradient(s: Site, gradient: Value | None, shape: tuple[int, int]) -> Value:
    """New memory with the gradient of the last state, 0 for None; the helper goes on from there in place."""
    size = math.prod(shape)
    if gradient is None:
        return s.routine.made("fill", ..., size, 0.0, shape=shape)
    return s.routine.made("copy_all", gradient, ..., size, shape=shape)


rule("Recurrent")(Rule(_recurrent, _recurrent_backward))
