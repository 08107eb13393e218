"""RNN, GRU and LSTM.

The usual settings are computed by the library's kernel, which has its own order of the gates. Others
(peepholes, sequence_lens, other activations, a reset gate before the product) are computed step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.operators.indexing import reverse_sequence
from ranvier.onnx.registry import operator
from ranvier.onnx.values import in_float, ints, shape_of, tensor_of
from ranvier.ops.neural.recurrent import recurrent

_ACTIVATIONS: dict[str, Any] = {
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "relu": ops.relu,
    "softsign": ops.softsign,
    "softplus": ops.softplus,
}
_USUAL = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
_ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""Of ONNX's gates (zrh, iofc) those of the kernel (rzn, ifgo)."""


def _ways(
    name: str, direction: str, activations: Any, alphas: Any, clip: Any
) -> list[tuple[bool, list[str]]]:
    """(whether it is reversed, activations) of each direction."""
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(direction)
    given = [str(a).lower() for a in activations] if activations else None
    if reverse is None or clip is not None or alphas or not {*(given or ())} <= _ACTIVATIONS.keys():
        raise ValueError(
            f"[onnx {name}] got direction {direction!r}, activations {activations}, clip {clip}; expected "
            f"activations of {', '.join(_ACTIVATIONS)} without alpha and beta, and no clip"
        )
    count = len(_USUAL[name])
    given = given or _USUAL[name] * len(reverse)
    if len(given) != count * len(reverse):
        raise ValueError(f"[onnx {name}] got {len(given)} activations; expected {count} for each direction")
    return [(r, given[i * count : (i + 1) * count]) for i, r in enumerate(reverse)]


def _run(
    name: str, inputs: tuple[Any, ...], ways: Any, layout: int, before_reset: int, peepholes: Any = None
) -> Any:
    """All directions: y (steps, directions, N, hidden) and the last states, (N first with layout 1)."""
    x, w, r, b, lengths, *states = inputs
    steps = shape_of(x)[1 if layout else 0]
    sizes = None if lengths is None else np.array(ints(lengths))
    if sizes is not None and (sizes == steps).all():
        sizes = None

    def of_tensors(x: Tensor, w: Tensor, r: Tensor, b: Any, *more: Any) -> Any:
        *states, p = more
        if layout:
            x = ops.transpose(x, 0, 1)
            states = [None if s is None else ops.transpose(s, 0, 1) for s in states]
        results = []
        for d, (reverse, activations) in enumerate(ways):
            hidden = r.shape[-1]
            bias = (None, None) if b is None else (b[d, : b.shape[1] // 2], b[d, b.shape[1] // 2 :])
            first = [None if s is None else s[d] for s in states]
            kernel = _kernel(name, activations, before_reset)
            if kernel and sizes is None and p is None:
                weights = [_ordered(v, name, hidden) for v in (w[d], r[d], *bias)]
                results.append(
                    recurrent(
                        kernel,
                        x,
                        tuple(first),
                        tuple(weights if b is not None else weights[:2]),
                        None,
                        reverse,
                    )
                )
            else:
                cell = _Cell(name, w[d], r[d], bias, None if p is None else p[d], activations, before_reset)
                results.append(_loop(cell, x, first, sizes, reverse))
        y, *last = [ops.stack(part, 1 if i == 0 else 0) for i, part in enumerate(zip(*results, strict=True))]
        if layout:
            y = ops.permute(y, (2, 0, 1, 3))
            last = [ops.transpose(s, 0, 1) for s in last]
        return (y, *last)

    return in_float(of_tensors, x, w, r, b, *states, peepholes)


def _kernel(name: str, activations: list[str], before_reset: int) -> str:
    if name == "RNN" and activations[0] in ("tanh", "relu"):
        return f"rnn_{activations[0]}"
    usual = activations == _USUAL[name] and (name != "GRU" or before_reset)
    return name.lower() if usual and name != "RNN" else ""


def _ordered(v: Any, name: str, hidden: int) -> Any:
    if v is None or name == "RNN":
        return v
    return ops.cat([v[i * hidden : (i + 1) * hidden] for i in _ORDER[name]], 0)


class _Cell:
    """One step of one direction, written as in the specification."""

    def __init__(
        self, name: str, w: Any, r: Any, bias: Any, p: Any, activations: Any, before_reset: int
    ) -> None:
        self.name, self.w, self.r, self.bias, self.p = name, w, r, bias, p
        self.functions = [_ACTIVATIONS[a] for a in activations]
        self.before_reset, self.hidden = before_reset, r.shape[-1]

    def gates(self, v: Any) -> list[Any]:
        return [
            v[..., i * self.hidden : (i + 1) * self.hidden] for i in range(self.r.shape[0] // self.hidden)
        ]

    def step(self, x: Any, h: Any, c: Any) -> tuple[Any, ...]:
        of_x, of_h = ops.linear(x, self.w, self.bias[0]), ops.linear(h, self.r, self.bias[1])
        f = self.functions
        if self.name == "RNN":
            return (f[0](of_x + of_h),)
        if self.name == "GRU":
            (zx, rx, nx), (zh, rh, nh) = self.gates(of_x), self.gates(of_h)
            z, r = f[0](zx + zh), f[0](rx + rh)
            if self.before_reset:
                n = f[1](nx + r * nh)
            else:
                of_n, b_n = self.r[2 * self.hidden :], None
                if self.bias[1] is not None:
                    b_n = self.bias[1][2 * self.hidden :]
                n = f[1](nx + ops.linear(r * h, of_n, b_n))
            return ((1 - z) * n + z * h,)
        i, o, forget, g = (a + b for a, b in zip(self.gates(of_x), self.gates(of_h), strict=True))
        if self.p is not None:
            p_i, p_o, p_f = (self.p[k * self.hidden : (k + 1) * self.hidden] for k in range(3))
            i, forget = i + p_i * c, forget + p_f * c
        c = f[0](forget) * c + f[0](i) * f[1](g)
        o = o if self.p is None else o + p_o * c
        return f[0](o) * f[2](c), c


def _loop(cell: _Cell, x: Any, first: list[Any], sizes: Any, reverse: bool) -> tuple[Any, ...]:
    steps, batch = x.shape[:2]
    zeros = tensor_of(np.zeros((batch, cell.hidden), x.dtype))
    state = [zeros if s is None else s for s in first]
    lengths = np.full(batch, steps) if sizes is None else sizes
    x = reverse_sequence(x, lengths) if reverse else x
    ys = []
    for t in range(steps):
        new = cell.step(x[t], state[0], state[-1])
        if (lengths <= t).any():
            ended = tensor_of(np.broadcast_to((lengths <= t)[:, None], zeros.shape))
            ys.append(ops.where(ended, zeros, new[0]))
            state = [ops.where(ended, old, s) for old, s in zip(state, new, strict=True)]
        else:
            ys.append(new[0])
            state = list(new)
    y = ops.stack(ys, 0)
    return (reverse_sequence(y, lengths) if reverse else y, *state)


@operator("RNN")
def rnn(
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    h0: Any = None,
    *,
    activations: Any = None,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    clip: Any = None,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
) -> Any:
    ways = _ways("RNN", direction, activations, activation_alpha or activation_beta, clip)
    return _run("RNN", (x, w, r, b, lengths, h0), ways, layout, 0)


@operator("GRU")
def gru(
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    h0: Any = None,
    *,
    activations: Any = None,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    clip: Any = None,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
) -> Any:
    ways = _ways("GRU", direction, activations, activation_alpha or activation_beta, clip)
    return _run("GRU", (x, w, r, b, lengths, h0), ways, layout, linear_before_reset)


@operator("LSTM")
def lstm(
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    h0: Any = None,
    c0: Any = None,
    peepholes: Any = None,
    *,
    activations: Any = None,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    clip: Any = None,
    direction: str = "forward",
    hidden_size: int = 0,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
) -> Any:
    if input_forget:
        raise ValueError("[onnx LSTM] got input_forget 1; expected 0")
    ways = _ways("LSTM", direction, activations, activation_alpha or activation_beta, clip)
    return _run("LSTM", (x, w, r, b, lengths, h0, c0), ways, layout, 0, peepholes)
