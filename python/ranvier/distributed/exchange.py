"""The sum of the gradients over the parts of a batch and over ranks, in one vector."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.autograd import Tensor, bump, wrap
from ranvier.autograd.memory import cast, keep
from ranvier.distributed.one_pass import along_tree
from ranvier.distributed.ranks import World
from ranvier.distributed.shared import Sum, aligned

__all__ = ["Counts", "Exchange", "Flat", "in_order_of", "put"]

Array = npt.NDArray[Any]
_LINE = 16  # elements


def in_order_of(part: Array, like: Array) -> Array:
    """A view of a flat array with the shape and the memory order of another."""
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    inverse = [order.index(axis) for axis in range(like.ndim)]
    return part.reshape([like.shape[axis] for axis in order]).transpose(inverse)


class Flat:
    """One buffer of a dtype for some numbers and the values of several arrays, each from a cache line on.

    Attributes:
        values: all of it, one-dimensional, with zeros in between.
        numbers: the first `count` elements.
        views: the part of each array, in its shape and memory order.
    """

    def __init__(self, arrays: Sequence[Array], dtype: Any, count: int = 0) -> None:
        ends = np.cumsum([-(-n // _LINE) * _LINE for n in (count, *(a.size for a in arrays))]).tolist()
        self.values = aligned(ends[-1], dtype)
        self.numbers = self.values[:count]
        self.views = [
            in_order_of(self.values[begin : begin + array.size], array)
            for array, begin in zip(arrays, ends, strict=False)
        ]


CALL = "Trainer.fit"
INT64 = np.dtype(np.int64)


class Counts:
    """Integer buffers (and bools, as 0 and 1), each of which is changed by the mean of the parts' changes, to
    the nearest integer, half to even.

    The changes are multiplied by the number of samples and added in int64, in NumPy, between the compiled
    parts.
    """

    def __init__(self, world: World, buffers: list[Any], deterministic: bool) -> None:
        self.buffers = buffers
        arrays = [b._array for b in buffers]
        self._old, self._new = Flat(arrays, INT64), Flat(arrays, INT64)
        self._sums = Flat(arrays, INT64)
        self.sum = Sum(world, self._sums.values, CALL, deterministic)

    # --- within a part; a compiled step repeats these

    def before(self) -> list[int]:
        """Copy the buffers; returns the counts of their changes."""
        for b, view in zip(self.buffers, self._old.views, strict=True):
            _write(b._array, view)
        return [b._cell[0] for b in self.buffers]

    def pack(self, before: list[int]) -> None:
        """Keep what a part has made of the buffers, and put them back."""
        for b, old, new, count in zip(self.buffers, self._old.views, self._new.views, before, strict=True):
            _write(b._array, new)
            if b._cell[0] != count:
                _write(old, b._array)
                bump(b)

    # --- between parts and ranks

    def begin(self) -> None:
        self._sums.values.fill(0)

    def add(self, samples: int, total: int) -> None:
        """Add the changes of a part, unless the sums could overflow; samples: of it, total: of the batch."""
        if not self.buffers:
            return
        old, new = self._old.values, self._new.values
        if (np.abs(new.astype(float) - old) > (2**63 - 1) // total).any():
            raise ValueError(
                f"[{CALL}] got an integer buffer that a forward pass has changed by more than 2**63 / "
                f"{total} (the samples of a batch); expected smaller changes"
            )
        self._sums.values += (new - old) * samples

    def apply(self, total: int) -> None:
        """Change the buffers; total: samples of the batch."""
        if not self.buffers:
            return
        whole, rest = np.divmod(self._sums.values, total)
        whole += (2 * rest > total) | ((2 * rest == total) & (whole & 1 == 1))
        self._new.values[...] = whole
        for b, change in zip(self.buffers, self._new.views, strict=True):
            if change.any():
                b._array[...] = b._array + change
                bump(b)


def _write(values: Array, into: Array) -> None:
    """Copy integers. Only int64 is repeated by a compiled step; other dtypes have no kernels, so a step that
    changes such a buffer is not compiled."""
    if values.dtype == into.dtype == INT64:
        _core.cast(values, INT64, into)
    else:
        into[...] = values


class Exchange:
    """Flat buffers, one for each dtype: the loss, a number for each parameter (how many parts have a gradient
    for it), the gradients, and the changes of the buffers that forward passes have made.

    Integer buffers have messages of their own (`Counts`).
    """

    def __init__(self, world: World, parameters: list[Any], buffers: list[Any], deterministic: bool) -> None:
        self._world = world
        self._flags: dict[Any, Array] = {}
        self.parameters = parameters
        floats = [b for b in buffers if b._array.dtype.char in "fd"]
        self.groups = [
            _Group(world, deterministic, parameters, floats, dtype)
            for dtype in {t._array.dtype: None for t in (*parameters, *floats)}
        ]
        integers = [b for b in buffers if b._array.dtype.kind in "iub"]
        self.counts = Counts(world, integers, deterministic)
        self._others = [b for b in buffers if b._array.dtype.char == "e"]

    # --- within a part; a compiled step repeats these

    def before(self) -> list[Any]:
        """Copies of the float buffers and, of all, the counts of their changes."""
        copies = [[(_core.copy_like(b._array, b._array), b._cell[0]) for b in g.buffers] for g in self.groups]
        return [self.counts.before(), [b._cell[0] for b in self._others], *copies]

    def pack(self, loss: Tensor, share: Any, samples: Any, before: list[Any], place: int) -> None:
        """Write what a part adds to the sums, and put the buffers back.

        share: the weight of the part, by which its gradients are multiplied already; samples: of the part.
        place: 2 for the first of a pair of parts, or a part alone; 3 for the second, which is added to the
        first; 0 and 1 likewise for a pair that waits for the pair after it.
        """
        of_integers, of_others, *copies = before
        self.counts.pack(of_integers)
        if [b._cell[0] for b in self._others] != of_others:
            raise TypeError(
                f"[{CALL}] got a buffer of dtype float16 that a forward pass changes; expected float32, "
                "float64 or integers"
            )
        for group, saved in zip(self.groups, copies, strict=True):
            flat, added = group.place(place), place % 2 == 1
            value = _in(loss.detach()._array, group.dtype)
            put(_core.mul(value, _in(share, group.dtype), None).reshape(1), flat.numbers[:1], added)
            flags = np.array([p._grad is not None for p in group.parameters], group.dtype)
            flags = keep(self._flags.setdefault((flags.tobytes(), group.dtype), flags))
            put(flags, flat.numbers[1:], added)
            made = [None if p._grad is None else p._grad._array for p in group.parameters]
            number = _in(samples, group.dtype)
            for b, (old, count) in zip(group.buffers, saved, strict=True):
                if b._cell[0] == count:
                    made.append(None)
                    continue
                made.append(_core.mul(_core.sub(b._array, old, None), number, None))
                _core.copy(old, False, b._array)
                bump(b)
            for values, view in zip(made, flat.views, strict=True):
                put(values, view, added)

    def sums(self) -> dict[int, Array]:
        """Where a pass over all parts of the rank writes the sums of gradients, by the parameters' ids."""
        return {id(p): view for g in self.groups for p, view in zip(g.parameters, g.flat.views)}  # noqa: B905

    def run(self, part: Any, calls: Any, batches: Any, *update: Any) -> Any:
        """Many batches of `part`, with the sums over ranks and updates, in the core; None where it cannot."""
        if len(self.groups) != 1 or self.counts.buffers:
            return None
        group, core = self.groups[0], self.groups[0].sum.core
        if self._world.size > 1 and (core is None or not self._world.comm):
            return None
        group.take_gradients(group.flat)
        try:
            return part.run_with_ranks(calls, batches, group.flat.values, core, *update)
        finally:
            group.take_gradients(group.flat)

    def pack_sums(self, losses: Sequence[Any]) -> None:
        """Write the sum of the parts' losses, and that each part has all gradients."""
        (group,) = self.groups
        numbers = group.flat.numbers
        along_tree([functools.partial(_core.copy, value, False) for value in losses], numbers[:1])
        flags = np.full(len(numbers) - 1, len(losses), group.dtype)
        put(keep(self._flags.setdefault((flags.tobytes(), group.dtype), flags)), numbers[1:], False)

    # --- between parts and ranks

    def empty(self, place: int) -> None:
        """What a part without samples adds."""
        for group in self.groups:
            values = group.place(place).values
            if place % 2:
                values += 0  # as where a rank adds it: -0 becomes 0
            else:
                values.fill(0)

    def add_pair(self, number: int, last: bool) -> None:
        """Add a pair of parts to those before it; number: among this rank's, from 0."""
        for group in self.groups:
            for lower, upper, out in group.additions(number, last):
                _core.add(lower, upper, out)

    def reduce(self) -> None:
        """Add the sums of all ranks; the results are the same everywhere."""
        for total in (self.counts.sum, *(group.sum for group in self.groups)):
            total.add()

    def accumulate(self, first: bool) -> None:
        """Add the sums of a batch to those of the batches before it that share its update."""
        for group in self.groups:
            if first:
                group.total.values[...] = group.flat.values
            else:
                np.add(group.total.values, group.flat.values, out=group.total.values)

    @property
    def loss(self) -> float:
        """The sum of the losses, each multiplied by its weight."""
        return float(self.groups[0].flat.numbers[0])

    # --- after the sums

    def take_gradients(self, accumulated: bool) -> None:
        """Make the sums the gradients of the parameters; None where no part has one."""
        for group in self.groups:
            group.take_gradients(group.total if accumulated else group.flat)

    def load_gradients(self, parameters: list[Any], gradients: list[Array | None]) -> None:
        """Restore the sums of the batches so far."""
        saved = {id(p): gradient for p, gradient in zip(parameters, gradients, strict=True)}
        for group in self.groups:
            for i, (p, view) in enumerate(zip(group.parameters, group.total.views)):  # noqa: B905
                gradient = saved[id(p)]
                group.total.numbers[1 + i] = gradient is not None
                view[...] = 0 if gradient is None else gradient
            group.take_gradients(group.total)

    def apply_changes(self, samples: Any) -> None:
        """Change the float buffers by the means of the parts; samples: of the batch. It is compiled."""
        for group in self.groups:
            number = _in(samples, group.dtype)
            for b, view in zip(group.buffers, group.changes, strict=True):
                _core.add(b._array, _core.div(view, number, None), b._array)
                bump(b)


class _Group:
    """Those parameters and buffers that have this dtype.

    flat: of a part or a pair of parts, then of the batch. aside: of a pair that waits for the next one.
    total: of several batches.
    """

    def __init__(
        self, world: World, deterministic: bool, parameters: list[Any], buffers: list[Any], dtype: Any
    ) -> None:
        self.parameters = [p for p in parameters if p._array.dtype == dtype]
        self.buffers, self.dtype = [b for b in buffers if b._array.dtype == dtype], dtype
        self.flat = self._new()
        self.sum = Sum(world, self.flat.values, CALL, deterministic)
        self.changes = self.flat.views[len(self.parameters) :]
        self._levels: list[Array] = []  # sums of 4, 8 ... parts that wait for their neighbours
        self._tensors: dict[int, list[Tensor]] = {}

    def _new(self) -> Flat:
        arrays = [t._array for t in (*self.parameters, *self.buffers)]
        return Flat(arrays, self.dtype, 1 + len(self.parameters))

    @functools.cached_property
    def aside(self) -> Flat:
        return self._new()

    def place(self, place: int) -> Flat:
        return self.flat if place > 1 else self.aside

    @functools.cached_property
    def total(self) -> Flat:
        return self._new()

    def additions(self, number: int, last: bool) -> list[tuple[Array, Array, Array]]:
        """What follows a pair of parts: lower, upper, and where their sum goes."""
        values, level, made = self.flat.values, 0, []
        while number & 1:
            waiting = self._levels[level - 1] if level else self.aside.values
            number, level = number >> 1, level + 1
            out = values
            if not last and not number & 1:  # it waits now
                if level > len(self._levels):
                    self._levels.append(np.empty_like(values))
                out = self._levels[level - 1]
            made.append((waiting, values, out))
        return made

    def take_gradients(self, sums: Flat) -> None:
        if id(sums) not in self._tensors:
            self._tensors[id(sums)] = [wrap(view) for view in sums.views[: len(self.parameters)]]
        tensors, flags = self._tensors[id(sums)], sums.numbers[1:]
        used = [True] * len(tensors) if flags.all() else flags.astype(bool).tolist()
        for p, tensor, is_used in zip(self.parameters, tensors, used, strict=True):
            p._grad = tensor if is_used else None


def put(values: Array | None, view: Array, added: bool) -> None:
    """Write values, or zeros for None, into a view, or add them."""
    if added:
        _core.add(view, 0.0 if values is None else values, view)
    elif values is None:
        _core.fill(view, 0.0)
    else:
        _core.copy(values, False, view)


def _in(array: Any, dtype: Any) -> Any:
    return array if array.dtype == dtype else cast(array, dtype)
