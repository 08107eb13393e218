"""World: this process as one of the job."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LEFT", "TIMEOUT", "World"]

TIMEOUT = 60.0  # seconds
LEFT = 2  # tag of the message with which a rank says that its program has ended


@dataclass(frozen=True)
class World:
    """rank, size: of this process; connection: a communicator of mpi4py, or None in a job of one process.

    timeout: the seconds that a call waits for other ranks.
    ranks: those of a group of some ranks, as numbers of the job.
    sent: messages of which the program may keep nothing.
    unfinished: (call, requests) of calls that an error has ended. MPI may still write to their arrays, which
    the requests keep.
    """

    rank: int = 0
    size: int = 1
    connection: Any = None
    timeout: float = TIMEOUT
    pid: int = field(default_factory=os.getpid)
    unfinished: list[tuple[str, list[Any]]] = field(default_factory=list)
    ranks: tuple[int, ...] = ()
    sent: list[Any] = field(default_factory=list)

    def keep(self, requests: list[Any]) -> None:
        """Hold the memory of messages until they are complete."""
        self.sent[:] = [*(one for one in self.sent if not one.Test()), *requests]

    def place(self, rank: int) -> int:
        """The number within this group of a rank of the job; ValueError where it is none of it."""
        ranks = self.ranks or tuple(range(self.size))
        if rank not in ranks:
            raise ValueError(f"[distributed] got rank {rank}; expected one of {list(ranks)}")
        return ranks.index(rank)

    @property
    def comm(self) -> Any:
        """The connection, for an exchange.

        Raises:
            RuntimeError: this process is a fork of the rank, or an error has ended an exchange early. What
                comes next could be numbers of that exchange.
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
