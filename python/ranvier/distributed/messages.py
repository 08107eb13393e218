"""Messages between two ranks (send, recv), calls on pickled objects, and checks of the arguments of all
calls.

A message to a rank is sent as two: a description of dtype and shape, which the receiver compares, and the
values.
"""

from __future__ import annotations

import importlib
import operator
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np

from ranvier.autograd import Tensor, bump
from ranvier.distributed.collectives import gather_objects
from ranvier.distributed.job import world
from ranvier.distributed.ranks import World, as_bytes, as_text, complete, typed
from ranvier.observe import refuse
from ranvier.tensors.memory import Array
from ranvier.tensors.types import DeviceLike


class GroupMember:
    """The object that :func:`new_group` returns on a rank that is not in the group, as in PyTorch."""

    WORLD = None
    NON_GROUP_MEMBER = -100


Group: TypeAlias = World | int | None
"""The argument `group` of calls: what `new_group` returns (a World, or on a rank outside the group
GroupMember.NON_GROUP_MEMBER); None: all ranks."""


def in_place(name: str, tensor: Tensor | Array, call: Callable[[Array], None]) -> None:
    """Call a function that changes a contiguous array of the values, then write these to the tensor."""
    values = np.asarray(writable(name, tensor), order="C")
    call(values)
    put(name, tensor, values)


def array_of(name: str, tensor: Tensor | Array) -> Array:
    """The array of a Tensor or an array.

    Raises TypeError for something else. name: the name of the call, for errors.
    """
    array = tensor._array if isinstance(tensor, Tensor) else tensor
    if not isinstance(array, np.ndarray):
        raise TypeError(f"[{name}] got a {type(tensor).__name__}; expected a Tensor or an array")
    if array.dtype.kind not in "biufc" or not array.dtype.isnative:
        raise TypeError(f"[{name}] got dtype {array.dtype}; expected numbers or bools, in native byte order")
    return array


def writable(name: str, tensor: Tensor | Array) -> Array:
    """As `array_of`; ValueError for a read-only array."""
    array = array_of(name, tensor)
    if not array.flags.writeable:
        raise ValueError(f"[{name}] got a read-only array; expected a writable one")
    return array


def put(name: str, tensor: Tensor | Array, values: Array) -> None:
    """Write values to a Tensor or an array, and count the change in place."""
    array = writable(name, tensor)
    if values is not array:
        array[...] = values
    if isinstance(tensor, Tensor):
        bump(tensor)


def member(name: str, group: Group) -> World | None:
    """The World of the argument `group` of a call; None, with a warning, on a rank outside the group.

    The public function of the call itself calls it: the warning names the line that calls that function.
    """
    if group == GroupMember.NON_GROUP_MEMBER:
        warnings.warn(
            f"[{name}] rank {world().rank} is not in the group; the call does nothing", stacklevel=3
        )
        return None
    if group is not None and not isinstance(group, World):
        raise TypeError(f"[{name}] got group {group!r}; expected None or what new_group gives")
    return group or world()


def require_list(name: str, argument: str, value: Any, wanted: bool) -> None:
    """Raise ValueError if a list is missing on the rank that must pass it (wanted), or passed on another."""
    # On other ranks an empty list counts as None, as in PyTorch.
    wrong = value is None if wanted else bool(value)
    if wrong:
        if name.startswith("gather"):
            where = "the rank that it is for"
        else:
            where = "the rank that it comes from"
        raise ValueError(f"[{name}] got {argument} {type(value).__name__}; expected a list on {where}, only")


def require_like(name: str, tensors: Sequence[Tensor | Array], tensor: Tensor | Array, here: World) -> None:
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


_TAGS = 3  # the first tag of messages; the tags below belong to other exchanges
_TEXT = 128  # the most bytes of a description


class Work:
    """A call that may be in progress. A collective call with `async_op=True` is complete already.

    test: returns whether `wait` would return at once.
    finish: completes the call; `recv` returns the sender's rank.
    """

    def __init__(
        self, test: Callable[[], Any] | None = None, finish: Callable[[], Any] | None = None
    ) -> None:
        self._test = test
        self._finish = finish
        self._sender = -1

    def wait(self, timeout: timedelta | float | None = None) -> bool:
        if self._finish is not None:
            self._sender = self._finish()
            self._finish = None
        return True

    def is_completed(self) -> bool:
        if self._finish is None:
            return True
        return self._test is not None and bool(self._test()) and self.wait()


def send(tensor: Tensor | Array, dst: int, group: Group = None, tag: int = 0) -> None:
    """Sends a tensor to the rank `dst`, which calls :func:`recv` with one of the same shape and dtype."""
    here = member("send", group)
    if here is not None:
        _isend(here, tensor, dst, tag).wait()


def isend(tensor: Tensor | Array, dst: int, group: Group = None, tag: int = 0) -> Work | None:
    """As :func:`send`, without waiting: `wait()` of the result waits until the tensor is sent.

    The values are copied, so the tensor may be changed after this call.

    Raises ValueError: no other rank, or a negative tag.
    """
    here = member("send", group)
    if here is None:
        return None
    return _isend(here, tensor, dst, tag)


def _isend(here: World, tensor: Tensor | Array, dst: int, tag: int) -> Work:
    values, (to, number) = array_of("send", tensor), _other("send", here, dst, tag)
    sent = [_described(values), typed(values.copy(order="C"))]
    requests = [here.comm.Isend(part, to, number) for part in sent]
    here.keep(requests)
    return Work(lambda: type(requests[0]).Testall(requests), lambda: complete(here, requests, "send", to))


def recv(tensor: Tensor | Array, src: int | None = None, group: Group = None, tag: int = 0) -> int:
    """Replaces a tensor by that of :func:`send` of the rank `src` (None: of any); returns that rank.

    Raises ValueError: another shape or dtype. TimeoutError: nothing was sent.
    """
    here = member("recv", group)
    if here is None:
        return -1
    work = _irecv(here, tensor, src, tag)
    work.wait()
    return work._sender


def irecv(tensor: Tensor | Array, src: int | None = None, group: Group = None, tag: int = 0) -> Work | None:
    """As :func:`recv`; the tensor has its values after `wait()` of the result."""
    here = member("recv", group)
    if here is None:
        return None
    return _irecv(here, tensor, src, tag)


def _irecv(here: World, tensor: Tensor | Array, src: int | None, tag: int) -> Work:
    source, number = _other("recv", here, src, tag)
    into = writable("recv", tensor)
    mpi: Any = importlib.import_module("mpi4py.MPI")
    about, values, status = np.zeros(_TEXT, np.uint8), np.empty_like(into, order="C"), mpi.Status()
    requests: list[Any] = []

    def begin(other: int) -> None:
        requests.extend(here.comm.Irecv(part, other, number) for part in (about, typed(values)))
        here.keep(requests)

    def arrived() -> Any:
        if not requests and here.comm.Iprobe(mpi.ANY_SOURCE, number, status):
            begin(status.Get_source())
        return requests and requests[0].Test()

    def finish() -> int:
        complete(here, requests, "recv", source, arrived)
        other = status.Get_source() if source is None else source
        if not np.array_equal(about, _described(values)):
            here.unfinished.append(("recv", requests))
            raise ValueError(
                f"[recv] got {as_text(about)} from rank {other}; expected {as_text(_described(values))}"
            )
        complete(here, requests, "recv", other)
        put("recv", tensor, values)
        return here.ranks[other]

    if source is not None:
        begin(source)
    return Work(arrived, finish)


def _other(name: str, here: World, rank: int | None, tag: int) -> tuple[Any, int]:
    """The other rank of a message, as a number within the group, and the tag as MPI gets it."""
    if operator.index(tag) < 0:
        raise ValueError(f"[{name}] got tag {tag}; expected a number from 0")
    if here.size == 1 or (rank is not None and here.place(rank) == here.rank):
        raise ValueError(f"[{name}] got rank {rank} on the same rank; expected another one")
    refuse(f"{name} exchanges data with other processes", "call it outside the step")
    place = None if rank is None else here.place(rank)
    return place, tag + _TAGS


def _described(values: Array) -> Array:
    return as_bytes(f"{values.dtype} {values.shape}", _TEXT)


def all_gather_object(object_list: list[Any], obj: Any, group: Group = None) -> None:
    """Fills a list with the objects of all ranks, which can be pickled."""
    here = member("all_gather_object", group)
    if here is not None:
        object_list[:] = gather_objects(obj, here=here)


def gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int = 0, group: Group = None
) -> None:
    """As :func:`all_gather_object`, but only the rank `dst` passes a list and gets the objects."""
    here = member("gather_object", group)
    if here is not None:
        collects = here.place(dst) == here.rank
        require_list("gather_object", "object_gather_list", object_gather_list, collects)
        objects = gather_objects(obj, "gather_object", here)
        if collects and object_gather_list is not None:  # `require_list` raises for None here
            object_gather_list[:] = objects


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: Group = None, device: DeviceLike | None = None
) -> None:
    """Replaces the objects of a list, which can be pickled, by those of the rank `src`."""
    here = member("broadcast_object_list", group)
    if here is not None:
        at = here.place(src)
        own = object_list if here.rank == at else None
        object_list[:] = gather_objects(own, "broadcast_object_list", here)[at]


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: Sequence[Any] | None = None,
    src: int = 0,
    group: Group = None,
) -> None:
    """Writes entry r of the list of rank `src` to the first place of the output list on rank r."""
    here = member("scatter_object_list", group)
    name = "scatter_object_list"
    if here is not None:
        at = here.place(src)
        out = scatter_object_output_list
        if not out:
            raise ValueError(f"[{name}] got {out!r}; expected a list with a place for one")
        own = scatter_object_input_list if here.rank == at else None
        if here.rank == at and len(own or ()) != here.size:
            raise ValueError(
                f"[{name}] got {len(own or ())} objects; expected one for each of {here.size} ranks"
            )
        out[0] = gather_objects(own, name, here)[at][here.rank]
