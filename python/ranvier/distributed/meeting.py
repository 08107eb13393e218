"""Where the parts of a batch meet within a pass: each gives numbers and gets the sum of all.

Without a Trainer, the batch of each rank is a part. A distributed Trainer sets the function for the time of a
part, since it may have several parts on a rank, and ranks without samples.
"""

from __future__ import annotations

import contextlib
from _thread import _local as local  # threading.local, without the time that importing threading takes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.recording import refuse
from ranvier.distributed.member import World
from ranvier.distributed.waiting import agree, complete
from ranvier.distributed.world import is_initialized, world

__all__ = ["Add", "Join", "along_tree", "compare", "current", "meeting", "of_ranks"]

Array = npt.NDArray[Any]
Add = Callable[[Array, Array], Array]  # rows of numbers and as many rows -> the sums of each pair
Join = Callable[[Array, Add], Array]  # the numbers of a part -> the sum over the parts of the batch
CALL = "SyncBatchNorm"
_TAG = 1  # apart from the messages of a reduction


class _Local(local):
    join: Join | None = None
    given = False


_local = _Local()


@contextlib.contextmanager
def meeting(join: Join | None) -> Iterator[None]:
    """Within the block, the parts of this thread meet by this function; None: there is one part."""
    before = _local.join, _local.given
    _local.join, _local.given = join, True
    try:
        yield
    finally:
        _local.join, _local.given = before


def current() -> Join | None:
    """The function by which this part meets the others, None where it is the only one."""
    if _local.given:
        return _local.join
    if not is_initialized() or world().size == 1:
        return None
    return _every_rank


def compare(about: str) -> None:
    """Compare a call of all ranks, unless a Trainer has set the function."""
    if not _local.given:
        agree(world(), CALL, about)


def _every_rank(values: Array, add: Add) -> Array:
    here = world()
    return along_tree(of_ranks(here, here.size, values[None]), add)


def along_tree(rows: Array, add: Add) -> Array:
    """Neighbouring rows are added, then neighbouring pairs ...; a last row without neighbour waits."""
    while len(rows) > 1:
        pairs = len(rows) // 2 * 2
        rows = np.concatenate([add(rows[0:pairs:2], rows[1:pairs:2]), rows[pairs:]])
    found: Array = rows[0]
    return found


def of_ranks(here: World, ranks: int, rows: Array) -> Array:
    """The rows of the first `ranks` ranks, which all make this call with rows of the same shape."""
    refuse(f"{CALL} exchanges statistics", "call it outside the compiled step, or use Trainer")
    if ranks == 1:
        return rows
    found = np.empty((ranks, *rows.shape), rows.dtype)
    if ranks == here.size:
        requests = [here.comm.Iallgather(np.ascontiguousarray(rows), found)]
    else:
        found[here.rank] = rows
        others = [other for other in range(ranks) if other != here.rank]
        requests = [here.comm.Irecv(found[other], other, _TAG) for other in others]
        requests += [here.comm.Isend(found[here.rank], other, _TAG) for other in others]
    complete(here, requests, CALL)
    return found.reshape(-1, *rows.shape[1:])
