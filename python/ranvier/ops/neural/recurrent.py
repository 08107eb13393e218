"""recurrent: one direction of one recurrent layer, over a whole sequence, as one op.

    LSTM  i, f, o = sigmoid(.), g = tanh(.) of W_ih x + b_ih + W_hh h + b_hh;  c' = f c + i g, h' = o tanh(c')
    GRU   r, z = sigmoid(.) of the same;  n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = n + z (h - n)
    RNN   h' = tanh(.) or relu(.) of the same

The loop over time is in the core (`_core.recurrent`, `_core.recurrent_backward`), so that the cost in Python
does not depend on the number of steps. W_ih x is one product for all steps, and so is the gradient of each
weight. forward saves x, y, the weights, and the gates and states of all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import ranvier._core as _core
from ranvier.ops.activation.piecewise import relu
from ranvier.ops.activation.smooth import sigmoid, tanh
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.layout import zeros
from ranvier.ops.matrix.linear import linear
from ranvier.ops.shape.join import cat, narrow, stack
from ranvier.tape.function import Dtypes, Function
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


class Others(NamedTuple):
    """Inputs that only the second derivative reads."""

    h0: Array | None
    c0: Array | None
    b_ih: Array | None
    b_hh: Array | None


class Recurrent(Function):
    """One direction of a layer, with the arguments of `recurrent`. Its inputs are x, h0, c0, W_ih, W_hh, b_ih
    and b_hh, of which all but x and W_hh may be None."""

    others: Callable[[], Others]

    def __init__(self, cell: str, sizes: Array | None, reverse: bool, alone: bool = False) -> None:
        self.cell = cell
        self.sizes = sizes
        self.reverse = reverse
        # in a block of autocast PyTorch computes all of a layer in half floats, or only its products
        if cell == "gru" or (cell == "lstm" and alone):
            self.dtypes = Dtypes(autocast="products")
        else:
            self.dtypes = Dtypes(autocast="lower")
        self.frees_result = cell != "lstm"  # see Function: which results PyTorch saves

    @property
    def reads(self) -> dict[str, int]:  # type: ignore[override]
        """The saved arrays that only one gradient reads: only dx reads W_ih; with one step only dh0 reads
        W_hh."""
        steps = len(self.x) if self.sizes is None else len(self.sizes)
        if steps > 1:
            return {"w_ih": 0}
        return {"w_ih": 0, "w_hh": 1}

    def through_view(self, place: int) -> bool:
        return self.cell != "lstm" or len(self.x) == 1  # one step: the layer is a cell

    def forward(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
    ) -> tuple[Array, ...]:
        y, h_n, c_n, gates, candidate, h_before, c_before = _core.recurrent(
            self.cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, self.sizes, self.reverse, True in self.needs
        )
        self.x = x
        self.y = y
        self.w_ih = w_ih
        self.w_hh = w_hh
        if True in self.needs:
            # In a function, so that a change of them is no error for backward: only create_graph reads them.
            self.others = lambda: Others(h0, c0, b_ih, b_hh)
        self.kept = gates, candidate, h_before, c_before  # as recurrent_backward takes them
        if c_n is None:
            return (y, h_n)
        return (y, h_n, c_n)

    def backward(
        self, dy: Array | None, dh_n: Array | None, dc_n: Array | None = None
    ) -> tuple[Array | None, ...]:
        # those of h0 and c0 are computed in any case
        needs_x, _, _, needs_w_ih, needs_w_hh, needs_b_ih, needs_b_hh = self.needs
        return _core.recurrent_backward(
            self.cell,
            dy,
            dh_n,
            dc_n,
            self.x,
            self.y,
            *self.kept,
            self.w_ih,
            self.w_hh,
            self.sizes,
            self.reverse,
            needs_x,
            needs_w_ih,
            needs_w_hh,
            needs_b_ih or needs_b_hh,
        )


def recurrent(
    cell: str,
    x: TensorLike,
    state: tuple[TensorLike | None, ...],
    weights: tuple[TensorLike | None, ...],
    sizes: Array | None = None,
    reverse: bool = False,
    alone: bool = False,
) -> tuple[Tensor, ...]:
    """The states h of all steps, and the last state of each sequence: (y, h_n), for LSTM (y, h_n, c_n).

    cell: "lstm", "gru", "rnn_tanh" or "rnn_relu". x: (steps, N, inputs); with sizes, the number of sequences
    that have each step, in decreasing order, x is (sum of sizes, inputs). state: (h0, c0) for LSTM, else
    (h0,), each (N, hidden) or None for zeros. weights: W_ih (gates hidden, inputs), W_hh (gates hidden,
    hidden) and, if there are any, b_ih and b_hh. reverse: from each sequence's last step to its first. alone:
    whether the layer is a cell of one step. All arrays are float32, or all float64. Without W_ih and b_ih, x
    is W_ih x + b_ih (steps, N, gates hidden).

    Raises ValueError for shapes that do not fit, TypeError for dtypes.
    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers et al.
    (2000); Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014); Elman, "Finding
    Structure in Time" (1990).

    >>> import ranvier as rv
    >>> from ranvier.ops.neural.recurrent import recurrent
    >>> one = rv.ones(1, 1)
    >>> y, h_n = recurrent("rnn_relu", rv.ones(3, 1, 1), (None,), (one, one))
    >>> y.flatten(), h_n
    (tensor([1., 2., 3.]), tensor([[3.]]))
    """
    if len(state) == 1:
        state = (*state, None)
    if len(weights) == 2:
        weights = (*weights, None, None)
    h0, c0 = state
    w_ih, w_hh, b_ih, b_hh = weights
    return Recurrent(cell, sizes, reverse, alone).apply(x, h0, c0, w_ih, w_hh, b_ih, b_hh)


# --- the rule of create_graph: all steps are computed again, one after the other, and differentiated

State = tuple[Tensor, Tensor | None]


def _pieces(x: Tensor, count: int) -> list[Tensor]:
    """x (N, gates hidden) in one part (N, hidden) for each gate."""
    size = x.shape[1] // count
    return [narrow(x, 1, i * size, size) for i in range(count)]


def _lstm(a: Tensor, s: Tensor, h: Tensor, c: Tensor | None) -> State:
    assert c is not None
    i, f, g, o = _pieces(a + s, 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _gru(a: Tensor, s: Tensor, h: Tensor, c: Tensor | None) -> State:
    a_r, a_z, a_n = _pieces(a, 3)
    s_r, s_z, s_n = _pieces(s, 3)
    r = sigmoid(a_r + s_r)
    z = sigmoid(a_z + s_z)
    n = tanh(a_n + r * s_n)
    return n + z * (h - n), c


def _rnn_tanh(a: Tensor, s: Tensor, h: Tensor, c: Tensor | None) -> State:
    return tanh(a + s), c


def _rnn_relu(a: Tensor, s: Tensor, h: Tensor, c: Tensor | None) -> State:
    return relu(a + s), c


# Functions (a, s, h, c) -> (next h, next c), with a = W_ih x + b_ih and s = W_hh h + b_hh. Only LSTM has c.
STEPS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor | None], State]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _rnn_tanh,
    "rnn_relu": _rnn_relu,
}


def _saved_inputs(node: Recurrent) -> list[Array | None]:
    others = node.others()
    return [node.x, others.h0, others.c0, node.w_ih, node.w_hh, others.b_ih, others.b_hh]


@recomputed(kinds=(Recurrent,), saved=_saved_inputs)
def _by_steps(
    node: Recurrent,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    w_ih: Tensor | None,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> tuple[Tensor, ...]:
    """Recurrent by other ops, step by step."""

    def project_state(h: Tensor) -> Tensor:
        return linear(h, w_hh, b_hh)

    projected = x
    if w_ih is not None:
        projected = linear(x, w_ih, b_ih)
    return unrolled(node, projected, h0, c0, w_hh.shape[1], project_state)


def unrolled(
    node: Recurrent,
    projected: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    hidden: int,
    project_state: Callable[[Tensor], Tensor],
) -> tuple[Tensor, ...]:
    """The steps of a layer, by differentiable ops: (y, h_n), for LSTM (y, h_n, c_n).

    projected: W_ih x + b_ih of all steps. project_state: the function h -> W_hh h + b_hh. hidden: the width
    of the state.
    """
    step = STEPS[node.cell]
    if node.sizes is None:
        sizes = [projected.shape[1]] * projected.shape[0]
    else:
        sizes = [int(n) for n in node.sizes]
    blank = wrap(zeros((sizes[0], hidden), node.x.dtype))
    h = blank if h0 is None else h0
    c = c0
    if c is None and node.cell == "lstm":
        c = blank
    order = list(range(len(sizes)))
    if node.reverse:
        order.reverse()
    ys: dict[int, Tensor] = {}
    for t in order:
        n = sizes[t]  # the sequences that have this step come first; the states of the others stay
        if node.sizes is None:
            a = projected[t]
        else:
            a = narrow(projected, 0, sum(sizes[:t]), n)
        h_before = narrow(h, 0, 0, n)
        c_before = None
        if c is not None:
            c_before = narrow(c, 0, 0, n)
        ys[t], c_after = step(a, project_state(h_before), h_before, c_before)
        h = cat([ys[t], narrow(h, 0, n, h.shape[0] - n)])
        if c is not None:
            assert c_after is not None
            c = cat([c_after, narrow(c, 0, n, c.shape[0] - n)])
    steps = [ys[t] for t in range(len(sizes))]
    if node.sizes is None:
        y = stack(steps)
    else:
        y = cat(steps)
    if c is None:
        return (y, h)
    return (y, h, c)
