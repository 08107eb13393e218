"""Exchanges of Python objects, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from ranvier.distributed.arguments import member, require_list
from ranvier.distributed.collectives import gather_objects

__all__ = ["all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list"]


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Fills a list with the objects of all ranks, which can be pickled."""
    here = member("all_gather_object", group)
    if here is not None:
        object_list[:] = gather_objects(obj, here=here)


def gather_object(obj: Any, object_gather_list: Any = None, dst: int = 0, group: Any = None) -> None:
    """As :func:`all_gather_object`, where the rank `dst` alone gives a list."""
    here = member("gather_object", group)
    if here is not None:
        collects = here.place(dst) == here.rank
        require_list("gather_object", "object_gather_list", object_gather_list, collects)
        found = gather_objects(obj, "gather_object", here)
        if collects:
            object_gather_list[:] = found


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: Any = None, device: Any = None
) -> None:
    """Replaces the objects of a list, which can be pickled, by those of the rank `src`."""
    here = member("broadcast_object_list", group)
    if here is not None:
        at = here.place(src)
        own = object_list if here.rank == at else None
        object_list[:] = gather_objects(own, "broadcast_object_list", here)[at]


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: Any = None,
    src: int = 0,
    group: Any = None,
) -> None:
    """Puts the entry of this rank of a list of the rank `src` first in the output list."""
    here, name = member("scatter_object_list", group), "scatter_object_list"
    if here is not None:
        at = here.place(src)
        if not scatter_object_output_list:
            raise ValueError(
                f"[{name}] got {scatter_object_output_list!r}; expected a list with a place for one"
            )
        own = scatter_object_input_list if here.rank == at else None
        if here.rank == at and len(own or ()) != here.size:
            raise ValueError(
                f"[{name}] got {len(own or ())} objects; expected one for each of {here.size} ranks"
            )
        scatter_object_output_list[0] = gather_objects(own, name, here)[at][here.rank]
