"""Exchange: loss, gradients and changed buffers of the parts of a batch, added over parts and ranks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.autograd import Tensor, bump, wrap
from ranvier.autograd.memory import cast, keep
from ranvier.distributed.collectives import mpi_reduce
from ranvier.distributed.counts import Counts
from ranvier.distributed.flat import Flat
from ranvier.distributed.member import World
from ranvier.distributed.tree import tree_sum

__all__ = ["Exchange", "put"]

Array = npt.NDArray[Any]
CALL = "Trainer.fit"


class Exchange:
    """Flat buffers, one for each dtype: the loss, a number for each parameter (how many parts have a gradient
    for it), the gradients, and the changes of the buffers that forward passes have made.

    Integer buffers have messages of their own (`Counts`).
    """

    def __init__(self, world: World, parameters: list[Any], buffers: list[Any], deterministic: bool) -> None:
        self._world, self._deterministic = world, deterministic
        self._flags: dict[Any, Array] = {}
        self.parameters = parameters
        floats = [b for b in buffers if b._array.dtype.char in "fd"]
        self.groups = [
            _Group(
                [p for p in parameters if p._array.dtype == dtype],
                [b for b in floats if b._array.dtype == dtype],
                dtype,
            )
            for dtype in {t._array.dtype: None for t in (*parameters, *floats)}
        ]
        self.counts = Counts([b for b in buffers if b._array.dtype.kind in "iub"], CALL)
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
                _restore(b, old)
            for values, view in zip(made, flat.views, strict=True):
                put(values, view, added)

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
            group.add_pair(number, last)

    def reduce(self) -> None:
        """Add the sums of all ranks; the results are the same everywhere."""
        self.counts.reduce(self._world, self._deterministic)
        for group in self.groups:
            values = group.flat.values
            if self._world.size == 1:
                continue
            if self._deterministic:
                tree_sum(self._world, values, group.spare(), CALL)
            else:
                mpi_reduce(self._world, values, "sum", CALL)

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

    def drop_gradients(self) -> None:
        for group in self.groups:
            for p in group.parameters:
                p._grad = None

    def apply_changes(self, samples: Any) -> None:
        """Change the float buffers by the means of the parts; samples: of the batch. It is compiled."""
        for group in self.groups:
            number = _in(samples, group.dtype)
            for b, view in zip(group.buffers, group.changes, strict=True):
                _core.add(b._array, _core.div(view, number, None), b._array)
                bump(b)


class _Group:
    """The parameters and buffers of one dtype.

    flat: of a part or a pair of parts, then of the batch. aside: of a pair that waits for the next one.
    total: of several batches.
    """

    def __init__(self, parameters: list[Any], buffers: list[Any], dtype: Any) -> None:
        self.parameters, self.buffers, self.dtype = parameters, buffers, dtype
        self.flat = self._new()
        self.changes = self.flat.views[len(parameters) :]
        self._levels: list[Array] = []  # sums of 4, 8 ... parts that wait for their neighbours
        self._spare: Array | None = None
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

    def spare(self) -> Array:
        if self._spare is None:
            self._spare = np.empty_like(self.flat.values)
        return self._spare

    def add_pair(self, number: int, last: bool) -> None:
        values, level = self.flat.values, 0
        while number & 1:
            waiting = self._levels[level - 1] if level else self.aside.values
            number, level = number >> 1, level + 1
            out = values
            if not last and not number & 1:  # it waits now
                if level > len(self._levels):
                    self._levels.append(np.empty_like(values))
                out = self._levels[level - 1]
            _core.add(waiting, values, out)

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


def _restore(buffer: Any, values: Array) -> None:
    _core.copy(values, False, buffer._array)
    bump(buffer)
