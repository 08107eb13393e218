"""torch.multiprocessing: Python's multiprocessing, and `spawn`. Tensors are copied to other processes, except
those in shared memory, which :mod:`ranvier.torch` makes."""

from __future__ import annotations

import multiprocessing as _processes
from multiprocessing import *  # noqa: F403
from typing import Any


def spawn(
    fn: Any, args: tuple[Any, ...] = (), nprocs: int = 1, join: bool = True, daemon: bool = False
) -> Any:
    """Runs ``fn(i, *args)`` for i = 0 ... nprocs - 1, each in a new process; RuntimeError if one fails."""
    context = _processes.get_context("spawn")
    started = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in started:
        process.start()
    if not join:
        return started
    for process in started:
        process.join()
    failed = [i for i, process in enumerate(started) if process.exitcode]
    if failed:
        raise RuntimeError(f"[spawn] processes {failed} ended with an error; expected all to succeed")
    return None
