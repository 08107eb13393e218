"""torch.distributed on MPI: the processes that `mpirun` started, and collective calls on tensors.

`mpirun -n 4 python program.py` starts four processes; :func:`init` connects them. In a process that no
launcher started, rank is 0 and size is 1, nothing is imported, and every call returns at once.
"""

from __future__ import annotations

import importlib.util
import operator
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np

import ranvier.communication.collectives as collectives
from ranvier.autograd import Tensor
from ranvier.autograd.views import bump
from ranvier.communication.world import init as connect
from ranvier.communication.world import is_initialized as is_initialized
from ranvier.communication.world import world
from ranvier.data.distributed import DistributedSampler as DistributedSampler
from ranvier.nn.parallel import DistributedDataParallel as DistributedDataParallel

__all__ = [
    "DistributedDataParallel",
    "DistributedSampler",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_gather_object",
    "all_reduce",
    "barrier",
    "broadcast",
    "broadcast_parameters",
    "destroy_process_group",
    "get_rank",
    "get_world_size",
    "group",
    "init",
    "init_process_group",
    "is_available",
    "is_initialized",
    "rank",
    "size",
]


class ReduceOp:
    """The operations of :func:`all_reduce`, as in PyTorch."""

    SUM, PRODUCT, MIN, MAX, AVG = "sum", "product", "min", "max", "avg"


class group:
    """PyTorch's groups of processes: there is one, of all ranks."""

    WORLD = None


class Work:
    """What a call with `async_op=True` returns: it is complete already."""

    def wait(self, timeout: Any = None) -> bool:
        return True

    def is_completed(self) -> bool:
        return True


def is_available() -> bool:
    """Whether mpi4py is installed, so that there can be several processes."""
    return importlib.util.find_spec("mpi4py") is not None


def init(timeout: float | None = None) -> None:
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
    connect(timeout)


def rank() -> int:
    """The number of this process, from 0; calls :func:`init`."""
    return world().rank


def size() -> int:
    """The number of processes; calls :func:`init`."""
    return world().size


def get_rank(group: Any = None) -> int:
    """PyTorch's name of :func:`rank`."""
    return rank()


def get_world_size(group: Any = None) -> int:
    """PyTorch's name of :func:`size`."""
    return size()


def init_process_group(
    backend: Any = None,
    init_method: str | None = None,
    timeout: Any = None,
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
    stated = {"world_size": world_size, "rank": rank}
    found = {k: int(v) for k, v in re.findall(r"\b(rank|world_size)=(\d+)", init_method or "")}
    found |= {name: operator.index(value) for name, value in stated.items() if value != -1}
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    connect(seconds, found.get("world_size"), found.get("rank"))


def destroy_process_group(group: Any = None) -> None:
    """Does nothing: the processes are connected until they end."""


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Waits until every rank has called it."""
    _require_all_ranks("barrier", group)
    collectives.barrier()
    return Work() if async_op else None


def all_reduce(tensor: Any, op: str = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Replaces a tensor (or array) by its sum, product, minimum, maximum or mean over all ranks.

    A sum over a power of two of ranks is added along one binary tree, with the same bits on every rank. The
    sum of bools is "any", as their maximum. NaN on one rank is the minimum and the maximum.

    async_op: return a :class:`Work`; the call is complete already. So in the other calls.

    Raises ValueError: another operation; a read-only array; another call, shape or dtype on another rank; a
    group of some ranks. TypeError: no numbers or bools. TimeoutError: another rank does not call.

    >>> import ranvier as rv
    >>> x = rv.ones(2)
    >>> rv.distributed.all_reduce(x)
    >>> x
    tensor([1., 1.])
    """
    _require_all_ranks("all_reduce", group)
    if op != ReduceOp.AVG and op not in collectives.REDUCTIONS:
        known = ", ".join([*collectives.REDUCTIONS, ReduceOp.AVG])
        raise ValueError(f"[all_reduce] got op {op!r}; expected one of {known}")
    kind = _array("all_reduce", tensor).dtype.kind
    if (op == ReduceOp.AVG and kind not in "fc") or (kind == "c" and op in (ReduceOp.MIN, ReduceOp.MAX)):
        raise TypeError(f"[all_reduce] got op {op!r} for {tensor.dtype}; expected a dtype that has it")
    _in_place("all_reduce", tensor, lambda values: _reduce(values, op))
    return Work() if async_op else None


def _reduce(values: Any, op: str) -> None:
    if op == ReduceOp.AVG:
        collectives.all_reduce(values, ReduceOp.SUM)
        np.divide(values, size(), out=values)
    else:
        collectives.all_reduce(values, op)


def broadcast(tensor: Any, src: int = 0, group: Any = None, async_op: bool = False) -> Work | None:
    """Replaces a tensor (or array) by that of the rank `src`; raises as :func:`all_reduce`."""
    _require_all_ranks("broadcast", group)
    _in_place("broadcast", tensor, lambda values: collectives.broadcast(values, src))
    return Work() if async_op else None


def all_gather(tensor_list: list[Any], tensor: Any, group: Any = None, async_op: bool = False) -> Work | None:
    """Fills a list of tensors, one for each rank, with those of all ranks.

    All have the shape and dtype of `tensor`. Raises as :func:`all_reduce`.
    """
    _require_all_ranks("all_gather", group)
    array, outs = _array("all_gather", tensor), list(tensor_list)
    if len(outs) != size():
        raise ValueError(f"[all_gather] got a list of {len(outs)} tensors; expected one for each rank")
    for out in outs:
        into = _writable("all_gather", out)
        if into.shape != array.shape:
            raise ValueError(f"[all_gather] got a list with shape {into.shape}; expected {array.shape}")
        if into.dtype != array.dtype:
            raise TypeError(f"[all_gather] got a list with dtype {into.dtype}; expected {array.dtype}")
    for out, values in zip(outs, collectives.all_gather(array[None]), strict=True):
        _array("all_gather", out)[...] = values[0]
        if isinstance(out, Tensor):
            bump(out)
    return Work() if async_op else None


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Fills a list with the objects of all ranks, which can be pickled."""
    _require_all_ranks("all_gather_object", group)
    object_list[:] = collectives.gather_objects(obj)


def broadcast_parameters(parameters: Any, src: int = 0) -> None:
    """Gives every rank the values of the rank `src`.

    parameters: a Module (its parameters and buffers), a state dict, or Tensors.

    >>> import ranvier as rv
    >>> rv.distributed.broadcast_parameters(rv.nn.Linear(2, 1))
    """
    if hasattr(parameters, "state_dict"):
        parameters = parameters.state_dict()
    tensors: Iterable[Any] = parameters.values() if hasattr(parameters, "values") else parameters
    for tensor in tensors:
        broadcast(tensor[1] if isinstance(tensor, tuple) else tensor, src)


def _in_place(name: str, tensor: Any, call: Any) -> None:
    array = _writable(name, tensor)
    values = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    call(values)
    if values is not array:
        array[...] = values
    if isinstance(tensor, Tensor):
        bump(tensor)


def _array(name: str, tensor: Any) -> Any:
    array = tensor._array if isinstance(tensor, Tensor) else tensor
    if not isinstance(array, np.ndarray):
        raise TypeError(f"[{name}] got a {type(tensor).__name__}; expected a Tensor or an array")
    if array.dtype.kind not in "biufc" or not array.dtype.isnative:
        raise TypeError(f"[{name}] got dtype {array.dtype}; expected numbers or bools, in native byte order")
    return array


def _writable(name: str, tensor: Any) -> Any:
    array = _array(name, tensor)
    if not array.flags.writeable:
        raise ValueError(f"[{name}] got a read-only array; expected a writable one")
    return array


def _require_all_ranks(name: str, group: Any) -> None:
    if group is not None:
        raise ValueError(f"[{name}] got group {group!r}; expected None: all ranks call it")
