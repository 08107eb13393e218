"""torch.multiprocessing: the names of Python's multiprocessing, and `spawn` and `start_processes`.

Tensors are copied to other processes, except those in shared memory (`share_memory_`).
"""

from __future__ import annotations

import multiprocessing as _processes
import os as _os
import shutil as _shutil
import signal as _signal
import sys as _sys
import tempfile as _tempfile
import time as _time
import traceback as _traceback
import warnings as _warnings
import weakref as _weakref
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from multiprocessing.connection import wait as _wait
from pathlib import Path as _Path
from typing import Any

from ranvier.settings import Settings as _Settings

_set = _Settings(strategy="file_descriptor")


class ProcessException(Exception):
    """The failure of process `error_index`, whose id was `error_pid`."""

    def __init__(self, msg: str, error_index: int, error_pid: int, *more: Any) -> None:
        super().__init__(msg, error_index, error_pid, *more)
        self.msg = msg
        self.error_index = error_index
        self.error_pid = error_pid

    def __str__(self) -> str:
        return self.msg


class ProcessRaisedException(ProcessException):
    """A process raised an error, whose traceback is the text."""


class ProcessExitedException(ProcessException):
    """A process ended by a signal, or with an exit code."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None
    ) -> None:
        super().__init__(msg, error_index, error_pid, exit_code, signal_name)
        self.exit_code = exit_code
        self.signal_name = signal_name


class ProcessContext:
    """Processes that were started together."""

    def __init__(self, processes: list[Any], error_files: list[str]) -> None:
        self.processes = processes
        self.error_files = error_files
        self.sentinels = {process.sentinel: i for i, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until a process ends, at most `timeout` seconds; True when all have ended.

        When one has failed, the others get `grace_period` seconds, and are then terminated.

        Raises ProcessRaisedException or ProcessExitedException: of the first process that failed.
        """
        if not self.sentinels:
            return True
        for sentinel in _wait(list(self.sentinels), timeout):
            ended = self.sentinels.pop(sentinel)
            self.processes[ended].join()
            if self.processes[ended].exitcode:
                self._end(grace_period)
                self._raise(ended)
        return not self.sentinels

    def _end(self, grace_period: float | None) -> None:
        """End the processes: wait for them, then send SIGTERM, then SIGKILL."""
        self._join_all(grace_period or 0)
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        self._join_all(grace_period or 30)  # seconds between SIGTERM and SIGKILL
        for process in self.processes:
            if process.is_alive():
                process.kill()
        for process in self.processes:
            process.join()

    def _join_all(self, seconds: float) -> None:
        """Wait for the ends of the processes, so many seconds for all of them together."""
        deadline = _time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, deadline - _time.monotonic()))

    def _raise(self, i: int) -> None:
        process = self.processes[i]
        file = _Path(self.error_files[i])
        code = process.exitcode
        pid = process.pid
        if file.exists():
            text = f"\n\n-- Process {i} terminated with the following error:\n{file.read_text()}"
            raise ProcessRaisedException(text, i, pid)
        if code > 0:
            raise ProcessExitedException(f"process {i} terminated with exit code {code}", i, pid, code)
        known = {int(number): number.name for number in _signal.Signals}
        name = known.get(-code, f"<Unknown signal {-code}>")
        raise ProcessExitedException(f"process {i} terminated with signal {name}", i, pid, code, name)


def _run(fn: Callable[..., Any], i: int, args: tuple[Any, ...], error_file: str) -> None:
    """The body of a process: calls the function, and writes the traceback of an error to the file."""
    try:
        fn(i, *args)
    except KeyboardInterrupt:
        pass  # Ctrl-C is the parent's to handle
    except Exception:
        _Path(error_file).write_text(_traceback.format_exc())
        _sys.exit(1)


def start_processes(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Runs ``fn(i, *args)`` for i = 0 ... nprocs - 1, each in a new process; with join=False without waiting.

    Raises ProcessRaisedException or ProcessExitedException if one fails, after the others were terminated.
    """
    context: Any = _processes.get_context(start_method)
    folder = _tempfile.mkdtemp(prefix="ranvier-errors-")
    files = [_os.path.join(folder, str(i)) for i in range(nprocs)]
    rows = [(fn, i, args, file) for i, file in enumerate(files)]
    started = [context.Process(target=_run, args=row, daemon=daemon) for row in rows]
    for process in started:
        process.start()
    running = ProcessContext(started, files)
    _weakref.finalize(running, _shutil.rmtree, folder, ignore_errors=True)
    if not join:
        return running
    while not running.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any], *settings: Any, start_method: str = "spawn", **more: Any
) -> ProcessContext | None:
    """:func:`start_processes` with new interpreters."""
    if start_method != "spawn":
        text = f"[spawn] got start_method {start_method!r}; expected 'spawn', or start_processes(...)"
        _warnings.warn(text, FutureWarning, stacklevel=2)
    return start_processes(fn, *settings[:4], **more)


def get_all_sharing_strategies() -> set[str]:
    """The names that `set_sharing_strategy` takes."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """The name that was set.

    >>> import ranvier as rv
    >>> rv.multiprocessing.get_sharing_strategy()
    'file_descriptor'
    """
    return str(_set.strategy)


def set_sharing_strategy(new_strategy: str) -> None:
    """Keeps the name: memory is shared in one way here. Raises ValueError for another name."""
    if new_strategy not in get_all_sharing_strategies():
        raise ValueError(
            f"[set_sharing_strategy] got {new_strategy!r}; expected 'file_descriptor' or 'file_system'"
        )
    _set.strategy = new_strategy
