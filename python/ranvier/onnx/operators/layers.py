"""Computes normalisation, dropout, and recurrent layers.

RNN, GRU and LSTM with usual settings are computed by the library's kernel, which has another order of the
gates than ONNX. Other settings (peepholes, sequence_lens, other activations, a reset gate before the product)
are computed step by step (`_Cell`, `_loop`).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.operators.indexing import reverse_sequence
from ranvier.onnx.registry import operator
from ranvier.onnx.values import Value, array_of, in_float, ints, on_tensors, raw, shape_of, tensor_of
from ranvier.ops.making.random import rand
from ranvier.ops.neural.recurrent import recurrent


@operator("BatchNormalization")
@on_tensors
def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    is_test: int = 1,
    spatial: int = 1,
    training: bool = False,
    outputs: int = 1,
    owned: bool = False,
) -> Any:
    """owned: the statistics are buffers, which are used and updated as in :class:`ranvier.nn.BatchNorm2d`.

    Otherwise, with training_mode, the statistics of the batch are used; the second and third result are the
    updated running statistics.
    """
    if not spatial:
        raise ValueError("[onnx BatchNormalization] got spatial 0; expected 1")
    if owned or not training_mode:
        y = ops.batch_norm(x, mean, var, scale, bias, training and owned, 1 - momentum, epsilon)
        if not owned:
            return (y,)
        return (y, mean, var, mean, var)[:outputs]  # up to version 13 the batch's statistics are results, too
    axes = (0, *range(2, x.ndim))
    means = ops.mean(x, axes, True)
    variances = ops.var(x, axes, correction=0)
    away = x - means
    rest = ops.mean(away, axes)  # the rounding error of the mean, which is subtracted too
    y = ops.batch_norm(away, rest, variances, scale, bias, False, 0.1, epsilon)  # 0.1: not used here
    new_mean = mean * momentum + means.flatten() * (1 - momentum)
    new_var = var * momentum + variances * (1 - momentum)
    return (y, new_mean, new_var)[:outputs]


@operator("LayerNormalization")
@on_tensors
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Any:
    """Normalises over all axes from `axis` on.

    Further outputs: the mean, and 1 / sqrt(variance + epsilon).
    """
    inner = x.shape[axis % x.ndim :]
    if scale.shape == inner and (bias is None or bias.shape == inner):
        y = ops.layer_norm(x, inner, scale, bias, epsilon)
    else:
        y = ops.layer_norm(x, inner, None, None, epsilon) * scale
        if bias is not None:
            y = y + bias
    if outputs == 1:
        return y
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = ops.mean(x, axes, True)
    variance = ops.var(x, axes, correction=0, keepdim=True)
    return (y, mean, 1 / ops.sqrt(variance + epsilon))[:outputs]


@operator("RMSNormalization")
@on_tensors
def rms_norm(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    inner = x.shape[axis % x.ndim :]
    if scale.shape == inner:
        return ops.rms_norm(x, inner, scale, epsilon)
    return ops.rms_norm(x, inner, None, epsilon) * scale


@operator("LRN")
@on_tensors
def local_response_norm(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Any:
    """x / (bias + alpha / size * the sum of squares of `size` channels around)^beta"""
    channels = x.shape[1]
    before = min((size - 1) // 2, channels)  # a window that reaches beyond the channels has zeros there
    after = min(size - 1 - (size - 1) // 2, channels)
    squares = ops.pad(x * x, (*(0, 0) * (x.ndim - 2), before, after))
    total = sum(ops.narrow(squares, 1, i, channels) for i in range(before + 1 + after))
    return x / ops.pow(total * (alpha / size) + bias, beta)


@operator("Dropout")
def dropout(
    x: Value,
    ratio: Value | None = None,
    training_mode: Value | None = None,
    *,
    seed: int | None = None,
    is_test: int = 0,
    training: bool = False,
    outputs: int = 1,
) -> Any:
    """Dropout, which is active in training mode, or where training_mode is an input of the graph and true.

    A constant training_mode is not used: it says in which mode the model was exported. Outside training mode
    a seed gives the same random numbers as ONNX's reference implementation. Otherwise they are the library's.
    """
    p = 0.5
    if ratio is not None:
        p = float(array_of(ratio).reshape(()))
    asked = isinstance(training_mode, Tensor) and bool(array_of(training_mode).reshape(()))
    if not (training or asked) or p == 0:
        if outputs == 1:
            return x
        return (x, np.ones(shape_of(x), np.bool_))
    if training:
        seed = None
    if seed is None and outputs == 1:
        return in_float(partial(ops.dropout, p=p, training=True), x)
    rng = np.random.RandomState(seed)
    if seed is None:
        kept = rand(shape_of(x)) >= p
    else:
        kept = tensor_of(rng.uniform(0, 1, shape_of(x)) >= p)

    def scaled(x: Tensor) -> Tensor:
        return ops.where(kept, x / (1 - p), 0.0)

    return (in_float(scaled, x), kept)[:outputs]


@operator("GroupNormalization", since=18)
@on_tensors
def group_norm(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Up to operator set 20, scale and bias hold a number for each group, later for each channel."""
    each = x.shape[1] // scale.shape[0]
    if each > 1:
        scale = scale.unsqueeze(1).expand(-1, each).flatten()
        bias = bias.unsqueeze(1).expand(-1, each).flatten()
    return ops.group_norm(x, num_groups, scale, bias, epsilon)


@operator("InstanceNormalization")
@on_tensors
def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Any:
    if math.prod(raw(x).shape[2:]) == 1:  # which the layer refuses, as its statistics need more
        return ops.group_norm(x, raw(x).shape[1], scale, bias, epsilon)
    return ops.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


# --- RNN, GRU and LSTM
_ACTIVATIONS: dict[str, tuple[Any, tuple[float, ...]]] = {  # the function, and defaults of its alpha and beta
    "sigmoid": (ops.sigmoid, ()),
    "tanh": (ops.tanh, ()),
    "relu": (ops.relu, ()),
    "softsign": (ops.softsign, ()),
    "softplus": (ops.softplus, ()),
    "elu": (ops.elu, (1.0,)),
    "leakyrelu": (ops.leaky_relu, (0.01,)),
    "thresholdedrelu": (lambda x, alpha: ops.where(x > alpha, x, 0.0), (1.0,)),
    "hardsigmoid": (lambda x, alpha, beta: ops.clamp(alpha * x + beta, 0.0, 1.0), (0.2, 0.5)),
}
# the activations of the layers' definitions, for which there are kernels
_USUAL = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
_ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""For each gate in the kernel's order (GRU rzn, LSTM ifgo) its place in ONNX's order (zrh, iofc)."""


_SETTINGS = (  # the attributes of the three operators
    *("activations", "activation_alpha", "activation_beta", "clip", "direction"),  # `_ways` takes these
    *("layout", "linear_before_reset", "input_forget", "hidden_size", "output_sequence"),
)


def _ways(
    name: str,
    *,
    activations: Any = None,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    clip: Any = None,
    direction: str = "forward",
) -> list[tuple[bool, list[str], list[Any]]]:
    """For each direction: True if it is reversed, the names of the activations, and their functions."""
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(direction)
    names = [str(a).lower() for a in activations or ()]
    if reverse is None or not {*names} <= _ACTIVATIONS.keys():
        raise ValueError(
            f"[onnx {name}] got direction {direction!r}, activations {activations}; expected forward, "
            f"reverse or bidirectional, and activations of {', '.join(_ACTIVATIONS)}"
        )
    count = len(_USUAL[name])
    names = names or _USUAL[name] * len(reverse)
    if len(names) != count * len(reverse):
        raise ValueError(f"[onnx {name}] got {len(names)} activations; expected {count} for each direction")
    # activation_alpha and _beta list values only for the functions that have one; each takes the next
    given = [iter(activation_alpha or ()), iter(activation_beta or ())]

    def function(at: int) -> Any:
        f, defaults = _ACTIVATIONS[names[at]]
        scales = [next(values, default) for values, default in zip(given, defaults, strict=False)]
        # as in onnxruntime, the input of an LSTM's third activation is not clipped
        clips = clip and at % count < 2

        def activation(x: Tensor) -> Tensor:
            if clips:
                x = ops.clamp(x, -clip, clip)
            return f(x, *scales)

        return activation

    functions = [function(at) for at in range(len(names))]
    parts = [slice(count), slice(count, None)]
    return [(r, names[part], functions[part]) for r, part in zip(reverse, parts, strict=False)]


def _run(name: str, *values: Any, **settings: Any) -> Any:
    """The operator `name`; values: x, w, r, b, sequence_lens, h0, and for an LSTM c0 and the peepholes.

    x: (steps, N, features). w, r: (directions, gates * hidden, features or hidden), the matrices for x and
    for the state. b and what follows may be None or missing.
    """
    x, w, r, b, lengths, *states_and_peepholes = (*values, *(None,) * 5)[:8]
    sizes = None
    if lengths is not None:
        sizes = np.array(ints(lengths))
    return in_float(partial(_directions, name, sizes, **settings), x, w, r, b, *states_and_peepholes)


def _directions(
    name: str,
    sizes: Any,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Any,
    h0: Value,
    c0: Value,
    peepholes: Value,
    *,
    layout: int = 0,
    linear_before_reset: int = 0,
    input_forget: int = 0,
    hidden_size: int = 0,
    output_sequence: int = 0,
    **settings: Any,
) -> Any:
    """y (steps, directions, N, hidden) and the last states (directions, N, hidden).

    layout 1: N is the first axis of x, of y and of all states. sizes: sequence_lens as an array, or None.
    """
    states: list[Any] = [h0]
    if name == "LSTM":
        states.append(c0)
    if layout:
        x = ops.transpose(x, 0, 1)
        for i, state in enumerate(states):
            if state is not None:
                states[i] = ops.transpose(state, 0, 1)
    steps, batch = x.shape[:2]
    if sizes is not None and (sizes.shape != (batch,) or ((sizes < 0) | (sizes > steps)).any()):
        raise ValueError(
            f"[onnx {name}] got sequence_lens {sizes.tolist()}; expected for each of {batch} sequences a "
            f"number of 0 to {steps} steps"
        )
    ways = _ways(name, **settings)
    size = (len(ways), batch, r.shape[-1])
    for s in states:
        if s is not None and s.shape != size:
            raise ValueError(f"[onnx {name}] got a first state of shape {tuple(s.shape)}; expected {size}")
    # usual: without what no kernel has; `_kernel` then looks at the activations of each direction
    usual = peepholes is None and not input_forget and not settings.get("clip")
    usual = usual and (sizes is None or bool((sizes == steps).all()))
    results = []
    for d, (reverse, activations, functions) in enumerate(ways):
        if b is None:
            both_biases = tensor_of(np.zeros(2 * w.shape[1], x.dtype))
        else:
            both_biases = b[d]
        bias = ops.chunk(both_biases, 2)  # for x and for the state
        first: list[Any] = [None] * len(states)  # the first states of this direction
        for i, s in enumerate(states):
            if s is not None:
                first[i] = s[d]
        if usual:
            kernel = _kernel(name, activations, linear_before_reset)
        else:
            kernel = ""
        if kernel:
            weights = tuple(_ordered(v, name, r.shape[-1]) for v in (w[d], r[d], *bias))
            results.append(recurrent(kernel, x, tuple(first), weights, None, reverse))
        else:
            peephole = None
            if peepholes is not None:
                peephole = peepholes[d]
            cell = _Cell(name, w[d], r[d], bias, peephole, functions, linear_before_reset, input_forget)
            results.append(_loop(cell, x, first, sizes, reverse))
    outputs, *last_states = zip(*results, strict=True)
    y = ops.stack(outputs, 1)
    last = [ops.stack(states_of_ways, 0) for states_of_ways in last_states]
    if layout:
        y = ops.permute(y, (2, 0, 1, 3))
        last = [ops.transpose(s, 0, 1) for s in last]
    return (y, *last)


def _kernel(name: str, activations: list[str], before_reset: int) -> str:
    """The name of the library's kernel for these activations; "" where it has none."""
    if name == "RNN":
        if activations[0] in ("tanh", "relu"):
            return f"rnn_{activations[0]}"
        return ""
    usual = activations == _USUAL[name] and (name == "LSTM" or before_reset)
    if usual:
        return name.lower()
    return ""


def _ordered(v: Any, name: str, hidden: int) -> Any:
    """A matrix or bias whose rows are those of ONNX's gates, in the kernel's order of gates."""
    if name == "RNN":
        return v
    return ops.cat([v[i * hidden : (i + 1) * hidden] for i in _ORDER[name]], 0)


class _Cell(NamedTuple):
    """One step of one direction, written as in ONNX's specification.

    w, r: the matrices for x and for the state.
    bias: the biases of both.
    p: the peepholes or None.
    functions: the activations.
    before_reset: linear_before_reset.
    coupled: input_forget, the forget gate is 1 - the input gate.
    """

    name: str
    w: Any
    r: Any
    bias: Any
    p: Any
    functions: list[Any]
    before_reset: int
    coupled: int

    @property
    def hidden(self) -> int:
        return int(self.r.shape[-1])

    def gates(self, v: Any) -> Any:
        """The parts of the last axis, one for each gate."""
        return ops.split(v, self.hidden, -1)

    def step(self, x: Value, h: Any, c: Any) -> tuple[Any, ...]:
        """The new h, and for an LSTM the new c; c is ignored by other cells."""
        of_x = ops.linear(x, self.w, self.bias[0])
        of_h = ops.linear(h, self.r, self.bias[1])
        f = self.functions
        if self.name == "RNN":
            return (f[0](of_x + of_h),)
        if self.name == "GRU":
            zx, rx, nx = self.gates(of_x)
            zh, rh, nh = self.gates(of_h)
            z = f[0](zx + zh)
            r = f[0](rx + rh)
            if self.before_reset:
                n = f[1](nx + r * nh)
            else:
                last = slice(2 * self.hidden, None)
                n = f[1](nx + ops.linear(r * h, self.r[last], self.bias[1][last]))
            return ((1 - z) * n + z * h,)
        i, o, forget, g = (a + b for a, b in zip(self.gates(of_x), self.gates(of_h), strict=True))
        if self.p is not None:
            p_i, p_o, p_f = self.gates(self.p)
            i = i + p_i * c
            forget = forget + p_f * c
        i = f[0](i)
        if self.coupled:
            keep = 1 - i
        else:
            keep = f[0](forget)
        c = keep * c + i * f[1](g)
        if self.p is not None:
            o = o + p_o * c
        return f[0](o) * f[2](c), c


def _loop(cell: _Cell, x: Value, first: list[Any], sizes: Any, reverse: bool) -> tuple[Any, ...]:
    """All steps of one direction: y (steps, N, hidden) and the last states.

    first: the first states, None for zeros. Sequence n has sizes[n] steps; after them y is 0 and states stay.
    """
    steps, batch = x.shape[:2]
    zeros = tensor_of(np.zeros((batch, cell.hidden), x.dtype))
    state = list(first)
    for i, s in enumerate(first):
        if s is None:
            state[i] = zeros
    lengths = sizes
    if sizes is None:
        lengths = np.full(batch, steps)
    if reverse:
        x = reverse_sequence(x, lengths)
    ys = []
    for t in range(steps):
        new = cell.step(x[t], state[0], state[-1])
        ys.append(new[0])
        if (lengths <= t).any():
            runs = tensor_of((t < lengths)[:, None])
            ys[t] = ops.where(runs, new[0], 0.0)
            new = tuple(ops.where(runs, s, old) for old, s in zip(state, new, strict=True))
        state = list(new)
    y = ops.stack(ys, 0)
    if reverse:
        y = reverse_sequence(y, lengths)
    return (y, *state)


for _name in _USUAL:
    operator(_name, more=_SETTINGS)(partial(_run, _name))
