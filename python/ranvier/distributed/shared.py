"""The sum over ranks of a vector that each of them has: ranks of one host add in memory that they share.

A rank writes its terms to a row of this memory and reads those of the others there; they meet by numbers in
the same memory (`cpp/bindings/rank_sum.cpp`). Between hosts, the first rank of each sends messages. Where a
host gives no memory, as with ranks in separate containers, all is sent.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import Array, keep
from ranvier.distributed.collectives import gather_objects, mpi_reduce, tree_sum
from ranvier.distributed.ranks import World, agree, complete

__all__ = ["Sum", "aligned"]

_PAGE, _LINE = 4096, 64
_NAME = 16  # bytes by which ranks know that they have the same memory
_PLACE = 32  # where they are: in the line of the first rank, behind its numbers


class Sum:
    """The sum of a vector over all ranks, which all make these calls: it replaces the vector.

    Attributes:
        core: the sum in shared memory, where no messages are needed; else None.
    """

    def __init__(self, world: World, values: Array, call: str, deterministic: bool = True) -> None:
        self._world, self._values, self._call = world, values, call
        agree(world, call, f"with {values.size} numbers of {values.dtype} to add")
        self._deterministic = deterministic and not world.size & (world.size - 1)
        adds = world.host and values.size and values.dtype.char in "fd"
        shared = _shared(world, values.nbytes, call) if adds else None
        self._shared = None
        if shared is not None:
            marks, rows = shared

            def wait(place: int, kind: int, number: int) -> None:
                """Wait, as for a message, for a rank of this host that has not come for a while."""
                complete(world, [], call, world.host[place], lambda: marks[place, kind] >= number)

            place = world.host.index(world.rank)
            self._shared = _core.RankSum(values, rows.view(values.dtype), marks, place, wait)
        self._distance = 1 if self._shared is None else len(world.host)  # of ranks that send messages
        self._sends = values.size > 0 and world.size > self._distance
        self._spare = np.empty_like(values) if self._sends else values
        self.core = None if self._sends else self._shared

    def add(self) -> None:
        world, values, shared = self._world, self._values, self._shared
        if shared is not None and world.comm:
            shared.add()
        if not self._sends:
            return
        if shared is None and not self._deterministic:
            mpi_reduce(world, values, "sum", self._call)
        elif world.rank % self._distance == 0:  # the first rank of its host
            tree_sum(world, values, self._spare, self._call, self._distance)
        if shared is not None:
            shared.spread()


def aligned(count: int, dtype: Any) -> Array:
    """Zeros that begin at a cache line."""
    size = count * np.dtype(dtype).itemsize
    whole = np.zeros(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return keep(whole)[start : start + size].view(dtype)


def _shared(world: World, size: int, call: str) -> tuple[Array, Array] | None:
    """Eight numbers and a row of so many bytes for each rank of this host; None where a rank has no memory.

    The memory has no name, so that nothing is left of it where ranks are killed. The first rank makes it, and
    the others open it as a file of that process.
    """
    first, name, memory, file, ranks = world.host[0], os.urandom(_NAME), None, -1, len(world.host)
    head, stride = (max(-(-n // _PAGE), 1) * _PAGE for n in (ranks * _LINE, size))
    if world.rank == first and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            file = os.memfd_create("ranvier")
            os.ftruncate(file, head + stride * ranks)
            os.pwrite(file, name, _PLACE)
    process, theirs, expected = gather_objects((os.getpid(), file, name), call, world)[first]
    path = f"/proc/{process}/fd/{theirs}"  # of another process where ranks do not see each other's
    with contextlib.suppress(OSError):
        if file < 0 <= theirs and "memfd:ranvier" in os.readlink(path):
            file = os.open(path, os.O_RDWR)
        if os.pread(file, _NAME, _PLACE) == expected:
            os.posix_fallocate(file, head + world.host.index(world.rank) * stride, stride)
            memory = mmap.mmap(file, head + stride * ranks)
    ready = gather_objects(memory is not None, call, world)
    if file >= 0:
        os.close(file)
    if memory is None or not all(ready):
        return None
    whole = np.frombuffer(memory, np.uint8)
    marks = whole[: ranks * _LINE].view(np.int64).reshape(ranks, -1)
    return marks, whole[head:].reshape(ranks, stride)[:, :size]
