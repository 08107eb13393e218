"""Adds gradients and changes of buffers over the parts of a batch and over ranks.

`Sum` adds a vector over ranks. Ranks of one host add in memory that they share: a rank writes its vector to
its row of this memory and reads the other rows, and ranks synchronize through counters in the same memory
(`cpp/bindings/ranks/rank_sum.cpp`). Between hosts, the first rank of each host sends messages. Where ranks
cannot share memory, for example in separate containers, every rank sends messages. `Gradients` adds the
gradients of this rank's parts along a binary tree, and `Changes` adds the changes of buffers; each then uses
a `Sum`.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor, bump, wrap
from ranvier.distributed.collectives import gather_objects, mpi_reduce, tree_sum
from ranvier.distributed.ranks import World, agree, complete
from ranvier.optim.optimizer_state import aligned_zeros
from ranvier.tensors.memory import Array, cast, keep

# The memory that the ranks of a host share begins with a line of 64 bytes for each rank, followed by a row
# for each rank's values. A line holds the rank's marks, which are the counters by which ranks synchronize: it
# has room for eight int64, of which the core uses the first four. The first rank also writes a random name of
# 16 bytes at byte 32 of its line: a rank that reads the same name there has opened the same memory.
_PAGE = 4096
_LINE_BYTES = 64
_NAME_BYTES = 16
_NAME_AT = 32


class Sum:
    """Replaces a vector by its sum over all ranks, at each call of `add`. Every rank makes the object and
    calls it.

    Attributes:
        core: the object of the core that adds in shared memory, if no messages are needed; else None.

    There are four cases:

    - There is one rank, or no values: nothing is sent.
    - All ranks are on one host and share memory: they add there, and nothing is sent.
    - There are several hosts, on each of which the ranks share memory: they add there, then the first rank of
      each host sends messages to those of the others, and spreads the result on its host.
    - No memory is shared: every rank sends messages.
    """

    def __init__(self, world: World, values: Array, call: str, deterministic: bool = True) -> None:
        self._world = world
        self._values = values
        self._call = call
        agree(world, call, f"with {values.size} numbers of {values.dtype} to add")
        # `tree_sum` takes a power of two of ranks; DistributedDataParallel may have another number.
        self._deterministic = deterministic and not world.size & (world.size - 1)
        adds = world.host and values.size and values.dtype.char in "fd"
        shared = _shared(world, values.nbytes, call) if adds else None
        self._shared = None
        if shared is not None:
            marks, rows = shared

            def wait(place: int, kind: int, number: int) -> None:
                """Wait, as for a message, for a rank of this host that has not come for a while."""
                complete(world, [], call, world.host[place], lambda: marks[place, kind] >= number)

            place = world.host.index(world.rank)  # this rank's number on its host
            self._shared = _core.RankSum(values, rows.view(values.dtype), marks, place, wait)
        # If messages are needed, they are sent by the ranks whose number is a multiple of `_distance`: all
        # ranks, or the first rank of each host.
        self._distance = 1 if self._shared is None else len(world.host)
        self._sends = values.size > 0 and world.size > self._distance
        # The memory for values received; where none are received, any array does.
        self._spare = np.empty_like(values) if self._sends else values
        self.core = None if self._sends else self._shared

    def add(self) -> None:
        world = self._world
        values = self._values
        shared = self._shared
        if shared is not None and world.comm:  # A job of one rank has no communicator.
            shared.add()
        if not self._sends:
            return
        if shared is None and not self._deterministic:
            mpi_reduce(world, values, "sum", self._call)
        elif world.rank % self._distance == 0:  # the first rank of its host
            tree_sum(world, values, self._spare, self._call, self._distance)
        if shared is not None:
            shared.spread()


def along_tree(parts: Sequence[Callable[[Array | None], Array]], out: Array | None) -> Array:
    """The sum of the arrays that the functions `parts` make, along a binary tree.

    It is the sum of the first half of the arrays plus the sum of the second half, and each half is added in
    the same way. A function gets the array to write to, or None. The first one gets `out`, which then holds
    the result.
    """
    if len(parts) == 1:
        return parts[0](out)
    half = len(parts) // 2
    lower = along_tree(parts[:half], out)
    upper = along_tree(parts[half:], None)
    return _core.add(lower, upper, lower)


def _shared(world: World, size: int, call: str) -> tuple[Array, Array] | None:
    """Memory that the ranks of this host share, as two arrays: marks (ranks, 8) int64 and rows (ranks, size)
    bytes.

    None on all ranks of the host if one of them cannot open the memory. The memory has no name in a folder,
    so nothing is left of it if ranks are killed. The first rank makes it, and the others open it through the
    first rank's open file (/proc/PROCESS/fd/FILE).
    """
    first = world.host[0]
    ranks = len(world.host)
    name = os.urandom(_NAME_BYTES)
    memory = None
    file = -1  # no open file
    head = _whole_pages(ranks * _LINE_BYTES)  # the bytes of the marks of all ranks
    stride = _whole_pages(size)  # the bytes of a rank's row
    if world.rank == first and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            file = os.memfd_create("ranvier")
            os.ftruncate(file, head + stride * ranks)
            os.pwrite(file, name, _NAME_AT)
    process, theirs, expected = gather_objects((os.getpid(), file, name), call, world)[first]
    # In containers, where ranks do not see each other's processes, this path may belong to another process.
    # So it is used only if it is a memory of this library that holds the first rank's random name.
    path = f"/proc/{process}/fd/{theirs}"
    with contextlib.suppress(OSError):
        if file < 0 <= theirs and "memfd:ranvier" in os.readlink(path):
            file = os.open(path, os.O_RDWR)
        if os.pread(file, _NAME_BYTES, _NAME_AT) == expected:
            os.posix_fallocate(file, head + world.host.index(world.rank) * stride, stride)
            memory = mmap.mmap(file, head + stride * ranks)
    ready = gather_objects(memory is not None, call, world)
    if file >= 0:
        os.close(file)
    if memory is None or not all(ready):
        return None
    whole = np.frombuffer(memory, np.uint8)
    marks = whole[: ranks * _LINE_BYTES].view(np.int64).reshape(ranks, -1)
    return marks, whole[head:].reshape(ranks, stride)[:, :size]


def _whole_pages(size: int) -> int:
    """The bytes of the pages that hold `size` bytes: at least one page."""
    pages = -(-size // _PAGE)
    return max(pages, 1) * _PAGE


CALL = "Trainer.fit"
_LINE = 16  # Each array begins at a multiple of this many elements: a cache line of float32, two of float64.
_EXACT = 2**50  # Sums of integers up to this, and the nearest integer of their mean, are exact in float64.


def in_order_of(part: Array, like: Array) -> Array:
    """A view of a flat array with the shape of `like` and its order of axes in memory."""
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    inverse = [order.index(axis) for axis in range(like.ndim)]
    return part.reshape([like.shape[axis] for axis in order]).transpose(inverse)


class Flat:
    """One buffer that holds `count` numbers and then the values of several arrays, so that all are added at
    once.

    Attributes:
        values: the whole buffer, one-dimensional. Each array begins at a cache line, after zeros.
        numbers: the first `count` elements.
        views: for each array a view of the buffer, with the array's shape and memory order.
    """

    def __init__(
        self, arrays: Sequence[Array], dtype: np.dtype[Any] | type[np.float64], count: int = 0
    ) -> None:
        # where the numbers end, and then each array with its padding: array i begins at ends[i]
        sizes = [count, *(a.size for a in arrays)]
        padded = [-(-size // _LINE) * _LINE for size in sizes]
        ends = np.cumsum(padded).tolist()
        self.values = aligned_zeros((ends[-1],), dtype)
        self.numbers = self.values[:count]
        places = zip(arrays, ends, strict=False)
        self.views = [in_order_of(self.values[begin : begin + a.size], a) for a, begin in places]


class Changes:
    """Adds the changes that the parts of a batch make to the model's buffers, such as running means.

    Each part begins with the same values. In the end a buffer is changed by the mean of the parts' changes,
    weighted by their numbers of samples. The sums are float64. Sums of integers (and bools, as 0 and 1) are
    exact, and their mean is rounded to the nearest integer, half to even.
    """

    def __init__(self, world: World, buffers: list[Any], parts: int, deterministic: bool) -> None:
        self.buffers = [b for b in buffers if b._array.dtype.kind in "biuf"]
        self._flat = Flat([b._array for b in self.buffers], np.float64)
        self._sum = Sum(world, self._flat.values, CALL, deterministic)
        # for each part and buffer: change * samples of the part
        self._made: list[list[Any]] = [[0.0] * len(self.buffers) for _ in range(parts)]

    def begin(self) -> None:
        self.changed = False  # whether a part of this rank has changed a buffer
        for made in self._made:
            made[:] = [0.0] * len(self.buffers)
        self._before = [b._array.copy() for b in self.buffers]

    def counts(self) -> list[int]:
        """The number of changes of each buffer so far."""
        return [b._cell.changes for b in self.buffers]

    def take(self, number: int, counts: list[int], samples: int, total: int) -> None:
        """Keep what part `number` has changed since `counts`, and restore the buffers.

        samples, total: those of the part and of the batch. Raises ValueError: a change of an integer that is
        so large that its sums might not be exact.
        """
        for i, (b, before, count) in enumerate(zip(self.buffers, self._before, counts, strict=True)):
            if b._cell.changes == count:
                continue
            wide = np.float64 if before.dtype.kind == "f" else np.int64
            change = (b._array.astype(wide) - before).astype(np.float64)
            if wide is np.int64 and (np.abs(change) * total > _EXACT).any():
                raise ValueError(
                    f"[{CALL}] got an integer buffer that a forward pass has changed by more than 2**50 / "
                    f"{total} (the samples of a batch); expected smaller changes"
                )
            self._made[number][i] = change * samples
            self.changed = True
            b._array[...] = before
            bump(b)

    def reduce(self, total: int, applies: bool) -> None:
        """Add the changes of all ranks; if applies, change the buffers. total: samples of the batch."""
        for view, *changes in zip(self._flat.views, *self._made, strict=True):
            view[...] = _sum_of(changes)
        self._sum.add()
        if not applies:
            return
        for b, view in zip(self.buffers, self._flat.views, strict=True):
            if view.any():
                change = view / total
                if b._array.dtype.kind != "f":
                    change = np.rint(change).astype(int)
                b._array[...] = b._array + change
                bump(b)


def _sum_of(terms: Sequence[Any]) -> Any:
    """The sum in the order of `along_tree`: lower half + upper half, and so on within the halves."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return _sum_of(terms[:half]) + _sum_of(terms[half:])


class Gradients:
    """Adds the gradients of the parameters of one dtype over this rank's parts of a batch, and over ranks.

    They are in flat buffers. A buffer begins with these numbers: the loss, then for each parameter how many
    parts have a gradient for it, then how many ranks have changed a buffer of the model.

    The parts come one after another, and are added along a binary tree: neighbours are added, then
    neighbouring pairs, and so on. Only partial sums that wait for further parts are kept, each in a buffer
    called a level; they behave like the digits of a binary counter. The first part of a pair is written to a
    free level; the second is added to the same level (`added` is 1). Then the partial sums that are complete
    are joined: `joins` levels, each added to the one before it. For eight parts (`place` in reduction.py
    computes this table):

        part  level  added  joins  levels then hold
        0     0      0      0      [0]
        1     0      1      0      [0..1]
        2     1      0      0      [0..1] [2]
        3     1      1      1      [0..3]
        4     1      0      0      [0..3] [4]
        5     1      1      0      [0..3] [4..5]
        6     2      0      0      [0..3] [4..5] [6]
        7     2      1      2      [0..7]

    Attributes:
        levels: the buffers of partial sums (Flat). In the end the first one has the sum of this rank's parts.
        sum: adds the first level over all ranks.
        loss, counts: views of the first level's numbers: the loss, and the numbers after it.
        of_size: number of samples of a batch -> a copy of `counts` after the last batch of this size.
    """

    # The attributes of this class that a compiled step depends on (compile/guarding/library_guards.py): none,
    # since arrays and parameters stay the same.
    step_state = ()

    def __init__(
        self, world: World, parameters: list[Any], dtype: np.dtype[Any], parts: int, deterministic: bool
    ) -> None:
        self.parameters = [p for p in parameters if p._array.dtype == dtype]
        self.dtype = dtype
        arrays = [p._array for p in self.parameters]
        levels = max(1, (parts - 1).bit_length())
        self.levels = [Flat(arrays, dtype, 2 + len(arrays)) for _ in range(levels)]
        self.sum = Sum(world, self.levels[0].values, CALL, deterministic)
        self.loss, self.counts = np.split(self.levels[0].numbers, [1])
        self.of_size: dict[int, Array] = {}
        self._tensors = [wrap(view) for view in self.levels[0].views]
        self._before: list[Array | None] = []
        self._flags: dict[bytes, Array] = {}

    def begin(self, first: bool) -> None:
        """Copy the gradients of earlier batches of the same update, to add them again in `take`.

        first: this batch is the first of its update, so there are none.
        """
        self._before = [None] * len(self.parameters)
        if first:
            return
        for i, p in enumerate(self.parameters):
            if p._grad is not None:
                self._before[i] = p._grad._array.copy()

    # --- within a part: a compiled step records these calls and repeats them

    def pack(self, loss: Tensor, share: Array, level: int, added: int, joins: int) -> None:
        """Write or add the loss and gradients of a part to a level, then join levels (see the class's table).

        share: the weight of the part. It multiplies the loss here, and the gradients before.
        """
        flat = self.levels[level]
        value = _core.mul(self._cast(loss.detach()._array), self._cast(share), None)
        put(value.reshape(1), flat.numbers[:1], added)
        put(self._constant([*(p._grad is not None for p in self.parameters), 0]), flat.numbers[1:], added)
        for p, view in zip(self.parameters, flat.views, strict=True):
            gradient = None if p._grad is None else p._grad._array
            put(gradient, view, added)
        self._join(level, joins)

    def pack_sums(self, losses: Sequence[Array]) -> None:
        """Write the sum of the parts' losses, and the counts: all parts have gradients for all parameters."""
        numbers = self.levels[0].numbers
        along_tree([functools.partial(_core.copy, value, False) for value in losses], numbers[:1])
        put(self._constant([len(losses)] * len(self.parameters) + [0]), numbers[1:], False)

    def _constant(self, flags: list[Any]) -> Array:
        """An array of these numbers, one for all calls with the same numbers. `keep` declares it a constant,
        which a compiled step reads at each repetition and does not make again."""
        array = np.array(flags, self.dtype)
        return keep(self._flags.setdefault(array.tobytes(), array))

    def _cast(self, array: Array) -> Array:
        if array.dtype == self.dtype:
            return array
        return cast(array, self.dtype)

    def _join(self, level: int, joins: int) -> None:
        """Add `joins` levels, from `level` down, each to the one before it."""
        for i in range(level, level - joins, -1):
            lower = self.levels[i - 1].values
            upper = self.levels[i].values
            _core.add(lower, upper, lower)

    # --- between parts, and after them

    def empty(self, level: int, added: int, joins: int) -> None:
        """As `pack`, for a part without samples, whose loss and gradients are zeros."""
        values = self.levels[level].values
        if added:
            values += 0  # On a rank with samples, adding zeros turns -0 into 0: so it has to be done here.
        else:
            values.fill(0)
        self._join(level, joins)

    def take(self, counts: Array) -> None:
        """Make the sums the gradients of the parameters, plus those that `begin` has kept.

        A parameter for which no part has a gradient gets None.
        """
        flags = counts[:-1].astype(bool).tolist()
        before = self._before or [None] * len(flags)
        for p, tensor, used, old in zip(self.parameters, self._tensors, flags, before, strict=True):
            if old is not None:
                tensor._array += old
            has_gradient = used or old is not None
            p._grad = tensor if has_gradient else None


def put(values: Array | None, view: Array, added: int) -> None:
    """Write values, or zeros for None, into a view; if `added` is 1, add them to it."""
    if added:
        addend = 0.0 if values is None else values
        _core.add(view, addend, view)
    elif values is None:
        _core.fill(view, 0.0)
    else:
        _core.copy(values, False, view)
