"""Counts: the changes of integer buffers, added over parts and ranks without rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.autograd import bump
from ranvier.distributed.collectives import mpi_reduce
from ranvier.distributed.flat import Flat
from ranvier.distributed.member import World
from ranvier.distributed.tree import tree_sum

__all__ = ["Counts"]

Array = npt.NDArray[Any]
INT64 = np.dtype(np.int64)


class Counts:
    """Integer buffers (and bools, as 0 and 1), each of which is changed by the mean of the parts' changes, to
    the nearest integer, half to even.

    The changes are multiplied by the number of samples and added in int64, in NumPy, between the compiled
    parts.
    """

    def __init__(self, buffers: list[Any], call: str) -> None:
        self.buffers, self._call = buffers, call
        arrays = [b._array for b in buffers]
        self._old, self._new = Flat(arrays, INT64), Flat(arrays, INT64)
        self._sums = Flat(arrays, INT64)
        self._spare = np.empty_like(self._sums.values)

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
        """Add the changes of a part; samples: of the part, total: of the batch.

        Raises:
            ValueError: a change so large that the sums could overflow.
        """
        if not self.buffers:
            return
        old, new = self._old.values, self._new.values
        if (np.abs(new.astype(float) - old) > (2**63 - 1) // total).any():
            raise ValueError(
                f"[{self._call}] got an integer buffer that a forward pass has changed by more than 2**63 / "
                f"{total} (the samples of a batch); expected smaller changes"
            )
        self._sums.values += (new - old) * samples

    def reduce(self, world: World, deterministic: bool) -> None:
        if world.size == 1 or not self.buffers:
            return
        if deterministic:
            tree_sum(world, self._sums.values, self._spare, self._call)
        else:
            mpi_reduce(world, self._sums.values, "sum", self._call)

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
