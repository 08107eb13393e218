"""The sum of an array over ranks along one binary tree, with the same bits at any power of two of ranks.

Rank r has the sum of a subtree: pairs are ranks r and r ^ 1, then groups of two, of four ... Every element is
added in this order, lower rank + upper rank. In step d, a rank sends one half of its part to the rank at
distance 2^d and adds the other half (recursive halving). Then the parts are exchanged in the opposite order
(recursive doubling). A small array is exchanged whole, which takes half as many messages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.distributed.member import World
from ranvier.distributed.waiting import complete

__all__ = ["tree_sum"]

Array = npt.NDArray[Any]
_SMALL = 4096  # bytes
_TAG = 0  # mpi4py receives messages of any tag unless it is given


def tree_sum(world: World, values: Array, spare: Array, call: str) -> None:
    """Replace `values` by its sum over all ranks; both arrays are contiguous, `spare` is overwritten.

    The number of ranks is a power of two.
    """
    if world.size == 1:
        return
    if values.nbytes <= _SMALL:
        _whole(world, values, spare, call)
    else:
        _halves(world, values, spare, call)


def _whole(world: World, values: Array, spare: Array, call: str) -> None:
    distance = 1
    while distance < world.size:
        other = world.rank ^ distance
        _exchange(world, other, values, spare, call)
        _add(values, spare, values, world.rank < other)
        distance *= 2


def _halves(world: World, values: Array, spare: Array, call: str) -> None:
    first, end = 0, len(values)
    steps = []
    distance = 1
    while distance < world.size:
        other, middle = world.rank ^ distance, (first + end) // 2
        lower = world.rank < other
        keep, give = (slice(first, middle), slice(middle, end))[:: 1 if lower else -1]
        steps.append((other, keep, give))
        _exchange(world, other, values[give], spare[keep], call)
        _add(values[keep], spare[keep], values[keep], lower)
        first, end = keep.start, keep.stop
        distance *= 2
    for other, keep, give in reversed(steps):
        _exchange(world, other, values[keep], values[give], call)


def _add(ours: Array, theirs: Array, out: Array, lower: bool) -> None:
    add = _core.add if ours.dtype.char in "fd" else np.add
    if lower:
        add(ours, theirs, out)
    else:
        add(theirs, ours, out)


def _exchange(world: World, other: int, give: Array, into: Array, call: str) -> None:
    """Send to another rank and receive from it."""
    complete(world, [world.comm.Irecv(into, other, _TAG), world.comm.Isend(give, other, _TAG)], call, other)
