"""`World`: the ranks of a job or of a group of them; and waiting for other ranks with a time limit.

A blocking call of MPI cannot be ended from outside. So every exchange is started as a non-blocking one, whose
requests are tested until they are complete (`complete`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ranvier.observe import place, refuse
from ranvier.tensors.memory import BF16, Array

TIMEOUT = 60.0  # the seconds that a rank waits for others by default
LEFT = 2  # the tag of the message by which a rank tells the others that its program has ended


@dataclass(frozen=True)
class World:
    """All ranks of the job, or a group of them, as one of these ranks sees them.

    rank: the number of this process in the group.
    size: the number of ranks of the group.
    connection: a communicator of mpi4py, or None in a job of one process.
    timeout: the seconds that a call waits for other ranks.
    pid: the process number of this rank.
    ranks: the ranks of the group, as numbers of the job.
    host: the ranks of this group on this host, if they can add in shared memory as a subtree of the sum over
        all ranks (`neighbours`); () otherwise.
    sent: requests of messages on their way. They keep the arrays, also if the program has dropped its `Work`.
    unfinished: (call, requests) of calls that an error has ended. MPI may still write to their arrays, which
        the requests keep.
    """

    rank: int = 0
    size: int = 1
    connection: Any = None
    timeout: float = TIMEOUT
    pid: int = field(default_factory=os.getpid)
    unfinished: list[tuple[str, list[Any]]] = field(default_factory=list)
    ranks: tuple[int, ...] = (0,)
    sent: list[Any] = field(default_factory=list)
    host: tuple[int, ...] = ()

    def keep(self, requests: list[Any]) -> None:
        """Keep the requests of messages, and so their arrays, until they are complete."""
        self.sent[:] = [*(one for one in self.sent if not one.Test()), *requests]

    def place(self, rank: int) -> int:
        """The number within this group of a rank of the job; ValueError if it is not in the group."""
        if rank not in self.ranks:
            raise ValueError(f"[distributed] got rank {rank}; expected one of {list(self.ranks)}")
        return self.ranks.index(rank)

    @property
    def comm(self) -> Any:
        """The connection, for a new exchange.

        Raises RuntimeError in a fork of the rank, and after an error has ended an exchange early: numbers of
        that exchange could arrive in the next one.
        """
        if self.pid != os.getpid():
            raise RuntimeError(
                f"[distributed] got a call in a process that rank {self.rank} has started; expected calls of "
                "the rank itself"
            )
        if self.unfinished:
            raise RuntimeError(
                f"[distributed] rank {self.rank} got a call after {self.unfinished[0][0]} has failed; "
                "expected the end of the program, since the ranks are no longer at the same call"
            )
        return self.connection


def neighbours(comm: Any, here: Any) -> tuple[int, ...]:
    """`World.host`; comm: the communicator of all ranks of the group. here: that of its ranks on this host.

    The result is () unless every host has a block of as many neighbouring ranks, and these numbers are powers
    of two or there is one host: then the sum of a host is a subtree of the sum over all ranks.
    """
    ranks = tuple(here.allgather(comm.Get_rank()))
    size = comm.Get_size()
    count = len(ranks)
    blocks = {tuple(range(first, first + count)) for first in range(0, size, count)}
    alike = blocks.issuperset(comm.allgather(ranks))
    powers = not (count & (count - 1) or size & (size - 1))
    if alike and count > 1 and (powers or count == size):
        return ranks
    return ()


# A program for another process. It waits for the end of its standard input, which means that MPI has started.
# If this does not come in time, it prints which ranks are missing.
_WATCH = r"""
import select, socket, sys
size, rank, seconds, job = sys.argv[1:]
if select.select([0], [], [], float(seconds))[0]:
    sys.exit()
missing = []
for other in range(int(size) if job else 0):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex(f"\0{job} {other}"):
            missing.append(str(other))
who = f"rank{'s' * (len(missing) > 1)} {', '.join(missing)}" if missing else "another rank"
print(
    f"[init] rank {rank} of {size} waited {float(seconds):g} s for {who}; expected a call of init on every "
    "rank (a collective call, or fit of a Trainer with distributed=True, also calls it). A rank that ends "
    "before it, or works for longer, is missed: call init at the beginning of the program, or set a longer "
    "limit by init(timeout=...) or RANVIER_TIMEOUT",
    file=sys.stderr,
    flush=True,
)
"""


@contextlib.contextmanager
def announced(size: int, rank: str, seconds: float, job: str) -> Iterator[None]:
    """A block that starts MPI. If it takes longer than these seconds, a message names the ranks that are
    missing.

    MPI holds Python's lock while it waits, so another process writes the message (`_WATCH`). Each rank binds
    a socket to its own name, by which that process sees that the rank exists. rank: the rank of this process.
    job: a text that distinguishes this job from others of the host; empty if some ranks are on other hosts.
    """
    if not (sys.executable and hasattr(socket, "AF_UNIX")):
        yield
        return
    command = [sys.executable, "-ISc", _WATCH, str(size), rank, str(seconds), job]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        if job:
            with contextlib.suppress(OSError):
                name.bind(f"\0{job} {rank}")
        watch = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            yield
        finally:
            watch.kill()
            watch.communicate()


_SPINS = 200  # the tests of a request without a pause; a message on the same host takes some microseconds
_TEXT = 128  # the most characters of a call's description, and of the line of code that makes it
_LONG = 0.002  # seconds after which the process sleeps between tests; before, it only yields the processor
_LAST = 2.0  # seconds in which the last messages of a rank that has ended its program arrive


def typed(values: Array) -> Array:
    """The array in a dtype that MPI has: bfloat16 as uint16 of the same bits."""
    if values.dtype == BF16:
        return values.view(np.uint16)
    return values


def complete(
    world: World,
    requests: list[Any],
    call: str,
    other: int | None = None,
    test: Callable[[], Any] | None = None,
) -> None:
    """Wait until all requests are complete, or until `test()` is true if it is given.

    call: names the call in errors.
    other: the rank that is waited for, None for all or any.

    Raises:
        TimeoutError: after `world.timeout` seconds.
        ValueError: the other rank has ended its program.
    """
    try:
        _wait(world, test or (lambda: type(requests[0]).Testall(requests)), call, other)
    except BaseException:
        world.unfinished.append((call, requests))
        raise


def _wait(world: World, test: Callable[[], Any], call: str, other: int | None) -> None:
    """Wait until test() is true; errors name the rank that is waited for, None for any."""
    for _ in range(_SPINS):
        if test():
            return
    start = time.monotonic()
    left = 0.0
    while not test():
        waited = time.monotonic() - start
        if waited < _LONG:
            os.sched_yield()
        elif waited < world.timeout:
            time.sleep(0.0001)
            if other is None or not world.connection.Iprobe(other, LEFT):
                continue
            left = left or waited
            if waited > left + _LAST:
                raise ValueError(
                    f"[{call}] rank {world.rank} of {world.size} waits at {place()} for rank {other}, whose "
                    "program has ended; expected the same calls on every rank"
                )
        else:
            who = "another rank" if other is None else f"rank {other}"
            if other is None and world.size == 2:
                who = f"rank {world.ranks[1 - world.rank]}"
            raise TimeoutError(
                f"[{call}] rank {world.rank} of {world.size} has waited {world.timeout:g} s for {who}, at "
                f"{place()}; expected the same call on every rank (a longer limit: init(timeout=...) or "
                "RANVIER_TIMEOUT)"
            )


def agree(here: World, call: str, about: str = "", mark: str = "") -> bool:
    """Compare a call between all ranks: ValueError unless they all make it, with the same text `about`.

    Returns True if the mark (a hash of what may differ without an error) is the same on all ranks.
    """
    if here.size == 1:
        return True
    refuse(f"{call} exchanges data with other processes", "call it outside the step")
    # A record holds two texts, two ends of lines and a mark, which has 16 characters; the rest is zeros.
    records = np.zeros((here.size, 2 * _TEXT + 32), np.uint8)
    line = f"{f'{call} {about}'.strip()[:_TEXT]}\n{mark}\n{place()[-_TEXT:]}"
    ours = as_bytes(line, records.shape[1])
    complete(here, [here.comm.Iallgather(ours, records)], call)
    said = [as_text(record).split("\n", 2) for record in records]
    if any(theirs != said[0][0] for theirs, *_ in said):
        listed = "; ".join(f"rank {rank}: {what} at {at}" for rank, (what, _, at) in enumerate(said))
        raise ValueError(f"[{call}] got different calls, {listed}; expected the same on every rank")
    return all(theirs == said[0][1] for _, theirs, _ in said)


def as_bytes(text: str, size: int) -> Array:
    """A message of this many bytes that begins with this text."""
    return np.frombuffer(text.encode()[:size].ljust(size, b"\0"), np.uint8)


def as_text(message: Array) -> str:
    return bytes(message).rstrip(b"\0").decode(errors="replace")
