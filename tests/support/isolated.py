"""Cases that may kill their process: they run in a forked child, and the case that ended it is named."""

import mmap
import os
import select
import signal
import struct
import traceback
from collections.abc import Callable, Sequence
from typing import Any

Case = tuple[str, Callable[[], Any]]
SECONDS = 60.0  # for one child; a case that takes longer hangs
DEADLY = (signal.SIGSEGV, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGABRT)


def run_isolated(cases: Sequence[Case], seconds: float = SECONDS) -> list[str]:
    """The faults, one line for each case that raised, died or hung; the others run all the same."""
    failures: list[str] = []
    first = 0
    with mmap.mmap(-1, 8) as shared:  # the number of the case that the child is at
        while first < len(cases):
            status, text = _child(cases, first, shared, seconds)
            failures += text.splitlines()
            if status == "done":
                break
            at = struct.unpack("q", shared[:8])[0]
            failures.append(f"{cases[at][0]}: {status}")
            first = at + 1
    return failures


def _child(cases: Sequence[Case], first: int, shared: Any, seconds: float) -> tuple[str, str]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        code = 1
        try:
            for number in DEADLY:
                signal.signal(number, signal.SIG_DFL)  # no traceback of faulthandler: the parent reports
            for at in range(first, len(cases)):
                shared[:8] = struct.pack("q", at)
                _run(cases[at], write)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    status, text = "done", []
    while True:
        ready, _, _ = select.select([read], [], [], seconds)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            status = f"no answer in {seconds:.0f} s"
            break
        part = os.read(read, 65536)
        if not part:
            break
        text.append(part)
    os.close(read)
    _, code = os.waitpid(pid, 0)
    if status == "done" and code != 0:
        number = os.WTERMSIG(code) if os.WIFSIGNALED(code) else 0
        status = signal.Signals(number).name if number else f"exit {os.WEXITSTATUS(code)}"
    return status, b"".join(text).decode()


def _run(case: Case, write: int) -> None:
    try:
        case[1]()
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = (
            f"{case[0]}: {type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"
        )
        os.write(write, line.replace("\n", " ")[:2000].encode() + b"\n")
