"""Recurrent layers over whole sequences: RNN, LSTM, GRU.

The op `recurrent` (ops/neural/recurrent.py) computes one layer in one direction; this file has the parameters
and joins layers and directions. The parameters of layer k have names that end in ``_lk``, those of its
backward direction in ``_lk_reverse``. The cells are in nn/recurrent_cell.py.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partialmethod
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.nn.utils.rnn import PackedSequence, batch_sizes_of
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import arange, empty, zeros
from ranvier.ops.neural.recurrent import recurrent
from ranvier.tensors.errors import count, flag, one_of
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Array, DtypeLike, Shape, TensorLike

__all__ = LAYERS["recurrent"]

# The number of gates of each mode. The weights have gates * hidden_size rows.
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
# The most layers of a recurrent network or transformer: a mistaken count is an error at once, where making
# the layers would take all memory.
MOST_LAYERS = 1000
States = list[Tensor | None]
"""The states of a layer: [h], or for an LSTM [h, c]. None stands for zeros."""
StatesLike = TensorLike | Sequence[TensorLike]
"""The states as an argument: h, or for an LSTM (h, c)."""


class Recurrent(Module):
    """The base class of recurrent layers and cells: the sizes, the starting values, the given states."""

    _name: str  # the name of the layer in errors, as "lstm"

    def _set_sizes(self, name: str, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self._name = name
        self.input_size = count(name, "input_size", input_size)
        self.hidden_size = count(name, "hidden_size", hidden_size)

    def reset_parameters(self) -> None:
        """Draws new starting values, uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _states(self, hx: StatesLike | None, mode: str) -> States:
        """The argument ``hx`` as Tensors: [h0], or for an LSTM [h0, c0]."""
        if hx is None:
            if mode == "LSTM":
                return [None, None]
            return [None]
        if mode != "LSTM":
            return [as_tensor(self._name, hx)]
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise TypeError(f"[{self._name}] got a state of type {type(hx).__name__}; expected (h0, c0)")
        return [as_tensor(self._name, state) for state in hx]


class Replacement(NamedTuple):
    """A Tensor with which a layer computes in the place of a parameter: see `RNNBase._flat_weights`."""

    parameter: Parameter | None  # the parameter at the time when the Tensor was set
    tensor: Tensor


class RNNBase(Recurrent):
    """The base class of RNN, LSTM and GRU: the parameters of all layers and directions, and forward.

    The layers of nn/quantized/recurrent.py override `_add_weights`, `_weight_names` and `_run_direction`.
    Public methods without callers here have PyTorch's names: programs call them.
    """

    _shown: tuple[str, ...] = (
        "*input_size",
        "*hidden_size",
        "proj_size?",
        "num_layers?",
        "bias?",
        "batch_first?",
        "dropout?",
        "bidirectional?",
    )
    # {name of a parameter: its replacement}, where a program has set `_flat_weights`
    _rv_in_place: dict[str, Replacement] | None = None

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
        name = mode.split("_")[0].lower()  # "lstm", "gru" or "rnn"
        self._set_sizes(name, input_size, hidden_size)
        self.num_layers = count(name, "num_layers", num_layers, 1, MOST_LAYERS)
        self._check_dropout(dropout)
        flag(name, "bias", bias)
        flag(name, "batch_first", batch_first)
        flag(name, "bidirectional", bidirectional)
        self.bias = bias
        self.batch_first = batch_first
        self._set_proj_size(proj_size)
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        for layer in range(self.num_layers):
            if layer == 0:
                inputs = self.input_size
            else:  # the outputs of the layer before
                inputs = self._directions * self._output_size
            for ending in self._endings(layer):
                self._add_weights(ending, inputs, dtype)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _output_size(self) -> int:
        """The number of elements of h: hidden_size, or with a projection proj_size."""
        return self.proj_size or self.hidden_size

    def _set_proj_size(self, proj_size: int) -> None:
        if proj_size == 0:
            self.proj_size = 0
            return
        self.proj_size = proj_size = count(self._name, "proj_size", proj_size)
        if self.mode != "LSTM":
            raise ValueError(f"[{self._name}] got proj_size {proj_size}; expected 0: only an LSTM has it")
        if proj_size >= self.hidden_size:
            raise ValueError(f"[{self._name}] got proj_size {proj_size}; expected less than hidden_size")

    def _add_weights(self, ending: str, inputs: int, dtype: DtypeLike | None) -> None:
        """Makes the parameters of a layer and direction, without values."""
        rows = GATES[self.mode] * self.hidden_size
        shapes: dict[str, Shape] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, self._output_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
            "weight_hr": (self._output_size, self.hidden_size),
        }
        for name in self._weight_names():
            setattr(self, name + ending, Parameter(empty(*shapes[name], dtype=dtype)))

    def _check_dropout(self, dropout: float) -> None:
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(
                f"[{self._name}] got dropout {dropout!r}; expected a probability, 0 <= dropout <= 1"
            )
        if dropout and self.num_layers == 1:
            warnings.warn(
                f"[{self._name}] dropout acts between layers; num_layers=1 has none",
                stacklevel=6,  # The warning names the line that calls RNN, LSTM or GRU.
            )

    def _endings(self, layer: int) -> list[str]:
        """The endings of the names of a layer's parameters, one ending for each direction."""
        if self.bidirectional:
            return [f"_l{layer}", f"_l{layer}_reverse"]
        return [f"_l{layer}"]

    def _weight_names(self) -> tuple[str, ...]:
        """The names of the parameters of one layer and direction, without their ending."""
        names: tuple[str, ...] = ("weight_ih", "weight_hh")
        if self.bias:
            names += ("bias_ih", "bias_hh")
        if self.proj_size:
            names += ("weight_hr",)
        return names

    def _weights(self, ending: str) -> tuple[Any, ...]:
        """The weights of one layer and direction, with which forward computes."""
        if self._rv_in_place is not None:
            return tuple([self._weight(name + ending) for name in self._weight_names()])
        return tuple([getattr(self, name + ending) for name in self._weight_names()])

    @property
    def _all_weights(self) -> list[list[str]]:
        """The names of the parameters of each layer and direction. PyTorch programs read it, to set the
        biases of gates."""
        names = []
        for layer in range(self.num_layers):
            for ending in self._endings(layer):
                names.append([name + ending for name in self._weight_names()])
        return names

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
        self._rv_in_place = {}
        for name, weight in zip(names, weights, strict=True):
            self._rv_in_place[name] = Replacement(getattr(self, name, None), weight)

    def _weight(self, name: str) -> Any:
        """The parameter of this name, or the Tensor that `_flat_weights` has in its place."""
        parameter = getattr(self, name, None)
        if self._rv_in_place is None or name not in self._rv_in_place:
            return parameter
        replacement = self._rv_in_place[name]
        if replacement.parameter is parameter:
            return replacement.tensor
        return parameter  # The program has assigned another one since.

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction, in order."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Does nothing; it is there for PyTorch programs."""

    def forward(self, input: Tensor | PackedSequence, hx: StatesLike | None = None) -> Any:
        """(y, h_n), for an LSTM (y, (h_n, c_n)); see the class for the shapes."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        x = as_tensor(self._name, input)
        self.check_input(x, None)
        states = self._states(hx, self.mode)
        batched = x.ndim == 3
        if not batched:  # A sequence without a batch is computed as a batch of 1.
            x = x.unsqueeze(1)
            states = [unsqueezed(state, 1) for state in states]
        elif self.batch_first:
            x = x.transpose(0, 1)
        self._check_states(states, x.shape[1], batched)
        y, *last = self._run_layers(x, states, None)
        if not batched:
            y = y.squeeze(1)
            last = [state.squeeze(1) for state in last]
        elif self.batch_first:
            y = y.transpose(0, 1)
        if len(last) == 1:
            return y, last[0]
        return y, tuple(last)

    def _forward_packed(self, input: PackedSequence, hx: StatesLike | None) -> Any:
        """forward of a PackedSequence, whose sequences are sorted by their lengths, the longest first.

        The states come and go in the order before sorting.
        """
        x = input.data
        batch_sizes = batch_sizes_of(self._name, input)
        self.check_input(x, batch_sizes)
        states = self._states(hx, self.mode)
        self._check_states(states, int(batch_sizes[0]), True)
        if input.sorted_indices is not None:
            states = [_selected(state, input.sorted_indices) for state in states]
        y, *last = self._run_layers(x, states, batch_sizes)
        if input.unsorted_indices is not None:
            last = [ops.index_select(state, 1, input.unsorted_indices) for state in last]
        packed = PackedSequence(y, *input[1:])
        if len(last) == 1:
            return packed, last[0]
        return packed, tuple(last)

    def _run_layers(self, x: Tensor, states: States, batch_sizes: Array | None) -> list[Tensor]:
        """Computes all layers and directions: [y, h_n], or for an LSTM [y, h_n, c_n].

        x is (steps, N, inputs), or the data of a packed sequence with these batch sizes. The states before
        and after are (layers * directions, N, hidden), the directions of a layer beside each other.
        """
        last_states: list[list[Tensor]] = [[] for _ in states]  # the rows of h_n, and of c_n
        row = 0
        for layer in range(self.num_layers):
            outputs = []
            for direction, ending in enumerate(self._endings(layer)):
                first = []
                for state in states:
                    first.append(None if state is None else state[row])
                y, *last = self._run_direction(ending, x, tuple(first), batch_sizes, reverse=direction == 1)
                outputs.append(y)
                for rows, last_state in zip(last_states, last, strict=True):
                    rows.append(last_state)
                row += 1
            if len(outputs) == 1:
                x = outputs[0]
            else:
                x = ops.cat(outputs, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = ops.dropout(x, self.dropout)
        results = [x]
        for rows in last_states:
            if len(rows) == 1:
                results.append(rows[0].unsqueeze(0))
            else:
                results.append(ops.stack(rows))
        return results

    def _run_direction(
        self, ending: str, x: Tensor, state: tuple[Any, ...], batch_sizes: Array | None, reverse: bool
    ) -> Any:
        """Computes one layer in one direction, as :func:`recurrent`. ending: of its parameters' names."""
        compute = projected if self.proj_size else recurrent
        return compute(self.mode.lower(), x, state, self._weights(ending), batch_sizes, reverse)

    def check_input(self, input: Tensor, batch_sizes: Array | None) -> None:
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

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Array | None) -> tuple[int, int, int]:
        """The shape of h0 for an input (steps, N, ...), or a packed sequence with these batch sizes."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        elif self.batch_first:
            batch = input.shape[0]
        else:
            batch = input.shape[1]
        return (self.num_layers * self._directions, batch, self._output_size)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Array | None) -> tuple[int, int, int]:
        """The shape of c0, as :meth:`get_expected_hidden_size`."""
        rows, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return (rows, batch, self.hidden_size)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = ""
    ) -> None:
        """Raises RuntimeError for a state of another shape. msg has two {}: for the expected and the given
        shape."""
        if hx.shape != tuple(expected_hidden_size):
            text = msg or "Expected hidden size {}, got {}"
            raise RuntimeError(text.format(tuple(expected_hidden_size), list(hx.shape)))

    def permute_hidden(self, hx: Tensor | tuple[Tensor, ...], permutation: Tensor | None) -> Any:
        """The states with their sequences in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, Tensor):
            return hx[:, permutation]
        return tuple(state[:, permutation] for state in hx)

    def _check_states(self, states: States, batch: int, batched: bool) -> None:
        """Raises ValueError for states of other shapes than (layers * directions, batch, width).

        batched: whether the caller's states have a batch, which the error then shows.
        """
        rows = self.num_layers * self._directions
        widths = (self._output_size, self.hidden_size)
        for name, state, width in zip(("h0", "c0"), states, widths, strict=False):
            expected = (rows, batch, width)
            if state is None or state.shape == expected:
                continue
            if batched:
                raise misfit(self._name, {name: state.shape}, expected)
            raise misfit(self._name, {name: without_batch(state.shape)}, without_batch(expected))


def projected(
    cell: str,
    x: Tensor,
    state: tuple[Any, ...],
    weights: tuple[Any, ...],
    batch_sizes: Array | None,
    reverse: bool,
) -> list[Tensor]:
    """[y, h_n, c_n] as :func:`recurrent`, for an LSTM with a projection: h_t = W_hr (o tanh(c_t)).

    W_hh h = (W_hh W_hr) (o tanh(c)), so the core computes an LSTM without projection whose W_hh is W_hh W_hr.
    h0 is no such product: so x gets further columns, which are h0 in the first step of each sequence and else
    0, and W_ih gets the columns W_hh. Without W_ih, x is W_ih x + b_ih: there W_hh h0 is added to it.
    """
    w_ih, w_hh, *biases, w_hr = weights
    h0, c0 = state
    if h0 is not None and len(x):
        rows = math.prod(x.shape[:-1])  # of x with steps and sequences in one axis
        places = _first_steps(rows, len(h0), batch_sizes, reverse)
        if w_ih is not None:
            values = h0
        else:
            values = ops.linear(h0, w_hh)
        columns = ops.index_add(zeros(rows, values.shape[-1], dtype=x.dtype), 0, places, values)
        columns = ops.reshape(columns, *x.shape[:-1], values.shape[-1])
        if w_ih is None:
            x = x + columns
        else:
            x = ops.cat([x, columns], -1)
            w_ih = ops.cat([w_ih, w_hh], 1)
    unprojected = (w_ih, ops.matmul(w_hh, w_hr), *biases)
    y, h_n, c_n = recurrent(cell, x, (None, c0), unprojected, batch_sizes, reverse)
    # Under autocast, products have the lower precision, but the steps of c do not.
    return [ops.linear(y, w_hr), ops.linear(h_n, w_hr), c_n.to(x.dtype)]


def _first_steps(rows: int, batch: int, batch_sizes: Array | None, reverse: bool) -> TensorLike:
    """Where the step that is read first stands among the rows of x, for each sequence of the batch.

    The rows are ordered by step, then by sequence. batch_sizes: how many sequences have each step, if they
    differ.
    """
    if not reverse:
        return arange(0, batch)
    if batch_sizes is None:
        return arange(rows - batch, rows)
    # Each sequence begins at its own last step; the rows of a step begin after those of all steps before it.
    sequences = np.arange(batch)
    last_steps = (batch_sizes[:, None] > sequences).sum(0) - 1
    starts = np.cumsum(batch_sizes) - batch_sizes
    return starts[last_steps] + sequences


def unsqueezed(state: Tensor | None, dim: int) -> Tensor | None:
    return None if state is None else state.unsqueeze(dim)


def _selected(state: Tensor | None, sequences: Tensor) -> Tensor | None:
    """A state (rows, N, width) with its sequences in another order."""
    return None if state is None else ops.index_select(state, 1, sequences)


def without_batch(shape: Shape) -> Shape:
    """The shape of a state (rows, N, width) without N."""
    return (shape[0], *shape[2:])


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu of it: Elman's network, in one or more
    layers.

    Parameters start uniform in +-1/sqrt(hidden_size).

    Args:
        input_size, hidden_size: the number of elements of x_t and of h_t.
        num_layers: the number of layers; each reads the states of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: whether x and y are (N, steps, ...) in place of (steps, N, ...).
        dropout: the probability that an output of a layer, except the last, is dropped in training.
        bidirectional: a second set of weights reads from the end, and y has the states of both.

    A call takes x (steps, N, input_size), without a batch (steps, input_size), or a PackedSequence; and h0
    (num_layers * directions, N, hidden_size), zeros if not given.

    Returns:
        y (..., directions * hidden_size), the last layer's states of all steps, and h_n, in the shape of h0,
        the last state of every layer and direction.

    Raises:
        ValueError: sizes and shapes that do not fit.

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
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype=dtype,
        )
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
