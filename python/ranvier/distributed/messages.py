"""Messages from one rank to another: a description of the array, then its values."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.recording import refuse
from ranvier.distributed.arguments import array_of, member, put, writable
from ranvier.distributed.member import World
from ranvier.distributed.waiting import complete

__all__ = ["Work", "irecv", "isend", "recv", "send"]

Array = npt.NDArray[Any]
_TAGS = 3  # those below belong to other exchanges
_TEXT = 128  # bytes of a description


class Work:
    """A call that may be in progress; one with `async_op=True` is complete already.

    test: whether `wait` would return at once; finish: what it does.
    """

    def __init__(
        self, test: Callable[[], Any] | None = None, finish: Callable[[], None] | None = None
    ) -> None:
        self._test, self._finish = test, finish

    def wait(self, timeout: Any = None) -> bool:
        if self._finish is not None:
            self._finish()
            self._finish = None
        return True

    def is_completed(self) -> bool:
        return self._finish is None or (self._test is not None and bool(self._test()) and self.wait())


def send(tensor: Any, dst: int, group: Any = None, tag: int = 0) -> None:
    """Sends a tensor to the rank `dst`, which calls :func:`recv` with one of the same shape and dtype."""
    work = isend(tensor, dst, group, tag)
    if work is not None:
        work.wait()


def isend(tensor: Any, dst: int, group: Any = None, tag: int = 0) -> Work | None:
    """As :func:`send`; `wait()` of the result waits until the tensor is on its way. It may change at once.

    Raises ValueError: no other rank, or a negative tag.
    """
    here = member("send", group)
    return None if here is None else _send(here, array_of("send", tensor), *_other("send", here, dst, tag))


def recv(tensor: Any, src: int | None = None, group: Any = None, tag: int = 0) -> int:
    """Replaces a tensor by that of :func:`send` of the rank `src` (None: of any); returns that rank.

    Raises ValueError: another shape or dtype. TimeoutError: nothing was sent.
    """
    found: list[int] = []
    work = _receive(tensor, src, group, tag, found)
    if work is not None:
        work.wait()
    return found[0] if found else -1


def irecv(tensor: Any, src: int | None = None, group: Any = None, tag: int = 0) -> Work | None:
    """As :func:`recv`; the tensor has its values after `wait()` of the result."""
    return _receive(tensor, src, group, tag, [])


def _receive(tensor: Any, src: int | None, group: Any, tag: int, found: list[int]) -> Work | None:
    here = member("recv", group)
    if here is None:
        return None

    def take(values: Any, rank: int) -> None:
        put("recv", tensor, values)
        found.append((here.ranks or range(here.size))[rank])

    at, number = (None, _other("recv", here, None, tag)[1]) if src is None else _other("recv", here, src, tag)
    return _start(here, writable("recv", tensor), at, number, take)


def _other(name: str, here: World, rank: int | None, tag: int) -> tuple[Any, int]:
    if operator.index(tag) < 0:
        raise ValueError(f"[{name}] got tag {tag}; expected a number from 0")
    if here.size == 1 or (rank is not None and here.place(rank) == here.rank):
        raise ValueError(f"[{name}] got rank {rank} on the same rank; expected another one")
    return None if rank is None else here.place(rank), tag


def _send(here: World, values: Array, to: int, tag: int) -> Work:
    """Start to send an array."""
    refuse("send exchanges data with other processes", "call it outside the step")
    sent = [_described(values), np.ascontiguousarray(values).copy()]
    requests = [here.comm.Isend(part, to, tag + _TAGS) for part in sent]
    here.keep(requests)
    return Work(lambda: type(requests[0]).Testall(requests), lambda: complete(here, requests, "send", to))


def _start(
    here: World, into: Array, source: int | None, tag: int, take: Callable[[Array, int], None]
) -> Work:
    """Start to receive an array like `into`; `take` gets it, and the rank that has sent it.

    source: None is any rank.

    Raises:
        ValueError: when it is waited for, and has another shape or dtype.
    """
    refuse("recv exchanges data with other processes", "call it outside the step")
    mpi: Any = importlib.import_module("mpi4py.MPI")
    about, values, status = np.zeros(_TEXT, np.uint8), np.empty_like(into, order="C"), mpi.Status()
    requests: list[Any] = []

    def begin(other: int) -> None:
        requests.extend(here.comm.Irecv(part, other, tag + _TAGS) for part in (about, values))
        here.keep(requests)

    def arrived() -> Any:
        if not requests and here.comm.Iprobe(mpi.ANY_SOURCE, tag + _TAGS, status):
            begin(status.Get_source())
        return requests and requests[0].Test()

    def finish() -> None:
        complete(here, requests, "recv", source, arrived)
        other = status.Get_source() if source is None else source
        if not np.array_equal(about, _described(values)):
            here.unfinished.append(("recv", requests))
            theirs, ours = (bytes(text).rstrip(b"\0").decode() for text in (about, _described(values)))
            raise ValueError(f"[recv] got {theirs} from rank {other}; expected {ours}")
        complete(here, requests, "recv", other)
        take(values, other)

    if source is not None:
        begin(source)
    return Work(arrived, finish)


def _described(values: Array) -> Array:
    text = np.zeros(_TEXT, np.uint8)
    line = f"{values.dtype} {values.shape}".encode()[:_TEXT]
    text[: len(line)] = np.frombuffer(line, np.uint8)
    return text
