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
from ranvier.tensors.types import Array, DtypeLike

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]


def _in_float32(x: Tensor | None) -> Any:
    """The Tensor or None, half floats as float32."""
    if x is not None and x.dtype in HALVES:
        return x.to(F32)
    return x


class _Quantized(recurrent.Recurrent):
    """The base of the layers and cells. kind: the format of the weights, "int8", "q8_0" or "q4_0"."""

    kind: str

    @property
    def weight_dtype(self) -> str:
        """The dtype of the layer before it was quantized, float32 or a half float; ``half()`` changes it."""
        for child in self.children():
            if isinstance(child, Linear):
                return child.weight_dtype
        return "float32"

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(("weight_", "bias_")):
            layer = name.partition("_")[2]
            raise AttributeError(f"[{name}] got a weight for a quantized layer; expected a Linear as {layer}")
        super().__setattr__(name, value)

    def _add(self, name: str, inputs: int, outputs: int, bias: bool) -> None:
        self.add_module(name, Linear(inputs, outputs, bias, self.kind))

    def _run(
        self,
        mode: str,
        ending: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        batch_sizes: Array | None = None,
        reverse: bool = False,
    ) -> list[Tensor]:
        """A layer in one direction: the arguments and results of the op `recurrent`.

        mode: a key of GATES. ending: of the names of the layers inside. x is any float, and the results have
        its dtype; between, all is float32.
        """
        ih = getattr(self, f"ih{ending}")
        hh = getattr(self, f"hh{ending}")
        hr = self._modules.get(f"hr{ending}")
        cell = mode.lower()
        products = ih(_in_float32(x))  # W_ih x + b_ih of all steps
        state = tuple([_in_float32(s) for s in state])
        if hr is None:
            w_hh = hh.quantized_weight
            results = [*quantized_recurrent(cell, products, state, w_hh, hh.bias, batch_sizes, reverse)]
        else:
            w_hh = hh.quantized_weight.dequantize()
            w_hr = hr.quantized_weight.dequantize()
            weights = (None, w_hh, None, hh.bias, w_hr)  # without W_ih and b_ih: x has the products
            results = recurrent.projected(cell, products, state, weights, batch_sizes, reverse)
        if x.dtype in HALVES:
            return [result.to(x.dtype) for result in results]
        return results

    @classmethod
    def from_float(
        cls, layer: Any, kind: str = "int8", weights: dict[int, QuantizedWeight] | None = None
    ) -> Any:
        """A quantized copy of a layer of ``nn``.

        weights: {id of a parameter: its quantized weight}, so that layers with one parameter share one
        weight; those that are made here are added.
        """
        if weights is None:
            weights = {}
        settings = arguments_of(layer)
        settings.pop("dtype", None)
        dropout = settings.pop("dropout", None)  # set below: the constructor warns of one without effect
        settings["kind"] = kind
        copy: Any = cls(**settings)
        if dropout is not None:
            copy.dropout = layer.dropout
        for name in list(copy._modules):  # "ih_l0", for example
            weight = getattr(layer, f"weight_{name}")
            if id(weight) not in weights:
                weights[id(weight)] = quantized(weight, kind)
            bias = getattr(layer, f"bias_{name}", None)
            linear = Linear.from_weight(weights[id(weight)], bias)
            linear.weight_dtype = half_or_float32(weight)
            copy.add_module(name, linear)
        return copy.train(layer.training)


class _Layers(_Quantized, recurrent.RNNBase):
    """The base of the layers. The constructor of `nn` that runs next in the order of the bases, LSTM's or
    GRU's, gives RNNBase the mode; it calls `_add_weights`, so `kind` is set before."""

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

    def _add_weights(self, ending: str, inputs: int, dtype: DtypeLike | None) -> None:
        rows = recurrent.GATES[self.mode] * self.hidden_size
        self._add(f"ih{ending}", inputs, rows, self.bias)
        self._add(f"hh{ending}", self._output_size, rows, self.bias)
        if self.proj_size:
            self._add(f"hr{ending}", self.hidden_size, self._output_size, bias=False)

    def _weight_names(self) -> tuple[str, ...]:
        if self.proj_size:
            return ("ih", "hh", "hr")
        return ("ih", "hh")

    def _run_direction(
        self, ending: str, x: Tensor, state: tuple[Any, ...], batch_sizes: Array | None, reverse: bool
    ) -> Any:
        return self._run(self.mode, ending, x, state, batch_sizes, reverse)


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
    """The base of the cells. As in `_Layers`, the next constructor is that of the cell of `nn`."""

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

    def _add_weights(self, rows: int, dtype: DtypeLike | None) -> None:
        self._add("ih", self.input_size, rows, self.bias)
        self._add("hh", self.hidden_size, rows, self.bias)

    def _run_step(self, x: Tensor, state: tuple[Any, ...]) -> Any:
        return self._run(self._mode, "", x, state)


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
