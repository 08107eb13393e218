"""PyTorch's torch.distributed, on MPI: the processes that `mpirun` started, and collective calls on tensors.

`mpirun -n 4 python program.py` starts four processes; :func:`init` connects them. A process is called a rank,
and its number too. In a process that no launcher started, the rank is 0 and the size is 1, MPI is not
imported, and every call returns at once. The calls check their arguments here; `collectives.py` and
`messages.py` exchange data.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.distributed.collectives as collectives
import ranvier.distributed.job as job
from ranvier.distributed.job import is_initialized as is_initialized, world
from ranvier.distributed.messages import (
    GroupMember,
    Work,
    all_gather_object,
    array_of,
    broadcast_object_list,
    gather_object,
    in_place,
    irecv,
    isend,
    member,
    put,
    recv,
    require_like,
    require_list,
    scatter_object_list,
    send,
    writable,
)
from ranvier.distributed.parallel import (
    DistributedDataParallel as DistributedDataParallel,
    DistributedSampler as DistributedSampler,
)
from ranvier.distributed.ranks import World

if TYPE_CHECKING:
    from datetime import timedelta

    from ranvier.autograd import Tensor
    from ranvier.distributed.messages import Group
    from ranvier.tensors.memory import Array

__all__ = [
    "DistributedDataParallel", "DistributedSampler", "GroupMember", "ReduceOp", "Work", "all_gather",
    "all_gather_object", "all_reduce", "barrier", "broadcast", "broadcast_object_list",
    "destroy_process_group", "gather", "gather_object", "get_backend", "get_process_group_ranks", "get_rank",
    "get_world_size", "group", "init", "init_process_group", "irecv", "is_available", "is_initialized",
    "isend", "new_group", "rank", "recv", "reduce", "reduce_scatter", "scatter", "scatter_object_list",
    "send", "size",
]  # fmt: skip


class ReduceOp:
    """The operations of :func:`all_reduce`, as in PyTorch."""

    SUM = "sum"
    PRODUCT = "product"
    MIN = "min"
    MAX = "max"
    AVG = "avg"
    # operations on the bits of integers, and on bools
    BAND = "band"
    BOR = "bor"
    BXOR = "bxor"
    RedOpType = str  # the type of each operation


class group(GroupMember):
    """PyTorch's groups of processes: `WORLD` is that of all ranks, :func:`new_group` makes others."""

    WORLD = None


def is_available() -> bool:
    """True: the calls work in one process; several need mpi4py, and a start by `mpirun`."""
    return True


def init(timeout: timedelta | float | None = None) -> None:
    """Connects the processes that `mpirun` started; without a launcher there is one. Later calls do nothing.

    The ranks of a host share its cores: each is kept on its part and uses one thread for each core, unless
    OMP_NUM_THREADS or :func:`ranvier.set_num_threads` has set the threads. From here on, an exception that
    ends one rank ends the job.

    timeout: seconds that a call waits for other ranks before it raises TimeoutError; 60, or RANVIER_TIMEOUT.
    Raises ImportError without mpi4py; RuntimeError where MPI connects another number of processes than the
    launcher, WORLD_SIZE (torchrun, Kubernetes) or SLURM_NTASKS states.

    >>> import ranvier as rv
    >>> rv.distributed.init()
    >>> rv.distributed.rank(), rv.distributed.size()
    (0, 1)
    """
    job.init(timeout)


def rank() -> int:
    """The number of this process, from 0; calls :func:`init`."""
    return world().rank


def size() -> int:
    """The number of processes; calls :func:`init`."""
    return world().size


def get_rank(group: Any = None) -> int:
    """The number of this process, within a group if one is given: -1 outside it."""
    if group == GroupMember.NON_GROUP_MEMBER:
        return -1
    return (group or world()).rank


def get_world_size(group: Any = None) -> int:
    """The number of processes, of a group if one is given: -1 outside it."""
    if group == GroupMember.NON_GROUP_MEMBER:
        return -1
    return (group or world()).size


def get_backend(group: Any = None) -> str:
    """ "gloo" if :func:`init_process_group` was asked for it, else "mpi", through which both go.

    Raises ValueError outside the group."""
    if group == GroupMember.NON_GROUP_MEMBER:
        raise ValueError(f"[get_backend] got a group without rank {world().rank}; expected one with it")
    return str(job.chosen.backend)


def new_group(
    ranks: Sequence[int] | None = None, timeout: timedelta | float | None = None, *args: Any, **settings: Any
) -> Any:
    """A group of some ranks, for the argument `group` of the other calls. Every rank calls it.

    Within the group, ranks are numbered from 0 in ascending order; `src` and `dst` of calls are numbers of
    the whole job, as in PyTorch. A rank outside the group gets GroupMember.NON_GROUP_MEMBER; calls with it do
    nothing and warn.

    timeout: how long calls of the group wait for other ranks, a timedelta or seconds; by default that of
    :func:`init`. Other arguments have no effect.

    Raises ValueError: ranks that do not exist, or are named twice.

    >>> import ranvier.distributed as dist
    >>> dist.get_process_group_ranks(dist.new_group([0]))
    [0]
    """
    chosen = None if ranks is None else list(ranks)
    new = collectives.new_group(chosen, timeout)
    if new is None:
        return GroupMember.NON_GROUP_MEMBER
    return new


def get_process_group_ranks(group: Any = None) -> list[int]:
    """The ranks of a group, as numbers of the job."""
    return list((group or world()).ranks)


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | float | None = None,
    world_size: int = -1,
    rank: int = -1,
    **settings: Any,
) -> None:
    """PyTorch's name of :func:`init`: `timeout` is a timedelta or seconds.

    The data go through MPI, whatever the backend. `world_size` and `rank`, also in `init_method`
    ("tcp://host:port?rank=0&world_size=2"), are compared with those of MPI; all else has no effect.

    Raises RuntimeError where they differ: the program was not started by `mpirun -n world_size`.

    >>> import ranvier.distributed as dist
    >>> dist.init_process_group("gloo", rank=0, world_size=1)
    """
    arguments = {"world_size": world_size, "rank": rank}
    stated = {k: int(v) for k, v in re.findall(r"\b(rank|world_size)=(\d+)", init_method or "")}
    stated |= {name: operator.index(value) for name, value in arguments.items() if value != -1}
    job.init(timeout, stated.get("world_size"), stated.get("rank"))
    job.chosen.backend = "gloo" if str(backend).lower() == "gloo" else "mpi"


def destroy_process_group(group: Group = None) -> None:
    """:func:`is_initialized` is False until the next call that uses ranks. They stay connected to the end."""
    if group is None:
        job.close()


def barrier(
    group: Group = None, async_op: bool = False, device_ids: Sequence[int] | None = None
) -> Work | None:
    """Waits until every rank has called it."""
    here = member("barrier", group)
    if here is not None:
        collectives.barrier(here)
    if async_op:
        return Work()
    return None


def all_reduce(
    tensor: Tensor | Array, op: str = ReduceOp.SUM, group: Group = None, async_op: bool = False
) -> Work | None:
    """Replaces a tensor (or array) by its sum, product, minimum, maximum or mean over all ranks.

    A sum over a power of two of ranks is added along one binary tree, with the same bits on every rank. The
    sum of bools is "any", as their maximum. NaN on one rank is the minimum and the maximum.

    async_op: return a :class:`Work`, although the call is complete already; the same holds for the other
    calls.

    group: what :func:`new_group` returned; by default all ranks.

    Raises ValueError: an unknown operation; a read-only array; a different call, shape or dtype on another
    rank.
    TypeError: no numbers or bools, or no group. TimeoutError: another rank does not make the call.

    >>> import ranvier as rv
    >>> x = rv.ones(2)
    >>> rv.distributed.all_reduce(x)
    >>> x
    tensor([1., 1.])
    """
    here = member("all_reduce", group)
    if here is not None:
        _require_reduction("all_reduce", tensor, op)
        in_place("all_reduce", tensor, lambda values: collectives.all_reduce(values, op, here))
    if async_op:
        return Work()
    return None


def _require_reduction(name: str, tensor: Tensor | Array, op: str) -> None:
    if op not in collectives.REDUCTIONS:
        raise ValueError(f"[{name}] got op {op!r}; expected one of {', '.join(collectives.REDUCTIONS)}")
    if array_of(name, tensor).dtype.kind not in collectives.REDUCTIONS[op][1]:
        raise TypeError(f"[{name}] got op {op!r} for {tensor.dtype}; expected a dtype that has it")


def reduce(
    tensor: Tensor | Array, dst: int, op: str = ReduceOp.SUM, group: Group = None, async_op: bool = False
) -> Work | None:
    """As :func:`all_reduce`, where the tensor changes on the rank `dst` only."""
    here = member("reduce", group)
    if here is not None:
        _require_reduction("reduce", tensor, op)
        at, result = here.place(dst), array_of("reduce", tensor).copy(order="C")
        collectives.all_reduce(result, op, here)
        if here.rank == at:
            put("reduce", tensor, result)
    if async_op:
        return Work()
    return None


def reduce_scatter(
    output: Tensor | Array,
    input_list: Sequence[Tensor | Array],
    op: str = ReduceOp.SUM,
    group: Group = None,
    async_op: bool = False,
) -> Work | None:
    """Rank r gets in `output` the sum (product ...) over all ranks of entry r of their lists."""
    here = member("reduce_scatter", group)
    if here is not None:
        require_like("reduce_scatter", input_list, output, here)
        _require_reduction("reduce_scatter", output, op)
        whole = np.stack([array_of("reduce_scatter", one) for one in input_list])
        collectives.all_reduce(whole, op, here)
        put("reduce_scatter", output, whole[here.rank])
    if async_op:
        return Work()
    return None


def broadcast(
    tensor: Tensor | Array, src: int = 0, group: Group = None, async_op: bool = False
) -> Work | None:
    """Replaces a tensor (or array) by that of the rank `src`; raises as :func:`all_reduce`."""
    here = member("broadcast", group)
    if here is not None:
        at = here.place(src)
        in_place("broadcast", tensor, lambda values: collectives.broadcast(values, at, here))
    if async_op:
        return Work()
    return None


def all_gather(
    tensor_list: Sequence[Tensor | Array], tensor: Tensor | Array, group: Group = None, async_op: bool = False
) -> Work | None:
    """Fills a list of tensors, one for each rank, with those of all ranks.

    All have the shape and dtype of `tensor`. Raises as :func:`all_reduce`.
    """
    here = member("all_gather", group)
    if here is not None:
        _gather("all_gather", tensor, tensor_list, here)
    if async_op:
        return Work()
    return None


def gather(
    tensor: Tensor | Array,
    gather_list: Sequence[Tensor | Array] | None = None,
    dst: int = 0,
    group: Group = None,
    async_op: bool = False,
) -> Work | None:
    """As :func:`all_gather`, but only the rank `dst` passes a list and gets the tensors."""
    here = member("gather", group)
    if here is not None:
        collects = here.place(dst) == here.rank
        require_list("gather", "gather_list", gather_list, collects)
        outs = gather_list if collects else None
        _gather("gather", tensor, outs, here)
    if async_op:
        return Work()
    return None


def _gather(name: str, tensor: Tensor | Array, outs: Sequence[Tensor | Array] | None, here: World) -> None:
    """Writes the tensors of all ranks to `outs`, which is None on a rank that does not want them.

    name: the name of the call, for errors.
    """
    array = array_of(name, tensor)
    if outs is not None:
        require_like(name, outs, tensor, here)
        for out in outs:
            writable(name, out)
    for out, values in zip(outs or (), collectives.all_gather(array, here), strict=False):
        put(name, out, values)


def scatter(
    tensor: Tensor | Array,
    scatter_list: Sequence[Tensor | Array] | None = None,
    src: int = 0,
    group: Group = None,
    async_op: bool = False,
) -> Work | None:
    """Replaces the tensor on rank r by entry r of the list of rank `src`; other ranks pass none."""
    here = member("scatter", group)
    if here is not None:
        at = here.place(src)
        require_list("scatter", "scatter_list", scatter_list, at == here.rank)
        whole = np.empty((here.size, *writable("scatter", tensor).shape), array_of("scatter", tensor).dtype)
        if scatter_list is not None and here.rank == at:
            require_like("scatter", scatter_list, tensor, here)
            whole[...] = [array_of("scatter", one) for one in scatter_list]
        collectives.broadcast(whole, at, here)
        put("scatter", tensor, whole[here.rank])
    if async_op:
        return Work()
    return None
