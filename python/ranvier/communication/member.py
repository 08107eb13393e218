"""World: this process as one of the job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["TIMEOUT", "World"]

TIMEOUT = 300.0  # seconds


@dataclass(frozen=True)
class World:
    """rank, size: of this process; comm: of mpi4py, or None in a job of one process.

    timeout: the seconds that a call waits for other ranks.
    """

    rank: int = 0
    size: int = 1
    comm: Any = None
    timeout: float = TIMEOUT
