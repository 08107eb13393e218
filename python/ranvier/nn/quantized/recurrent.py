"""LSTM, GRU, RNN and their cells with weights of 8 or 4 bits, which are not trained.

The weights are :class:`Linear` layers inside, with the endings of nn.LSTM's parameters: ``ih_l0`` of the
input, ``hh_l0`` of the state, with proj_size ``hr_l0``; those of a cell are ``ih`` and ``hh``.
"""

from __future__ import annotations

from typing import Any

import ranvier.nn.recurrent as recurrent
import ranvier.nn.recurrent_cell as recurrent_cell
from ranvier.nn.arguments import arguments_of
from ranvier.nn.quantized.layers import Linear, give_weight_dtype, half_or_float32
from ranvier.ops.matrix.quantized_weight import KINDS, QuantizedWeight, quantized
from ranvier.ops.neural.quantized_recurrent import quantized_recurrent
from ranvier.tensors.errors import one_of
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]


def _in_float32(x: Tensor) -> Any:
    """The Tensor or None, half floats as float32."""
    if x is not None and x.dtype in HALVES:
        return x.to(F32)
    return x


class _Quantized(recurrent.Recurrent):
    """What layers and cells have in common."""

    kind: str

    @property
    def weight_dtype(self) -> str:
        """The dtype of the weights, of a model of 16 bits its own; ``half()`` and others change it."""
        return next((part.weight_dtype for part in self.children() if isinstance(part, Linear)), "float32")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(("weight_", "bias_")):
            layer = name.partition("_")[2]
            raise AttributeError(f"[{name}] got a weight for a quantized layer; expected a Linear as {layer}")
        super().__setattr__(name, value)

    def _add(self, name: str, inputs: int, outputs: int, bias: bool) -> None:
        self.add_module(name, Linear(inputs, outputs, bias, self.kind))

    def _computed_by(
        self, mode: str, end: str, x: Tensor, state: Any, sizes: Any = None, reverse: bool = False
    ) -> list[Tensor]:
        """A layer in one direction, as the op `recurrent`; end: of the names of its weights."""
        hh = getattr(self, f"hh{end}")
        hr = self._modules.get(f"hr{end}")
        of_x = getattr(self, f"ih{end}")(_in_float32(x))
        state = tuple([_in_float32(s) for s in state])
        if hr is None:
            w_hh = hh.quantized_weight
            ys = [*quantized_recurrent(mode.lower(), of_x, state, w_hh, hh.bias, sizes, reverse)]
        else:
            values = [part.quantized_weight.dequantize() for part in (hh, hr)]
            weights = (None, values[0], None, hh.bias, values[1])
            ys = recurrent.projected(mode.lower(), of_x, state, weights, sizes, reverse)
        if x.dtype in HALVES:
            return [y.to(x.dtype) for y in ys]
        return ys

    @classmethod
    def from_float(
        cls, layer: Any, kind: str = "int8", weights: dict[int, QuantizedWeight] | None = None
    ) -> Any:
        """The layer with its weights in this kind. weights: those that are made already, by the id of the
        parameter, to share them; those that are made here are added."""
        if weights is None:
            weights = {}
        settings = arguments_of(layer) | {"kind": kind}
        made: Any = cls(**{k: v for k, v in settings.items() if k not in ("dtype", "dropout")})
        if "dropout" in settings:
            made.dropout = layer.dropout
        for name in [*made._modules]:
            weight = getattr(layer, f"weight_{name}")
            if id(weight) not in weights:
                weights[id(weight)] = quantized(weight, kind)
            bias = getattr(layer, f"bias_{name}", None)
            part = Linear.from_weight(weights[id(weight)], bias)
            part.weight_dtype = half_or_float32(weight)
            made.add_module(name, part)
        return made.train(layer.training)


class _Layers(_Quantized, recurrent.RNNBase):
    _shown = (*recurrent.RNNBase._shown, "kind", "weight_dtype?")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        kind: str = "int8",
        weight_dtype: str = "float32",
    ) -> None:
        self.kind = one_of(type(self).__name__, "kind", kind, KINDS)
        settings: Any = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(*settings, proj_size)  # type: ignore[call-arg]
        give_weight_dtype(self, weight_dtype)

    def _add_weights(self, end: str, inputs: int, dtype: DtypeLike | None) -> None:
        width = recurrent.GATES[self.mode] * self.hidden_size
        state = self.proj_size or self.hidden_size
        self._add(f"ih{end}", inputs, width, self.bias)
        self._add(f"hh{end}", state, width, self.bias)
        if self.proj_size:
            self._add(f"hr{end}", self.hidden_size, state, False)

    def _names(self) -> tuple[str, ...]:
        if self.proj_size:
            return ("ih", "hh", "hr")
        return ("ih", "hh")

    def _direction(self, end: str, x: Tensor, state: tuple[Any, ...], sizes: Any, reverse: bool) -> Any:
        return self._computed_by(self.mode, end, x, state, sizes, reverse)


class LSTM(_Layers, recurrent.LSTM):
    """:class:`ranvier.nn.LSTM` whose weights have 8 or 4 bits; the arguments are those of the layer, the
    kind, and weight_dtype, the dtype that the weights have.

    The products with x and with the state h of each step are those of :class:`Linear`, the gates and the
    states are float32. With proj_size, products with the state have the weights' values as float32.

    >>> import ranvier as rv
    >>> y, (h_n, c_n) = rv.nn.quantized.LSTM(4, 8, kind="q8_0")(rv.rand(10, 3, 4))
    >>> y.shape, c_n.shape
    ((10, 3, 8), (1, 3, 8))
    """


class GRU(_Layers, recurrent.GRU):
    """:class:`ranvier.nn.GRU` whose weights have 8 or 4 bits, as those of :class:`LSTM`.

    >>> import ranvier as rv
    >>> rv.nn.quantized.GRU(4, 8)(rv.rand(10, 4))[0].shape
    (10, 8)
    """


class RNN(_Layers, recurrent.RNN):
    """:class:`ranvier.nn.RNN` whose weights have 8 or 4 bits, as those of :class:`LSTM`.

    >>> import ranvier as rv
    >>> rv.nn.quantized.RNN(4, 8)(rv.rand(10, 4))[0].shape
    (10, 8)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        kind: str = "int8",
        weight_dtype: str = "float32",
    ) -> None:
        self.kind = one_of("RNN", "kind", kind, KINDS)
        settings = (num_layers, nonlinearity, bias, batch_first, dropout, bidirectional)
        recurrent.RNN.__init__(self, input_size, hidden_size, *settings)
        give_weight_dtype(self, weight_dtype)


class _Cells(_Quantized, recurrent_cell.RNNCellBase):
    _shown = (*recurrent_cell.RNNCellBase._shown, "kind", "weight_dtype?")  # type: ignore[assignment]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        kind: str = "int8",
        weight_dtype: str = "float32",
    ) -> None:
        self.kind = one_of(type(self).__name__, "kind", kind, KINDS)
        super().__init__(input_size, hidden_size, bias)  # type: ignore[call-arg]
        give_weight_dtype(self, weight_dtype)

    def _add_weights(self, width: int, dtype: DtypeLike | None) -> None:
        self._add("ih", self.input_size, width, self.bias)
        self._add("hh", self.hidden_size, width, self.bias)

    def _computed(self, x: Tensor, state: tuple[Any, ...]) -> Any:
        return self._computed_by(self._mode, "", x, state)


class LSTMCell(_Cells, recurrent_cell.LSTMCell):
    """:class:`ranvier.nn.LSTMCell` whose weights have 8 or 4 bits, as those of :class:`LSTM`.

    >>> import ranvier as rv
    >>> rv.nn.quantized.LSTMCell(4, 8)(rv.rand(4))[0].shape
    (8,)
    """


class GRUCell(_Cells, recurrent_cell.GRUCell):
    """:class:`ranvier.nn.GRUCell` whose weights have 8 or 4 bits, as those of :class:`LSTM`.

    >>> import ranvier as rv
    >>> rv.nn.quantized.GRUCell(4, 8)(rv.rand(4)).shape
    (8,)
    """


class RNNCell(_Cells, recurrent_cell.RNNCell):
    """:class:`ranvier.nn.RNNCell` whose weights have 8 or 4 bits, as those of :class:`LSTM`.

    >>> import ranvier as rv
    >>> rv.nn.quantized.RNNCell(4, 8)(rv.rand(4)).shape
    (8,)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        kind: str = "int8",
        weight_dtype: str = "float32",
    ) -> None:
        self.kind = one_of("RNNCell", "kind", kind, KINDS)
        recurrent_cell.RNNCell.__init__(self, input_size, hidden_size, bias, nonlinearity)
        give_weight_dtype(self, weight_dtype)
