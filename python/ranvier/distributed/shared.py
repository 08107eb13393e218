"""The sum over ranks of a vector that each of them has: ranks of one host add in memory that they share.

A rank writes its terms to a row of this memory and reads those of the others there; they meet by numbers in
the same memory (`cpp/bindings/rank_sum.cpp`). Between hosts, the first rank of each sends messages. Where a
host gives no memory, as with ranks in separate containers, all is sent.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.autograd.memory import keep
from ranvier.distributed.collectives import gather_objects, mpi_reduce, tree_sum
from ranvier.distributed.ranks import World, complete

__all__ = ["Sum", "aligned"]

Array = npt.NDArray[Any]
_PAGE, _LINE = 4096, 64
_NAME = 16  # bytes by which ranks know that they have the same memory
_PLACE = 32  # where they are: in the line of the first rank, behind its numbers


class Sum:
    """A vector of float32 or float64, and its sum over all ranks, which all make these calls.

    Attributes:
        values: the terms of this rank, zeros at first.
        total: the sum; the same array where there is one rank, or all is sent.
        core: the sum in shared memory, where no messages are needed; else None.
    """

    def __init__(self, world: World, count: int, dtype: Any, call: str, deterministic: bool = True) -> None:
        self._world, self._call = world, call
        self._deterministic = deterministic and not world.size & (world.size - 1)
        self._shared: Any = None
        self.values = self.total = aligned(count, dtype)
        if world.host and count:
            self._share(world, call)
        self._spare = np.empty_like(self.total) if world.hosts > 1 else self.total
        self.core = self._shared if world.hosts == 1 else None

    def _share(self, world: World, call: str) -> None:
        ranks, place, size = len(world.host), world.rank - world.host[0], self.total.nbytes
        head, stride = (-(-n // _PAGE) * _PAGE for n in (ranks * _LINE, size))
        shared = _shared(world, head, stride, call)
        if shared is not None:
            marks = shared[: ranks * _LINE].view(np.int64).reshape(ranks, -1)
            rows = shared[head:].reshape(ranks, stride)[:, :size].view(self.total.dtype)
            self.values = rows[place]
            wait = functools.partial(_wait, world, call, marks)
            self._shared = _core.RankSum(rows, marks, self.total, place, wait)

    def begin(self) -> None:
        """Before the terms change: wait until the other ranks have read the last ones."""
        if self._shared is not None and self._world.comm:
            self._shared.begin()

    def add(self) -> None:
        """Make `total` the sum."""
        world, total, leads = self._world, self.total, True
        if self._shared is not None and world.comm:
            self._shared.add()
            leads = world.rank == world.host[0]
        if leads and world.hosts > 1:
            if self._deterministic or self._shared is not None:
                tree_sum(world, total, self._spare, self._call, max(len(world.host), 1))
            else:
                mpi_reduce(world, total, "sum", self._call)
        if self._shared is not None and world.hosts > 1:
            self._shared.spread()


def _wait(world: World, call: str, marks: Array, place: int, kind: int, number: int) -> None:
    """Wait for a rank of this host that has not come for a while, as for a message."""
    complete(world, [], call, world.host[place], lambda: marks[place, kind] >= number)


def aligned(count: int, dtype: Any) -> Array:
    """Zeros that begin at a cache line."""
    size = count * np.dtype(dtype).itemsize
    whole = np.zeros(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return keep(whole)[start : start + size].view(dtype)


def _shared(world: World, head: int, stride: int, call: str) -> Array | None:
    """Zeros: so many bytes, and a row for each rank of this host; None where a rank cannot have them.

    The memory has no name, so that nothing is left of it where ranks are killed. The first rank makes it, and
    the others open it as a file of that process.
    """
    first, name, memory, file = world.host[0], os.urandom(_NAME), None, -1
    size = head + stride * len(world.host)
    if world.rank == first and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            file = os.memfd_create("ranvier")
            os.ftruncate(file, size)
            os.pwrite(file, name, _PLACE)
    process, theirs, expected = gather_objects((os.getpid(), file, name), call, world)[first]
    with contextlib.suppress(OSError):
        if file < 0 <= theirs:
            file = os.open(f"/proc/{process}/fd/{theirs}", os.O_RDWR)
        os.posix_fallocate(file, head + (world.rank - first) * stride, stride)
        if os.pread(file, _NAME, _PLACE) == expected:
            memory = mmap.mmap(file, size)
    ready = gather_objects(memory is not None, call, world)
    if file >= 0:
        os.close(file)
    return np.frombuffer(memory, np.uint8) if memory is not None and all(ready) else None
