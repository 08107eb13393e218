"""The rule of recurrent layers: all steps are computed again, one after the other, and differentiated."""

from __future__ import annotations

from typing import Any

from ranvier.autograd.graph import of_input, rule
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.piecewise import relu
from ranvier.ops.activation.smooth import sigmoid, tanh
from ranvier.ops.layout import zeros
from ranvier.ops.matrix.linear import linear
from ranvier.ops.neural.recurrent import Recurrent
from ranvier.ops.rules import differentiated
from ranvier.ops.shape.join import cat, narrow, stack

State = tuple[Tensor, Tensor | None]


def _parts(x: Tensor, count: int) -> list[Tensor]:
    size = x.shape[1] // count
    return [narrow(x, 1, i * size, size) for i in range(count)]


def _lstm(a: Tensor, s: Tensor, h: Tensor, c: Any) -> State:
    i, f, g, o = _parts(a + s, 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _gru(a: Tensor, s: Tensor, h: Tensor, c: Any) -> State:
    (a_r, a_z, a_n), (s_r, s_z, s_n) = _parts(a, 3), _parts(s, 3)
    r, z = sigmoid(a_r + s_r), sigmoid(a_z + s_z)
    n = tanh(a_n + r * s_n)
    return n + z * (h - n), c


# The next state h and c, from the parts of the input and of the state, and the state.
STEPS: dict[str, Any] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": lambda a, s, h, c: (tanh(a + s), c),
    "rnn_relu": lambda a, s, h, c: (relu(a + s), c),
}


def _unrolled(
    node: Any, x: Tensor, h0: Any, c0: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Any, b_hh: Any
) -> tuple[Tensor, ...]:
    step, lstm = STEPS[node.cell], node.cell == "lstm"
    sizes = [x.shape[1]] * x.shape[0] if node.sizes is None else [int(n) for n in node.sizes]
    blank = wrap(zeros((sizes[0], w_hh.shape[1]), node.x.dtype))
    h, c = blank if h0 is None else h0, (blank if c0 is None else c0) if lstm else None
    of_x, starts = linear(x, w_ih, b_ih), [sum(sizes[:t]) for t in range(len(sizes))]
    ys: dict[int, Tensor] = {}
    for t in reversed(range(len(sizes))) if node.reverse else range(len(sizes)):
        n = sizes[t]  # the sequences that have this step come first
        a = of_x[t] if node.sizes is None else narrow(of_x, 0, starts[t], n)
        before, c_before = narrow(h, 0, 0, n), None if c is None else narrow(c, 0, 0, n)
        ys[t], c_new = step(a, linear(before, w_hh, b_hh), before, c_before)
        h = cat([ys[t], narrow(h, 0, n, h.shape[0] - n)])
        c = None if c is None else cat([c_new, narrow(c, 0, n, c.shape[0] - n)])
    steps = [ys[t] for t in range(len(sizes))]
    y = stack(steps) if node.sizes is None else cat(steps)
    return (y, h) if c is None else (y, h, c)


@rule(Recurrent)
def _recurrent(node: Any, *dys: Tensor | None) -> tuple[Tensor | None, ...]:
    h0, c0, b_ih, b_hh = node.others()
    arrays = (node.x, h0, c0, node.w_ih, node.w_hh, b_ih, b_hh)
    xs: list[Any] = [None if array is None else of_input(node, i, array) for i, array in enumerate(arrays)]
    return differentiated(node, xs, lambda *xs: _unrolled(node, *xs), *dys)
