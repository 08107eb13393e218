"""`--distributed`: a command on the processes that mpirun started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ranvier.cli.arguments import Mistake, mistakes

T = TypeVar("T")
_LATER = 2.0  # seconds that other ranks leave rank 0 to tell its mistake, which is theirs, too


def launched_size() -> int:
    """The processes that a launcher started; 1 without the part of ranvier that connects them."""
    try:
        from ranvier.distributed.job import launched_size as size
    except ModuleNotFoundError:
        return 1
    return size()


def connect(distributed: bool) -> None:
    """Find the other processes; all but rank 0 print nothing on stdout.

    Raises Mistake: several processes were started without --distributed, or they cannot be connected.
    """
    if not distributed:
        if launched_size() > 1:
            raise Mistake(
                f"{launched_size()} processes were started, and each would train and write the same files; "
                "expected --distributed"
            )
        return
    with mistakes(ImportError, RuntimeError, ValueError):
        from ranvier.distributed.job import init

        rank = init().rank
    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends


def _world() -> Any:
    """The module of a job of several processes; None for a process alone."""
    job: Any = sys.modules.get("ranvier.distributed.job")
    return job if job is not None and job.is_initialized() and job.world().size > 1 else None


def after_first(make: Callable[[], T]) -> T:
    """What `make` gives; rank 0 calls it before the others, since it may download a file."""
    job = _world()
    if job is None:
        return make()
    from ranvier.distributed.collectives import barrier

    first = job.world().rank == 0
    made: Any = make() if first else None
    barrier()
    return made if first else make()


def end_job(code: int, tell: Callable[[], None]) -> int:
    """End the other processes, too, after an error of this one; `tell` prints it."""
    job = _world()
    if job is not None and job.world().rank:
        time.sleep(_LATER)
    tell()
    if job is not None:
        sys.stderr.flush()
        job.world().comm.Abort(code)
    return code
