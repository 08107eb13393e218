"""The arguments of calls with PyTorch's names: tensors or arrays, their lists, and groups of ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, bump
from ranvier.distributed.member import World
from ranvier.distributed.world import world

__all__ = ["GroupMember", "array_of", "in_place", "member", "put", "require_like", "require_list", "writable"]


class GroupMember:
    """What :func:`new_group` gives to a rank that is not in the group, as in PyTorch."""

    NON_GROUP_MEMBER = -100


def in_place(name: str, tensor: Any, call: Callable[[Any], None]) -> None:
    array = writable(name, tensor)
    values = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    call(values)
    if values is not array:
        array[...] = values
    if isinstance(tensor, Tensor):
        bump(tensor)


def array_of(name: str, tensor: Any) -> Any:
    array = tensor._array if isinstance(tensor, Tensor) else tensor
    if not isinstance(array, np.ndarray):
        raise TypeError(f"[{name}] got a {type(tensor).__name__}; expected a Tensor or an array")
    if array.dtype.kind not in "biufc" or not array.dtype.isnative:
        raise TypeError(f"[{name}] got dtype {array.dtype}; expected numbers or bools, in native byte order")
    return array


def writable(name: str, tensor: Any) -> Any:
    array = array_of(name, tensor)
    if not array.flags.writeable:
        raise ValueError(f"[{name}] got a read-only array; expected a writable one")
    return array


def put(name: str, tensor: Any, values: Any) -> None:
    writable(name, tensor)[...] = values
    if isinstance(tensor, Tensor):
        bump(tensor)


def member(name: str, group: Any) -> World | None:
    """The group, or None outside it."""
    if group == GroupMember.NON_GROUP_MEMBER:
        warnings.warn(
            f"[{name}] rank {world().rank} is not in the group; the call does nothing", stacklevel=3
        )
        return None
    if group is not None and not isinstance(group, World):
        raise TypeError(f"[{name}] got group {group!r}; expected None or what new_group gives")
    return group or world()


def require_list(name: str, argument: str, given: Any, wanted: bool) -> None:
    if given is None if wanted else given:  # an empty list is none, as in PyTorch
        where = "the rank that it is for" if name.startswith("gather") else "the rank that it comes from"
        raise ValueError(f"[{name}] got {argument} {type(given).__name__}; expected a list on {where}, only")


def require_like(name: str, tensors: list[Any], tensor: Any, here: World) -> None:
    """Raise ValueError or TypeError unless there is a tensor like this one for each rank."""
    array = array_of(name, tensor)
    if len(tensors) != here.size:
        raise ValueError(
            f"[{name}] got a list of {len(tensors)} tensors; expected one for each rank: {here.size}"
        )
    for other in tensors:
        one = array_of(name, other)
        if one.shape != array.shape:
            raise ValueError(f"[{name}] got a list with shape {one.shape}; expected {array.shape}")
        if one.dtype != array.dtype:
            raise TypeError(f"[{name}] got a list with dtype {one.dtype}; expected {array.dtype}")
