"""An exception that ends one rank ends the job: the others would wait for it."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

__all__ = ["abort", "end_job_on_failure"]


def end_job_on_failure(comm: Any) -> None:
    """Call `abort` for an exception that nothing catches, in place of Python's message and exit."""

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        abort(comm, error, 130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = ended


def abort(comm: Any, error: BaseException, code: int = 1) -> None:
    """Print the traceback with the rank in front, and end all processes of the job."""
    text = "".join(traceback.format_exception(error))
    sys.stdout.flush()
    print(f"[rank {comm.Get_rank()} of {comm.Get_size()}] ends the job:\n{text}", file=sys.stderr, flush=True)
    comm.Abort(code)
