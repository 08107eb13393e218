"""Recurrent layers over whole sequences: RNN, LSTM, GRU. The op `recurrent` computes one layer in one
direction; this file has the parameters and joins layers and directions."""

from __future__ import annotations

import math
import warnings
from functools import partialmethod
from typing import Any

import numpy as np

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.nn.utils.rnn import PackedSequence, sizes_of
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import arange, empty, zeros
from ranvier.ops.neural.recurrent import recurrent
from ranvier.tensors.errors import count, flag, one_of
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, TensorLike

__all__ = LAYERS["recurrent"]

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}  # weight_ih has gates * hidden_size rows
MOST_LAYERS = 1000
_OPTIONS = ("proj_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class Recurrent(Module):
    """The base class of recurrent layers and cells: the sizes, the starting values, the given states."""

    _name: str

    def _begin(self, name: str, input_size: Any, hidden_size: Any) -> tuple[int, int]:
        super().__init__()
        self._name = name
        self.input_size = count(name, "input_size", input_size)
        self.hidden_size = count(name, "hidden_size", hidden_size)
        return self.input_size, self.hidden_size

    def reset_parameters(self) -> None:
        """Draws new starting values, uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _states(self, hx: TensorLike | None, mode: str) -> list[Any]:
        """The given states as Tensors: [h0], or for an LSTM [h0, c0]. None stands for zeros."""
        if hx is None:
            if mode == "LSTM":
                return [None, None]
            return [None]
        if mode != "LSTM":
            return [as_tensor(self._name, hx)]
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise TypeError(f"[{self._name}] got a state of type {type(hx).__name__}; expected (h0, c0)")
        return [as_tensor(self._name, s) for s in hx]


class RNNBase(Recurrent):
    """The base class of RNN, LSTM and GRU: the parameters of all layers and directions, and forward."""

    _shown = ("*input_size", "*hidden_size", *[f"{name}?" for name in _OPTIONS])
    # {name: (parameter, the Tensor in its place)}, where a program has set `_flat_weights`
    _rv_in_place: dict[str, tuple[Any, Any]] | None = None

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: DtypeLike | None = None,
    ) -> None:
        self.mode = mode  # a key of GATES
        input_size, hidden_size = self._begin(mode.split("_")[0].lower(), input_size, hidden_size)
        self.num_layers = num_layers = count(self._name, "num_layers", num_layers, 1, MOST_LAYERS)
        self._check_dropout(dropout)
        for name, value in (("bias", bias), ("batch_first", batch_first), ("bidirectional", bidirectional)):
            flag(self._name, name, value)
        self.bias = bias
        self.batch_first = batch_first
        self.proj_size = proj_size = 0 if proj_size == 0 else count(self._name, "proj_size", proj_size)
        if proj_size and (proj_size >= hidden_size or self.mode != "LSTM"):
            if self.mode == "LSTM":
                expected = "less than hidden_size"
            else:
                expected = "0: only an LSTM has it"
            raise ValueError(f"[{self._name}] got proj_size {proj_size}; expected {expected}")
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        for k in range(num_layers):
            if k == 0:
                inputs = input_size
            else:
                inputs = (2 if bidirectional else 1) * (proj_size or hidden_size)
            for end in self._ends(k):
                self._add_weights(end, inputs, dtype)
        self.reset_parameters()

    def _add_weights(self, end: str, inputs: int, dtype: DtypeLike | None) -> None:
        """Makes the parameters of a layer and direction, without values."""
        width = GATES[self.mode] * self.hidden_size
        state = self.proj_size or self.hidden_size
        shapes = ((width, inputs), (width, state), (width,), (width,), (state, self.hidden_size))
        for name in self._names():
            shape = shapes[_WEIGHTS.index(name)]
            setattr(self, name + end, Parameter(empty(*shape, dtype=dtype)))

    def _check_dropout(self, dropout: Any) -> None:
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(
                f"[{self._name}] got dropout {dropout!r}; expected a probability, 0 <= dropout <= 1"
            )
        if dropout and self.num_layers == 1:
            warnings.warn(
                f"[{self._name}] dropout acts between layers; num_layers=1 has none",
                stacklevel=6,  # The warning names the line that calls RNN, LSTM or GRU.
            )

    def _ends(self, layer: int) -> list[str]:
        """The endings of the names of a layer's parameters, one ending for each direction."""
        return [f"_l{layer}"] + ([f"_l{layer}_reverse"] if self.bidirectional else [])

    def _names(self) -> tuple[str, ...]:
        """The names in _WEIGHTS that the layer has."""
        return _WEIGHTS[: 4 if self.bias else 2] + _WEIGHTS[4:] * bool(self.proj_size)

    def _weights(self, end: str) -> tuple[Any, ...]:
        if self._rv_in_place is not None:
            return tuple([self._weight(name + end) for name in self._names()])
        return tuple([getattr(self, name + end) for name in self._names()])

    @property
    def _all_weights(self) -> list[list[str]]:  # PyTorch programs read it, to set the biases of gates.
        ends = [end for k in range(self.num_layers) for end in self._ends(k)]
        return [[name + end for name in self._names()] for end in ends]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        """The weights that forward uses, in the order of `_flat_weights_names`.

        A program may set the list, to compute with Tensors in the place of the parameters. What it assigns
        to a name afterwards is in the list again.
        """
        return [self._weight(name) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        names = self._flat_weights_names
        if len(weights) != len(names):
            raise ValueError(f"[{self._name}] got {len(weights)} _flat_weights; expected {len(names)}")
        pairs = zip(names, weights, strict=True)
        self._rv_in_place = {name: (getattr(self, name, None), weight) for name, weight in pairs}

    def _weight(self, name: str) -> Any:
        """The parameter of this name, or the Tensor that `_flat_weights` has in its place."""
        parameter = getattr(self, name, None)
        if self._rv_in_place is None or name not in self._rv_in_place:
            return parameter
        replaced, weight = self._rv_in_place[name]
        if replaced is parameter:
            return weight
        return parameter

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction, in order."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Does nothing; it is there for PyTorch programs."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else as_tensor(self._name, input)
        sizes = sizes_of(self._name, input) if packed else None
        self.check_input(x, sizes)
        batched = packed or x.ndim == 3
        states = self._states(hx, self.mode)
        if not batched:
            x = x.unsqueeze(1)
            states = [s if s is None else s.unsqueeze(1) for s in states]
        elif self.batch_first and not packed:
            x = x.transpose(0, 1)
        self._check_states(states, int(sizes[0]) if sizes is not None else x.shape[1], batched)
        if packed and input.sorted_indices is not None:
            states = [s if s is None else ops.index_select(s, 1, input.sorted_indices) for s in states]
        y: Any
        y, *last = self._through(x, states, sizes)
        if packed:
            if input.unsorted_indices is not None:
                last = [ops.index_select(s, 1, input.unsorted_indices) for s in last]
            y = PackedSequence(y, *input[1:])
        elif not batched:
            y = y.squeeze(1)
            last = [s.squeeze(1) for s in last]
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, last[0] if len(last) == 1 else tuple(last)

    def _through(self, x: Tensor, states: list[Any], sizes: Any) -> list[Tensor]:
        """Computes all layers and directions: [y, h_n], or for an LSTM [y, h_n, c_n]; h_n and c_n are
        (layers * directions, N, hidden). sizes: the batch sizes of a packed sequence, or None."""
        ended: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            ways = []
            for reverse, end in enumerate(self._ends(layer)):
                k = (2 if self.bidirectional else 1) * layer + reverse
                state = tuple([s if s is None else s[k] for s in states])
                y, *last = self._direction(end, x, state, sizes, bool(reverse))
                ways.append(y)
                for all_ended, s in zip(ended, last, strict=True):
                    all_ended.append(s)
            x = ways[0] if len(ways) == 1 else ops.cat(ways, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = ops.dropout(x, self.dropout)
        return [x, *(s[0].unsqueeze(0) if len(s) == 1 else ops.stack(s) for s in ended)]

    def _direction(self, end: str, x: Tensor, state: tuple[Any, ...], sizes: Any, reverse: bool) -> Any:
        """One layer in one direction, as :func:`recurrent`."""
        one = projected if self.proj_size else recurrent
        return one(self.mode.lower(), x, state, self._weights(end), sizes, reverse)

    def check_input(self, input: Tensor, batch_sizes: Any) -> None:
        """Raises ValueError for an input of other dimensions or features."""
        if batch_sizes is None and input.ndim not in (2, 3):
            if self.batch_first:
                expected = "(N, steps, input_size)"
            else:
                expected = "(steps, N, input_size)"
            raise misfit(
                self._name, {"x": input.shape}, f"{expected}, or (steps, input_size) without a batch"
            )
        if input.shape[-1] != self.input_size:
            raise OpError(
                f"[{self._name}] got x with {input.shape[-1]} features; expected input_size, "
                f"{self.input_size}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Any) -> tuple[int, int, int]:
        """The shape of h0 for an input (steps, N, ...), or a packed sequence with these batch sizes."""
        if batch_sizes is None:
            batch = input.shape[0 if self.batch_first else 1]
        else:
            batch = int(batch_sizes[0])
        return self._shapes(batch)[0]

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Any) -> tuple[int, int, int]:
        """The shape of c0, as :meth:`get_expected_hidden_size`."""
        return (*self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size)

    def check_hidden_size(self, hx: Tensor, expected_hidden_size: Any, msg: str = "") -> None:
        """Raises RuntimeError for a state of another shape. msg has two {}: for the expected and the given
        shape."""
        if hx.shape != tuple(expected_hidden_size):
            text = msg or "Expected hidden size {}, got {}"
            raise RuntimeError(text.format(tuple(expected_hidden_size), list(hx.shape)))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The states with their sequences in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, Tensor):
            return hx[:, permutation]
        return tuple(s[:, permutation] for s in hx)

    def _shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """The shapes of h0 and c0."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        return [(layers, batch, width) for width in (self.proj_size or self.hidden_size, self.hidden_size)]

    def _check_states(self, states: list[Any], batch: int, batched: bool) -> None:
        for name, s, wanted in zip(("h0", "c0"), states, self._shapes(batch), strict=False):
            if s is not None and s.shape != wanted:
                got, expected = (s.shape, wanted) if batched else (drop(s.shape), drop(wanted))
                raise misfit(self._name, {name: got}, expected)


def projected(
    cell: str, x: Tensor, state: tuple[Any, ...], weights: tuple[Any, ...], sizes: Any, reverse: bool
) -> list[Tensor]:
    """[y, h_n, c_n] as :func:`recurrent`, for an LSTM with a projection: h_t = W_hr (o tanh(c_t)).

    W_hh h = (W_hh W_hr) (o tanh(c)), so the core computes an LSTM without projection whose W_hh is W_hh W_hr.
    h0 is no such product: so x gets further columns, which are h0 in the first step of each sequence and else
    0, and W_ih gets the columns W_hh. Without W_ih, x is W_ih x + b_ih: there W_hh h0 is added to it.
    """
    *weights, w_hr = weights  # type: ignore[assignment]
    w_ih, w_hh, *biases = weights
    h0, c0 = state
    if h0 is not None and len(x):
        rows = math.prod(x.shape[:-1])  # places: those that are read first
        if reverse and sizes is not None:  # each sequence begins at its own last step
            last = (sizes[:, None] > np.arange(len(h0))).sum(0) - 1
            places = (np.cumsum(sizes) - sizes)[last] + np.arange(len(h0))
        else:
            start = rows - len(h0) if reverse else 0
            places = arange(start, start + len(h0))
        added = h0 if w_ih is not None else ops.linear(h0, w_hh)
        of_h = ops.index_add(zeros(rows, added.shape[-1], dtype=x.dtype), 0, places, added)
        of_h = ops.reshape(of_h, *x.shape[:-1], added.shape[-1])
        if w_ih is None:
            x = x + of_h
        else:
            x = ops.cat([x, of_h], -1)
            w_ih = ops.cat([w_ih, w_hh], 1)
    y, h_n, c_n = recurrent(cell, x, (None, c0), (w_ih, ops.matmul(w_hh, w_hr), *biases), sizes, reverse)
    # Under autocast, products have the lower precision, but the steps of c do not.
    return [ops.linear(y, w_hr), ops.linear(h_n, w_hr), c_n.to(x.dtype)]


def drop(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A state's shape without the batch."""
    return (shape[0], *shape[2:])


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu of it: Elman's network, in one or more
    layers.

    Takes x (steps, N, input_size), with batch_first (N, steps, input_size), without a batch (steps,
    input_size), or a PackedSequence; and h0 (num_layers * directions, N, hidden_size), zeros if not given.
    Returns y (..., directions * hidden_size), the last layer's states of all steps, and h_n, in the shape of
    h0, the last state of every layer and direction. bidirectional: a second set of weights reads from the
    end, and y has the states of both. dropout acts on the output of each layer except the last.
    Parameters start uniform in +-1/sqrt(hidden_size).

    Raises ValueError for sizes and shapes that do not fit.
    Source: Elman, "Finding Structure in Time" (1990); Schuster and Paliwal, "Bidirectional Recurrent Neural
    Networks" (1997).

    >>> import ranvier as rv
    >>> y, h_n = rv.nn.RNN(4, 8, num_layers=2, nonlinearity="relu", batch_first=True)(rv.rand(3, 10, 4))
    >>> y.shape, h_n.shape
    ((3, 10, 8), (2, 3, 8))
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
        dtype: DtypeLike | None = None,
    ) -> None:
        one_of("rnn", "nonlinearity", nonlinearity, ("tanh", "relu"))
        settings = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(f"RNN_{nonlinearity.upper()}", *settings, dtype=dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: a state c, and gates i, f and o for writing, forgetting and reading it.

        i, f, o = sigmoid(W x_t + b + U h_{t-1} + b'),  g = tanh(the same), each with its own weights
        c_t = f c_{t-1} + i g,   h_t = o tanh(c_t)

    Takes x as :class:`RNN` and the states (h0, c0); returns y, (h_n, c_n). The rows of weight_ih_l0 (4
    hidden_size, input_size) and the other parameters are those of i, f, g and o in turn, as in PyTorch.
    proj_size > 0: h_t = W_hr (o tanh(c_t)) with weight_hr_l0 (proj_size, hidden_size); y, h0 and h_n have
    proj_size columns.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers,
    Schmidhuber and Cummins, "Learning to Forget" (2000); projections: Sak, Senior and Beaufays, "Long
    Short-Term Memory Based Recurrent Neural Network Architectures" (2014).

    >>> import ranvier as rv
    >>> y, (h_n, c_n) = rv.nn.LSTM(4, 8, bidirectional=True)(rv.rand(10, 3, 4))
    >>> y.shape, h_n.shape, c_n.shape
    ((10, 3, 16), (2, 3, 8), (2, 3, 8))
    """

    __init__ = partialmethod(RNNBase.__init__, "LSTM")


class GRU(RNNBase):
    """Gated recurrent units. Gate z is the share of the old state that is kept; gate r scales the old state
    in the computation of the new one.

        r, z = sigmoid(W x_t + b + U h_{t-1} + b'), each with its own weights
        n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + b'_n)),   h_t = (1 - z) n + z h_{t-1}

    Takes and returns what :class:`RNN` does. The rows of weight_ih_l0 (3 hidden_size, input_size) and the
    other parameters are those of r, z and n in turn, as in PyTorch, where r also scales the bias b'_n.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
    Translation" (2014).

    >>> import ranvier as rv
    >>> y, h_n = rv.nn.GRU(4, 8)(rv.rand(10, 4))
    >>> y.shape, h_n.shape
    ((10, 8), (1, 8))
    """

    __init__ = partialmethod(RNNBase.__init__, "GRU")
