"""One step of a recurrent layer: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

from typing import Any

from ranvier.nn.module import Parameter
from ranvier.nn.recurrent import GATES, Recurrent, States, StatesLike, unsqueezed
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty
from ranvier.ops.neural.recurrent import recurrent
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, TensorLike

__all__ = LAYERS["recurrent_cell"]


class RNNCellBase(Recurrent):
    """The base class of the cells: the parameters, and `_step`, which computes one step. The cells of
    nn/quantized/recurrent.py override `_add_weights` and `_run_step`.

    num_chunks: the number of gates, by which PyTorch's base class says which cell it is.
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None
    _mode: str  # a key of GATES
    _shown = ("*input_size", "*hidden_size", "bias?")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, dtype: DtypeLike | None = None
    ) -> None:
        self._set_sizes(type(self).__name__.lower(), input_size, hidden_size)
        if not hasattr(self, "_mode"):  # the class of a program, derived from this one
            self._mode = {4: "LSTM", 3: "GRU"}.get(num_chunks, "RNN_TANH")
        self.bias = bias
        self._add_weights(GATES[self._mode] * self.hidden_size, dtype)
        self.reset_parameters()

    def _add_weights(self, rows: int, dtype: DtypeLike | None) -> None:
        """Makes the parameters, without values; rows: of the weights, hidden_size for each gate."""
        self.weight_ih = Parameter(empty(rows, self.input_size, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, self.hidden_size, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            bias = Parameter(empty(rows, dtype=dtype)) if self.bias else None
            self.register_parameter(name, bias)

    def _step(self, input: TensorLike, hx: StatesLike | None) -> list[Tensor]:
        """The states after one step: [h], or for an LSTM [h, c]. hx: those before, None for zeros."""
        x = as_tensor(self._name, input)
        states: States = self._states(hx, self._mode)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise misfit(self._name, {"x": x.shape}, f"(N, {self.input_size}) or ({self.input_size},)")
        expected = (*x.shape[:-1], self.hidden_size)
        for name, state in zip(("h", "c"), states, strict=False):
            if state is not None and state.shape != expected:
                raise misfit(self._name, {name: state.shape}, expected)
        without_batch = x.ndim == 1
        if without_batch:  # It is computed as a batch of 1.
            x = x.unsqueeze(0)
            states = [unsqueezed(state, 0) for state in states]
        _, *last = self._run_step(x.unsqueeze(0), tuple(states))
        if without_batch:
            return [state.squeeze(0) for state in last]
        return last

    def _run_step(self, x: Tensor, state: tuple[Any, ...]) -> Any:
        """A sequence x (1, N, input_size) of one step, as :func:`recurrent`."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        # alone: a cell, of which autocast changes other products than of a layer (ops/neural/recurrent.py).
        return recurrent(self._mode.lower(), x, state, weights, alone=True)


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: the next h, of x (N, input_size) and h (N, hidden_size), zeros if not given.

    Without a batch (input_size,) and (hidden_size,). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.nn.RNNCell(4, 8, nonlinearity="relu")(rv.rand(3, 4)).shape
    (3, 8)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: DtypeLike | None = None,
    ) -> None:
        one_of("rnncell", "nonlinearity", nonlinearity, ("tanh", "relu"))
        self._mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(input_size, hidden_size, bias, num_chunks=1, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: TensorLike, hx: TensorLike | None = None) -> Tensor:
        return self._step(input, hx)[0]

    def extra_repr(self) -> str:
        text = super().extra_repr()
        if self.nonlinearity == "tanh":
            return text
        return f"{text}, nonlinearity=relu"


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: the next (h, c), of x (N, input_size) and (h, c), zeros if not given.

    Without a batch (input_size,) and (hidden_size,). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> cell = rv.nn.LSTMCell(4, 8)
    >>> h, c = cell(rv.rand(3, 4))
    >>> h, c = cell(rv.rand(3, 4), (h, c))
    >>> h.shape, c.shape
    ((3, 8), (3, 8))
    """

    _mode = "LSTM"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: DtypeLike | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=4, dtype=dtype)

    def forward(
        self, input: TensorLike, hx: tuple[TensorLike, TensorLike] | None = None
    ) -> tuple[Tensor, Tensor]:
        h, c = self._step(input, hx)
        return h, c


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`: the next h, of x (N, input_size) and h (N, hidden_size), zeros if not given.

    Without a batch (input_size,) and (hidden_size,). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.nn.GRUCell(4, 8)(rv.rand(4)).shape
    (8,)
    """

    _mode = "GRU"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: DtypeLike | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=3, dtype=dtype)

    def forward(self, input: TensorLike, hx: TensorLike | None = None) -> Tensor:
        return self._step(input, hx)[0]
