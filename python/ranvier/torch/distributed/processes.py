"""Names of torch.distributed that are neither in `ranvier.distributed` nor in `store.py`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from ranvier import Tensor


class Backend(str):
    """The name of a backend. This library's is MPI, whatever is asked for."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    UCC = "ucc"
    MPI = "mpi"
    default_device_backend_map = {"cpu": GLOO, "cuda": NCCL, "xpu": "xccl", "mps": GLOO}  # noqa: RUF012
    backend_list = [UNDEFINED, GLOO, NCCL, UCC, MPI]  # noqa: RUF012

    def __new__(cls, name: str) -> Backend:
        return super().__new__(cls, name.lower())


class ProcessGroup:
    """The class of groups in PyTorch, for tests with isinstance."""


class DistBackendError(RuntimeError):
    """An error of a backend; never raised here."""


class DistNetworkError(RuntimeError):
    """An error of the network; never raised here."""


class DistStoreError(RuntimeError):
    """An error of a store; never raised here."""


def is_mpi_available() -> bool:
    return find_spec("mpi4py") is not None


def _rank_not_in_group(group: Any) -> bool:
    from ranvier.distributed import GroupMember  # imported here, because that folder may have been deleted

    return group == GroupMember.NON_GROUP_MEMBER


def _no(*args: Any) -> bool:
    return False


is_nccl_available = is_gloo_available = is_ucc_available = is_torchelastic_launched = _no


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """The tensors of all ranks one after the other, along the first dimension or along a new one.

    >>> import ranvier as rv
    >>> whole = rv.zeros(1, 2)
    >>> all_gather_into_tensor(whole, rv.ones(2))
    >>> whole
    tensor([[1., 1.]])
    """
    distributed = import_module("ranvier.distributed")
    parts = output_tensor.detach().view(-1, *input_tensor.shape).unbind()
    return distributed.all_gather(list(parts), input_tensor, group, async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: str = "sum", group: Any = None, async_op: bool = False
) -> Any:
    """Rank r gets part r, along the first dimension, of the sum (product ...) of the tensors of all ranks."""
    distributed = import_module("ranvier.distributed")
    parts = list(input.view(-1, *output.shape).unbind())
    return distributed.reduce_scatter(output, parts, op, group, async_op)


def all_to_all(
    output_tensor_list: Sequence[Tensor],
    input_tensor_list: Sequence[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Each rank sends tensor r of its list to rank r, and receives one tensor from each rank."""
    distributed = import_module("ranvier.distributed")
    lists: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(lists, [x.detach() for x in input_tensor_list], group)
    rank = distributed.get_rank(group)
    for output, sent in zip(output_tensor_list, lists, strict=True):
        output.detach().copy_(sent[rank])
    if async_op:
        return distributed.Work()
    return None


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """As :func:`all_to_all`, of slices of a tensor along its first dimension: equal ones without sizes."""
    ranks = import_module("ranvier.distributed").get_world_size(group)
    outputs = output.detach().split(output_split_sizes or len(output) // ranks)
    inputs = input.detach().split(input_split_sizes or len(input) // ranks)
    return all_to_all(list(outputs), list(inputs), group, async_op)


class P2POp(NamedTuple):
    """A call of isend or irecv."""

    op: Callable[..., Any]
    tensor: Tensor
    peer: int
    group: Any = None
    tag: int = 0


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Any]:
    """Call all of a list."""
    return [p.op(p.tensor, p.peer, p.group, p.tag) for p in p2p_op_list]


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    import_module("ranvier.distributed").barrier(group)


def get_global_rank(group: Any, group_rank: int) -> int:
    return int(import_module("ranvier.distributed").get_process_group_ranks(group)[group_rank])


def get_group_rank(group: Any, global_rank: int) -> int:
    return int(import_module("ranvier.distributed").get_process_group_ranks(group).index(global_rank))


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """The number of this process on its machine: LOCAL_RANK of its launcher, else fallback_rank."""
    rank = os.environ.get("LOCAL_RANK", fallback_rank)
    if rank is None:
        raise RuntimeError("[get_node_local_rank] got no LOCAL_RANK; expected a fallback_rank")
    return int(rank)


def is_backend_available(backend: str) -> bool:
    return backend.lower() == "mpi" and is_mpi_available()


def _get_default_group() -> None:
    """The group of all ranks."""


_pg_map: dict[Any, Any] = {}
_all_gather_base = all_gather_into_tensor
_reduce_scatter_base = reduce_scatter_tensor


class Placement:
    """The division of a tensor among processes, as PyTorch describes it; nothing is divided here."""

    def is_shard(self, dim: int | None = None) -> bool:
        return isinstance(self, Shard) and dim in (None, self.dim)

    def is_replicate(self) -> bool:
        return isinstance(self, Replicate)

    def is_partial(self, reduce_op: str | None = None) -> bool:
        return isinstance(self, Partial) and reduce_op in (None, self.reduce_op)


@dataclass(frozen=True)
class Shard(Placement):
    dim: int


@dataclass(frozen=True)
class Replicate(Placement):
    pass


@dataclass(frozen=True)
class Partial(Placement):
    reduce_op: str = "sum"
