"""Sequences of several lengths in one batch: padded to the longest, or packed without padding.

Packed, the rows of all steps follow each other, and step t has only the sequences with more than t steps:

    a = [1 2 3], b = [4 5]      padded (steps, batch)  1 4      packed  1 4 2 5 3      batch_sizes  2 2 1
                                                       2 5
                                                       3 0

The longest sequence comes first: sequences in another order are sorted, and unpacking restores the order.

Inside, ``counts`` are the numbers of steps of the sequences (3 2), ``batch_sizes`` the numbers of sequences
with a step t (2 2 1), and ``rows`` the places of packed rows among the N * steps rows of the padded data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.observe import current
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.layout import filled
from ranvier.tensors.errors import one_of, own_errors
from ranvier.tensors.failures import DtypeError, OpError, misfit
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ArrayLike, TensorLike

if TYPE_CHECKING:
    from typing_extensions import Self

_NAMES = """
    PackedSequence invert_permutation pack_padded_sequence pack_sequence pad_packed_sequence pad_sequence
    unpack_sequence unpad_sequence
"""
__all__ = _NAMES.split()


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences of several lengths without padding, made by `pack_padded_sequence` or `pack_sequence`.

    Attributes:
        data: the rows of all steps, (rows, ...).
        batch_sizes: the number of sequences with a step t, int64 (steps,).
        sorted_indices: the original places of the sequences, of the longest first; None if the sequences
            were given in this order.
        unsorted_indices: the inverse permutation.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        if batch_sizes is None:  # Old programs give one argument, the pair (data, batch_sizes).
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """A copy with data in another dtype, as :meth:`Tensor.to`."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        return self._replace(data=data)

    def pin_memory(self) -> Self:
        return self._replace(data=self.data.pin_memory())

    def is_pinned(self) -> bool:
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """True if data is on a GPU."""
        return self.data.is_cuda


def _method_of_data(name: str) -> Callable[..., PackedSequence]:
    """The method of PackedSequence that applies Tensor's method of this name to the data."""

    def method(self: PackedSequence, *args: Any, **kwargs: Any) -> PackedSequence:
        data = getattr(self.data, name)(*args, **kwargs)
        if data is self.data:
            return self
        return self._replace(data=data)

    method.__name__ = name
    method.__qualname__ = f"PackedSequence.{name}"
    method.__doc__ = f"With data as by ``Tensor.{name}``."
    return method


for _name in ["cpu", "cuda", "float", "double", "half", "long", "int", "short", "char", "byte"]:
    setattr(PackedSequence, _name, _method_of_data(_name))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The inverse of a permutation; None of None.

    >>> import ranvier as rv
    >>> rv.nn.utils.rnn.invert_permutation(rv.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    return _constant(np.argsort(read_values("invert_permutation", permutation), kind="stable"))


def _constant(values: Array) -> Tensor:
    """A Tensor of values that follow from shapes and plain numbers: a recording keeps them as constants."""
    recording = current()
    if recording is not None:
        recording.constants.append(values)
    return wrap(keep(values))


def read_values(name: str, x: Tensor) -> Array:
    """The array of x, whose values determine shapes. A recording may read the values of `_constant`."""
    recording = current()
    if recording is not None and any(x._array is values for values in recording.constants):
        return x._array
    return x._read(name)


def batch_sizes_of(name: str, sequence: PackedSequence) -> Array:
    """The batch sizes of a packed sequence, whose values determine shapes. name: the caller's, for errors.

    Raises ValueError unless they are positive, not increasing, and sum to the number of rows.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(
            f"[{name}] got a sequence of type {type(sequence).__name__}; expected a PackedSequence, as "
            "pack_padded_sequence and pack_sequence make it"
        )
    sizes = read_values(name, sequence.batch_sizes)
    if sizes.dtype.kind not in "iu":
        raise DtypeError(f"[{name}] got batch_sizes of dtype {sizes.dtype.name}; expected integers")
    rows = len(sequence.data)
    fits = sizes.ndim == 1 and sizes.size > 0 and sizes[-1] > 0 and sizes.sum() == rows
    if not fits or (sizes[1:] > sizes[:-1]).any():
        raise OpError(
            f"[{name}] got batch_sizes {sizes.tolist()} for {rows} rows of data; expected numbers above 0, "
            f"none greater than the one before it, with the sum {rows}, as pack_sequence and "
            "pack_padded_sequence make them"
        )
    return sizes


def pack_padded_sequence(
    input: TensorLike, lengths: ArrayLike, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """The first lengths[n] steps of each sequence n, without the padding after them.

    input: (steps, N, ...), with batch_first (N, steps, ...). lengths: N numbers from 1 to steps; fractions
    are cut off. enforce_sorted: the longest sequence must come first and the shortest last, else ValueError.
    With False the sequences are sorted.

    Raises ValueError for lengths that do not fit.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils.rnn import pack_padded_sequence
    >>> x = rv.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    >>> packed = pack_padded_sequence(x, [3, 2], batch_first=True)
    >>> packed.data, packed.batch_sizes
    (tensor([1., 4., 2., 5., 3.]), tensor([2, 2, 1]))
    """
    x = as_tensor("pack_padded_sequence", input)
    if x.ndim < 2:
        raise misfit("pack_padded_sequence", {"input": x.shape}, "at least 2 dimensions, steps and batch")
    if batch_first:
        batch, steps = x.shape[:2]
    else:
        steps, batch = x.shape[:2]
    counts = _lengths("pack_padded_sequence", lengths, batch, steps)
    order = None
    sorted_indices = None
    if enforce_sorted and (np.diff(counts) > 0).any():
        raise ValueError(
            f"[pack_padded_sequence] got lengths {counts.tolist()}; expected none longer than the one before "
            "it, or enforce_sorted=False"
        )
    if not enforce_sorted:
        order = np.argsort(-counts, kind="stable")
        counts = counts[order]
        sorted_indices = _constant(order)
    rows = _padded_rows(counts, order, steps, batch_first)
    step = np.arange(counts[0])[:, None]
    batch_sizes = (step < counts).sum(1)
    data = x.reshape(batch * steps, *x.shape[2:])[keep(rows)]
    return PackedSequence(data, _constant(batch_sizes), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Unpacks: the padded sequences (steps, N, ...), with batch_first (N, steps, ...), and their lengths.

    total_length: the number of steps after padding. ValueError if the longest sequence has more steps.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0, 5.0])], enforce_sorted=False)
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1., 2., 0.],
            [3., 4., 5.]]), tensor([2, 3]))
    """
    batch_sizes = batch_sizes_of("pad_packed_sequence", sequence)
    steps = batch_sizes.size
    if total_length is not None:
        steps = total_length
    if steps < batch_sizes.size:
        raise ValueError(
            f"[pad_packed_sequence] got total_length {steps}; expected at least {batch_sizes.size}, the "
            "steps of the longest sequence"
        )
    place = np.arange(batch_sizes[0])[:, None]  # of a sequence, the longest first
    counts = (place < batch_sizes).sum(1)
    order = None
    lengths = counts
    if sequence.sorted_indices is not None:
        order = read_values("pad_packed_sequence", sequence.sorted_indices)
        lengths = counts[np.argsort(order, kind="stable")]
    rows = _padded_rows(counts, order, steps, batch_first)
    padded = _padded(sequence.data, rows, (counts.size, steps), batch_first, padding_value)
    return padded, wrap(keep(lengths))


def pad_sequence(
    sequences: Sequence[TensorLike],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (steps, ...) of several lengths in one batch, padded to the longest.

    Gives (steps, N, ...), with batch_first (N, steps, ...). padding_side: "right", or "left" for padding
    at the start. Raises ValueError if the sequences differ in another size than the first.

    >>> import ranvier as rv
    >>> rv.nn.utils.rnn.pad_sequence([rv.tensor([1.0, 2.0]), rv.tensor([3.0])], batch_first=True)
    tensor([[1., 2.],
            [3., 0.]])
    """
    one_of("pad_sequence", "padding_side", padding_side, ("right", "left"))
    tensors, counts = _sequences("pad_sequence", sequences)
    steps = int(counts.max())
    # Of each row of the concatenated sequences: the number of its sequence, and its step in the padded data.
    number = np.repeat(np.arange(counts.size), counts)
    first_row = np.cumsum(counts) - counts  # of each sequence
    step = np.arange(number.size) - first_row[number]
    if padding_side == "left":
        padding = steps - counts
        step += padding[number]
    if batch_first:
        rows = number * steps + step
    else:
        rows = step * counts.size + number
    return _padded(ops.cat(tensors, 0), rows, (counts.size, steps), batch_first, padding_value)


def pack_sequence(sequences: Sequence[TensorLike], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (steps, ...) of several lengths, packed; see :func:`pack_padded_sequence`.

    >>> import ranvier as rv
    >>> rv.nn.utils.rnn.pack_sequence([rv.tensor([1.0, 2.0, 3.0]), rv.tensor([4.0])]).data
    tensor([1., 4., 2., 3.])
    """
    _, counts = _sequences("pack_sequence", sequences)
    return pack_padded_sequence(pad_sequence(sequences), keep(counts), enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: ArrayLike, batch_first: bool = False) -> list[Tensor]:
    """The list of sequences without their padding: the inverse of `pad_sequence`.

    >>> import ranvier as rv
    >>> rv.nn.utils.rnn.unpad_sequence(rv.tensor([[1.0, 2.0], [3.0, 0.0]]), [2, 1], batch_first=True)
    [tensor([1., 2.]), tensor([3.])]
    """
    x = as_tensor("unpad_sequence", padded_sequences)
    if not batch_first:
        x = x.transpose(0, 1)
    counts = _lengths("unpad_sequence", lengths, *x.shape[:2])
    return [x[n, : int(count)] for n, count in enumerate(counts)]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list of sequences: the inverse of `pack_sequence`.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils.rnn import pack_sequence, unpack_sequence
    >>> unpack_sequence(pack_sequence([rv.tensor([1.0, 2.0]), rv.tensor([3.0])]))
    [tensor([1., 2.]), tensor([3.])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def _lengths(name: str, lengths: ArrayLike, batch: int, steps: int) -> Array:
    """The argument `lengths` as int64 (batch,), each from 1 to steps; else an error. name: the caller's."""
    if isinstance(lengths, Tensor):
        lengths = lengths._read(name)
    counts = np.asarray(lengths)
    if counts.dtype.kind not in "biuf" or not np.isfinite(counts).all():
        if counts.dtype.kind == "f":
            got = counts.tolist()
        else:
            got = counts.dtype
        raise DtypeError(f"[{name}] got lengths {got}; expected finite numbers")
    counts = counts.astype(np.int64)  # As in PyTorch, fractions of floats are cut off.
    if counts.shape != (batch,) or not batch:
        raise misfit(name, {"lengths": counts.shape}, f"{(batch,)}, one or more")
    if counts.min() < 1 or counts.max() > steps:
        raise ValueError(
            f"[{name}] got lengths from {counts.min()} to {counts.max()}; expected 1 to {steps}, the steps"
        )
    return counts


def _sequences(name: str, sequences: Sequence[TensorLike]) -> tuple[list[Tensor], Array]:
    """(the sequences as Tensors (steps, ...), the numbers of their steps)."""
    tensors = [as_tensor(name, s) for s in sequences]
    if not tensors or any(t.ndim == 0 or t.shape[1:] != tensors[0].shape[1:] for t in tensors):
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise OpError(f"[{name}] got sequences of shapes {shapes or '()'}; expected (steps, ...) of each")
    return tensors, np.array([t.shape[0] for t in tensors])


def _padded_rows(counts: Array, order: Array | None, steps: int, batch_first: bool) -> Array:
    """For each row of the packed data, its place among the N * steps rows of the padded data.

    counts: the steps of the sequences, the longest first. order: the number in the padded data of each of
    them; None if it is the same.
    """
    if order is None:
        number = np.arange(counts.size)
    else:
        number = order
    step = np.arange(counts[0])[:, None]
    if batch_first:
        rows = number * steps + step
    else:
        rows = step * counts.size + number
    return rows[step < counts]  # step after step, as the packed data


def _padded(data: Tensor, rows: Array, sizes: tuple[int, int], batch_first: bool, value: float) -> Tensor:
    """The padded data: the rows of `data` at the places `rows`, `value` elsewhere. sizes: N and steps."""
    batch, steps = sizes
    padding = data.dtype.type(value).item()  # a whole number for integers
    padded = wrap(filled(padding, (batch * steps, *data.shape[1:]), data.dtype))
    padded[keep(rows)] = data
    if batch_first:
        return padded.reshape(batch, steps, *data.shape[1:])
    return padded.reshape(steps, batch, *data.shape[1:])


own_errors(globals(), __all__)
