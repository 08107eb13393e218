"""A rank that ends early ends the job: the others would wait for it."""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["abort", "end_job_on_failure"]


def end_job_on_failure(comm: Any, leave: Callable[[], None], finalize: Callable[[], None] | None) -> None:
    """Call `abort` for an exception that nothing catches, in place of Python's message and exit.

    leave: is called when the process ends; it waits for the other ranks, and raises where they make calls for
    which they would wait in vain. finalize: is called after it.
    """

    rank = os.getpid()

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if os.getpid() != rank:  # a fork of it
            sys.__excepthook__(kind, error, trace)
            return
        abort(comm, error, 130 if issubclass(kind, KeyboardInterrupt) else 1)

    def left() -> None:
        if os.getpid() != rank:
            return
        try:
            leave()
        except (ValueError, RuntimeError, TimeoutError) as error:
            abort(comm, error)
        if finalize is not None:
            finalize()

    sys.excepthook = ended
    atexit.register(left)


def abort(comm: Any, error: BaseException, code: int = 1) -> None:
    """Print the traceback with the rank in front, and end all processes of the job."""
    text = "".join(traceback.format_exception(error))
    sys.stdout.flush()
    print(f"[rank {comm.Get_rank()} of {comm.Get_size()}] ends the job:\n{text}", file=sys.stderr, flush=True)
    comm.Abort(code)
