"""Collective calls on arrays: every rank makes them, in the same order and with the same shapes.

Before each exchange the ranks compare their calls (`ranks.agree`). If another rank does not make the call, or
makes it with another shape, the error names the calls.

`tree_sum` adds arrays of a power of two of ranks along a binary tree: ranks 2i and 2i + 1 are added, then
neighbouring pairs, then neighbouring groups of four ..., each time lower ranks + upper ranks. Every element
is added in this order. In step d (from 0) rank r exchanges with rank r ^ 2^d: it sends one half of its
elements and adds what it receives to the other half (recursive halving). Afterwards the sums are exchanged in
the opposite order (recursive doubling). A small array is exchanged whole, which takes half as many messages.
"""

from __future__ import annotations

import hashlib
import importlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.distributed.job import limit_of, world
from ranvier.distributed.ranks import World, agree, complete, neighbours, typed
from ranvier.tensors.memory import HALVES, Array
from ranvier.train.descriptions import difference

_SMALL = 4096  # Arrays of at most this many bytes are exchanged whole in each step of `tree_sum`.
_TAG = 0  # of the messages of `tree_sum`; without a tag mpi4py would receive any message


def tree_sum(world: World, values: Array, spare: Array, call: str, distance: int = 1) -> None:
    """Replace `values` (one-dimensional) by its sum over ranks; `spare`, of the same size, is overwritten.

    Both arrays are contiguous, and the number of ranks is a power of two. Only ranks that are multiples of
    `distance` take part and call this. call: names the call in errors.
    """
    # This rank adds the elements first .. end - 1 in the current step.
    first = 0
    end = len(values)
    steps = []
    add = _core.add if values.dtype.char in "fd" else np.add
    while distance < world.size:
        other = world.rank ^ distance
        middle = (first + end) // 2
        # The lower rank of both keeps the lower half. Each adds the lower rank's numbers first.
        in_order = 1 if world.rank < other else -1
        keep, give = (slice(first, middle), slice(middle, end))[::in_order]
        if values.nbytes <= _SMALL:
            keep = give = slice(first, end)
        else:
            steps.append((other, keep, give))
        _exchange(world, other, values[give], spare[keep], call)
        lower, upper = (values[keep], spare[keep])[::in_order]
        add(lower, upper, values[keep])
        first = keep.start
        end = keep.stop
        distance *= 2
    for other, keep, give in reversed(steps):
        _exchange(world, other, values[keep], values[give], call)


def _exchange(world: World, other: int, give: Array, into: Array, call: str) -> None:
    """Send `give` to the rank `other`, and receive `into` from it."""
    give = typed(give)
    into = typed(into)
    complete(world, [world.comm.Irecv(into, other, _TAG), world.comm.Isend(give, other, _TAG)], call, other)


REDUCTIONS = {  # operation -> its name in MPI, and the kinds of dtypes (NumPy's letters) that have it
    "sum": ("SUM", "biufc"), "product": ("PROD", "biufc"), "min": ("MIN", "biuf"), "max": ("MAX", "biuf"),
    "band": ("BAND", "biu"), "bor": ("BOR", "biu"), "bxor": ("BXOR", "biu"), "avg": ("SUM", "fc"),
}  # fmt: skip


def new_group(ranks: list[int] | None, timeout: timedelta | float | None = None) -> World | None:
    """The World of some ranks of the job; None on the other ranks. Every rank of the job calls it."""
    here = world()
    if timeout is None:
        seconds = here.timeout
    else:
        seconds = limit_of("new_group", timeout)
    if ranks is None:
        chosen = [*range(here.size)]
    else:
        chosen = sorted(map(operator.index, ranks))
    if not chosen or len({*chosen}) < len(chosen) or not 0 <= chosen[0] <= chosen[-1] < here.size:
        raise ValueError(f"[new_group] got ranks {ranks}; expected different ranks, 0 to {here.size - 1}")
    agree(here, "new_group", f"of {chosen}")
    color = 0 if here.rank in chosen else _mpi().UNDEFINED
    if here.size == 1:
        comm = None
    else:
        comm = here.comm.Split(color, here.rank)
    if here.rank not in chosen:
        return None
    here = replace(here, rank=chosen.index(here.rank), size=len(chosen), connection=comm, timeout=seconds)
    if comm is None:
        host: tuple[int, ...] = ()
    else:
        host = neighbours(comm, comm.Split_type(_mpi().COMM_TYPE_SHARED))
    return replace(here, ranks=tuple(chosen), host=host)


def barrier(here: World | None = None) -> None:
    """Wait until every rank is here."""
    agree(here or world(), "barrier")


def all_reduce(values: Array, op: str, here: World) -> None:
    """Replace a contiguous array by its sum (product, mean ...) over all ranks."""
    if here.size == 1:
        return
    agree(here, "all_reduce", f"of {values.dtype} {values.shape} {op}")
    flat = values.reshape(-1)
    if op in ("sum", "avg") and not here.size & (here.size - 1):
        tree_sum(here, flat, np.empty_like(flat), "all_reduce")
    else:
        mpi_reduce(here, flat, op, "all_reduce")
    if op == "avg":
        np.divide(flat, here.size, out=flat)


def mpi_reduce(here: World, flat: Array, op: str, call: str) -> None:
    """MPI's own reduction, in place. Its order of additions depends on the number of ranks; op "avg" sums.

    The sum and the maximum of bools is "any". If one rank has NaN, it is the minimum and the maximum, as in
    NumPy; MPI leaves this open, so the places with NaN are reduced as well.
    """
    if flat.dtype == bool:
        flat = flat.view(np.uint8)
        op = {"sum": "max", "product": "min"}.get(op, op)
    wide = flat.astype(np.float32) if flat.dtype in HALVES else flat
    if op in ("min", "max") and wide.dtype.kind == "f":
        missing = np.isnan(wide).view(np.uint8)
    else:
        missing = None
    mpi = _mpi()
    requests = [here.comm.Iallreduce(mpi.IN_PLACE, wide, getattr(mpi, REDUCTIONS[op][0]))]
    if missing is not None:
        requests.append(here.comm.Iallreduce(mpi.IN_PLACE, missing, mpi.MAX))
    complete(here, requests, call)
    if missing is not None:
        wide[missing.view(bool)] = np.nan
    if wide is not flat:
        flat[...] = wide


def broadcast(values: Array, source: int, here: World) -> None:
    """Replace a contiguous array by that of the rank `source`."""
    if here.size > 1:
        agree(here, "broadcast", f"of {values.dtype} {values.shape} from {source}")
        complete(here, [here.comm.Ibcast(typed(values), source)], "broadcast")


def all_gather(values: Array, here: World) -> Array:
    """The arrays of all ranks, which have one shape and dtype, along a new first axis."""
    if here.size == 1:
        return values[None]
    agree(here, "all_gather", f"of {values.dtype} {values.shape}")
    ours = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    of_ranks = np.empty((here.size, ours.size), np.uint8)
    complete(here, [here.comm.Iallgather(ours, of_ranks)], "all_gather")
    return of_ranks.view(values.dtype).reshape(here.size, *values.shape)


def gather_objects(thing: Any, name: str = "all_gather_object", here: World | None = None) -> list[Any]:
    """The objects of all ranks, in their order; they are pickled. name: the name of the call, for errors."""
    import pickle

    here = here or world()
    if here.size == 1:
        return [thing]
    ours = np.frombuffer(pickle.dumps(thing), np.uint8)
    sizes = np.zeros(here.size, np.int64)
    agree(here, name)
    complete(here, [here.comm.Iallgather(np.array([ours.size]), sizes)], name)
    ends = np.cumsum(sizes)
    whole = np.empty(ends[-1], np.uint8)
    parts = [whole, sizes.tolist(), (ends - sizes).tolist(), _mpi().BYTE]
    complete(here, [here.comm.Iallgatherv(ours, parts)], name)
    return [pickle.loads(part.tobytes()) for part in np.split(whole, ends[:-1])]


def _mpi() -> Any:
    return importlib.import_module("mpi4py.MPI")


def of_first(thing: Any, name: str) -> Any:
    """The object that rank 0 passes, on all ranks. name: the name of the call, for errors."""
    here = world()
    ours = thing if here.rank == 0 else None
    return gather_objects(ours, name)[0]


def require_equal(of_ranks: Sequence[dict[str, Any]], call: str, what: str) -> None:
    """Raise ValueError, with the first difference, unless all entries are equal.

    of_ranks: one for each rank.
    """
    for rank, theirs in enumerate(of_ranks):
        if theirs != of_ranks[0]:
            raise ValueError(
                f"[{call}] got different {what}, rank {rank} there and rank 0 here: "
                f"{difference(theirs, of_ranks[0])}; expected the same on every rank, in callbacks too"
            )


_ROWS = 1 << 22  # bytes of rows that are hashed at once; they are copied if the array is not contiguous


def mark(*values: Any) -> str:
    """A hash of numbers, text, arrays and containers of these; of any other object, of its class."""
    digest = hashlib.sha256()
    _digest(digest, values)
    return digest.hexdigest()[:16]


def _digest(digest: Any, value: Any) -> None:
    array = getattr(value, "_array", value)
    if isinstance(array, np.ndarray):
        digest.update(f"{array.dtype}{array.shape}".encode())
        if array.dtype.kind in "OV":
            _digest(digest, array.tolist())
        elif array.size:
            rows = np.atleast_1d(array)
            step = max(1, _ROWS // max(1, rows[:1].nbytes))
            for first in range(0, len(rows), step):
                digest.update(b"%d " % _core.checksum(np.ascontiguousarray(rows[first : first + step])))
    elif isinstance(value, (list, tuple, Mapping)):
        digest.update(f"{len(value)}[".encode())
        entries = value.items() if isinstance(value, Mapping) else value
        for inner in entries:
            _digest(digest, inner)
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        digest.update(f"{value!r};".encode())
    else:
        digest.update(type(value).__qualname__.encode())


def with_marks(value: Any) -> Any:
    """Nested values with hashes (`mark`) in place of arrays: short enough to be sent and shown."""
    if isinstance(value, Mapping):
        return {key: with_marks(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [*map(with_marks, value)]
    if isinstance(getattr(value, "_array", value), np.ndarray):
        return mark(value)
    return value
