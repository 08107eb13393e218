"""What torch.distributed has besides this library's collective calls: stores, and names of backends."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from ranvier.torch.store import HashStore as HashStore
from ranvier.torch.store import PrefixStore as PrefixStore
from ranvier.torch.store import Store as Store
from ranvier.torch.store import TCPStore as TCPStore

default_pg_timeout = Store.timeout


class Backend(str):
    """The name of a backend. This library's is MPI, whatever is asked for."""

    UNDEFINED, GLOO, NCCL, UCC, MPI = "undefined", "gloo", "nccl", "ucc", "mpi"
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
    from ranvier.distributed import GroupMember  # here, since this module stands without that folder

    return group == GroupMember.NON_GROUP_MEMBER


def _no(*args: Any) -> bool:
    return False


is_nccl_available = is_gloo_available = is_ucc_available = is_torchelastic_launched = _no
