"""quantized_recurrent: a recurrent layer whose product with the state, W_hh h, is one of integers.

nn/quantized/recurrent.py calls it. The kernel is `_core.recurrent` with panels and scales (see
matrix/quantized_weight.py) in place of W_hh; forward saves what Recurrent saves, and these.
"""

from __future__ import annotations

from typing import ClassVar

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.matrix.quantized import quantized_linear
from ranvier.ops.matrix.quantized_weight import QuantizedWeight
from ranvier.ops.neural.recurrent import Others, Recurrent, unrolled
from ranvier.tape.function import Dtypes
from ranvier.tensors.tensor import Tensor


class QuantizedRecurrent(Recurrent):
    """Recurrent for W_hh of 8 or 4 bits, and for x that is W_ih x + b_ih. W_hh gets no gradient; the other
    gradients are those of its values."""

    reads: ClassVar = {}

    def __init__(self, cell: str, sizes: Array | None, reverse: bool, kind: str, n: int, k: int) -> None:
        """kind: the format of the weight, n and k: its shape (QuantizedWeight)."""
        super().__init__(cell, sizes, reverse)
        self.dtypes = Dtypes()  # half floats are computed in float32; autocast changes nothing
        self.settings = kind, n, k

    def forward(  # type: ignore[override]
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        panels: Array,
        scale: Array | None,
        b_hh: Array | None,
    ) -> tuple[Array, ...]:
        keep = True in self.needs
        kind = self.settings[0]
        y, h_n, c_n, gates, candidate, h_before, c_before = _core.recurrent(
            self.cell, x, h0, c0, None, None, None, b_hh, self.sizes, self.reverse, keep, panels, scale, kind
        )
        self.x = x
        self.y = y
        self.panels = panels
        self.scale = scale
        if keep:  # in a function, as in Recurrent
            self.others = lambda: Others(h0, c0, None, b_hh)
        self.kept = gates, candidate, h_before, c_before
        if c_n is None:
            return (y, h_n)
        return (y, h_n, c_n)

    def backward(
        self, dy: Array | None, dh_n: Array | None, dc_n: Array | None = None
    ) -> tuple[Array | None, ...]:
        w_hh = _core.quantized_rows(self.panels, self.scale, None, *self.settings)
        w_ih = None
        needs_b_hh = self.needs[5]
        dx, dh0, dc0, _, _, _, db_hh = _core.recurrent_backward(
            self.cell,
            dy,
            dh_n,
            dc_n,
            self.x,
            self.y,
            *self.kept,
            w_ih,
            w_hh,
            self.sizes,
            self.reverse,
            True,  # x needs a gradient
            False,  # W_ih, which is in x, does not
            False,  # nor does W_hh, whose values are integers
            needs_b_hh,
        )
        return dx, dh0, dc0, None, None, db_hh


def quantized_recurrent(
    cell: str,
    x: Tensor,
    state: tuple[Tensor | None, ...],
    w_hh: QuantizedWeight,
    b_hh: Tensor | None,
    sizes: Array | None = None,
    reverse: bool = False,
) -> tuple[Tensor, ...]:
    """As :func:`ranvier.ops.neural.recurrent.recurrent`, of x = W_ih x + b_ih (steps, N, gates hidden).

    In each step the numbers of a row of h become integers, as in quantized_linear: so a step has the bits of
    its product and of the gates in float32.
    """
    if len(state) == 1:
        state = (*state, None)
    h0, c0 = state
    node = QuantizedRecurrent(cell, sizes, reverse, w_hh.kind, *w_hh.shape)
    return node.apply(x, h0, c0, w_hh.panels, w_hh.scale, b_hh)


def _saved_inputs(node: QuantizedRecurrent) -> list[Array | None]:
    others = node.others()
    return [node.x, others.h0, others.c0, node.panels, node.scale, others.b_hh]


@recomputed(kinds=(QuantizedRecurrent,), saved=_saved_inputs)
def _by_steps(
    node: QuantizedRecurrent,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    panels: Tensor,
    scale: Tensor | None,
    b_hh: Tensor | None,
) -> tuple[Tensor, ...]:
    """QuantizedRecurrent by other ops, step by step."""

    def project_state(h: Tensor) -> Tensor:
        s = quantized_linear(h, panels, scale, None, *node.settings)
        if b_hh is None:
            return s
        return s + b_hh

    _, _, hidden = node.settings  # W_hh (gates hidden, hidden)
    return unrolled(node, x, h0, c0, hidden, project_state)
