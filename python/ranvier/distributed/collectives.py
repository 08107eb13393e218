"""Collective calls on arrays: every rank makes them, in the same order and with the same shapes.

Before each exchange the ranks compare their calls. So a call that another rank does not make, or makes with
another shape, is an error that names the calls.
"""

from __future__ import annotations

import importlib
import operator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.distributed.member import World
from ranvier.distributed.tree import tree_sum
from ranvier.distributed.waiting import agree, complete
from ranvier.distributed.world import limit_of, world

__all__ = [
    "REDUCTIONS",
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "gather_objects",
    "mpi_reduce",
    "new_group",
    "of_first",
]

Array = npt.NDArray[Any]
REDUCTIONS = {"sum": "SUM", "product": "PROD", "min": "MIN", "max": "MAX"}


def _described(array: Array) -> str:
    return f"of {array.dtype} {array.shape}"


def new_group(ranks: list[int] | None, timeout: float | None = None) -> World | None:
    """Some ranks of the job, in ascending order; None on the others. Every rank of the job calls it."""
    here = world()
    seconds = here.timeout if timeout is None else limit_of("new_group", timeout)
    chosen = sorted(range(here.size) if ranks is None else map(operator.index, ranks))
    if not chosen or len({*chosen}) < len(chosen) or not 0 <= chosen[0] <= chosen[-1] < here.size:
        raise ValueError(f"[new_group] got ranks {ranks}; expected different ranks, 0 to {here.size - 1}")
    comm = None
    if here.size > 1:
        agree(here, "new_group", f"of {chosen}")
        comm = here.comm.Split(0 if here.rank in chosen else _mpi().UNDEFINED, here.rank)
    if here.rank not in chosen:
        return None
    place = chosen.index(here.rank)
    return replace(here, rank=place, size=len(chosen), connection=comm, timeout=seconds, ranks=tuple(chosen))


def barrier(here: World | None = None) -> None:
    """Wait until every rank is here."""
    here = here or world()
    if here.size > 1:
        agree(here, "barrier")


def all_reduce(values: Array, op: str = "sum", deterministic: bool = True, here: World | None = None) -> None:
    """Replace a contiguous array by its sum (product, min, max) over all ranks.

    deterministic: a sum over a power of two of ranks is added along one tree, otherwise as MPI adds.
    """
    here = here or world()
    if here.size == 1:
        return
    agree(here, "all_reduce", f"{_described(values)} {op}")
    flat = values.reshape(-1)
    if op == "sum" and deterministic and not here.size & (here.size - 1):
        tree_sum(here, flat, np.empty_like(flat), "all_reduce")
    else:
        mpi_reduce(here, flat, op, "all_reduce")


def mpi_reduce(here: World, flat: Array, op: str, call: str) -> None:
    """MPI's own reduction in place, whose order of additions depends on the number of ranks.

    The sum and maximum of bools is "any". NaN of one rank is the minimum and the maximum, as in NumPy.
    """
    if flat.dtype == bool:
        flat, op = flat.view(np.uint8), "max" if op in ("sum", "max") else "min"
    wide = flat.astype(np.float32) if flat.dtype == np.float16 else flat
    missing = np.isnan(wide).view(np.uint8) if op in ("min", "max") and wide.dtype.kind == "f" else None
    mpi = _mpi()
    requests = [here.comm.Iallreduce(mpi.IN_PLACE, wide, getattr(mpi, REDUCTIONS[op]))]
    if missing is not None:
        requests.append(here.comm.Iallreduce(mpi.IN_PLACE, missing, mpi.MAX))
    complete(here, requests, call)
    if missing is not None:
        wide[missing.view(bool)] = np.nan
    if wide is not flat:
        flat[...] = wide


def broadcast(values: Array, source: int = 0, here: World | None = None) -> None:
    """Replace a contiguous array by that of the rank `source`."""
    here, source = here or world(), operator.index(source)
    if not 0 <= source < here.size:
        raise ValueError(f"[broadcast] got source {source}; expected a rank, 0 to {here.size - 1}")
    if here.size > 1:
        agree(here, "broadcast", f"{_described(values)} from {source}")
        complete(here, [here.comm.Ibcast(values, source)], "broadcast")


def all_gather(values: Array, name: str = "all_gather", here: World | None = None) -> list[Array]:
    """The arrays of all ranks, which may differ in their length; the other dimensions are the same."""
    here = here or world()
    if here.size == 1:
        return [values]
    agree(here, name, "" if name != "all_gather" else f"of {values.dtype} {('n', *values.shape[1:])}")
    values = np.ascontiguousarray(values)
    lengths = np.zeros(here.size, np.int64)
    complete(here, [here.comm.Iallgather(np.array([len(values)]), lengths)], name)
    sizes = lengths * int(np.prod(values.shape[1:], dtype=np.int64)) * values.itemsize
    ends = np.cumsum(sizes)
    starts = ends - sizes
    gathered = np.empty(int(ends[-1]), np.uint8)
    whole = [gathered, sizes.tolist(), starts.tolist(), _mpi().BYTE]
    complete(here, [here.comm.Iallgatherv(values.reshape(-1).view(np.uint8), whole)], name)
    return [
        gathered[start:end].view(values.dtype).reshape(-1, *values.shape[1:])
        for start, end in zip(starts, ends, strict=True)
    ]


def _mpi() -> Any:
    return importlib.import_module("mpi4py.MPI")


def gather_objects(thing: Any, name: str = "all_gather_object", here: World | None = None) -> list[Any]:
    """The objects of all ranks, which can be pickled."""
    import pickle

    if (here or world()).size == 1:
        return [thing]
    parts = all_gather(np.frombuffer(pickle.dumps(thing), np.uint8), name, here)
    return [pickle.loads(part.tobytes()) for part in parts]


def of_first(thing: Any, name: str) -> Any:
    """The object of rank 0."""
    here = world()
    return gather_objects(thing if here.rank == 0 else None, name)[0]
