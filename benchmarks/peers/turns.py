"""Libraries that are measured in turns: each in a separate process, which is stopped meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any


class InTurns:
    """A process that answers questions, one line of JSON each: ``python -m <module> --worker <library>``.

    threads: of each library in it; None leaves that to the libraries. A library that is installed in another
    environment is found as in ``process.py``.
    """

    def __init__(self, module: str, library: str, threads: int | None) -> None:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        env = {**os.environ, **({} if threads is None else dict.fromkeys(names, str(threads)))}
        python = os.environ.get(f"RANVIER_PEER_{library.upper()}", sys.executable)
        command = [python, "-m", module, "--worker", library]
        self._library = library
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True, bufsize=1
        )

    def ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(question) + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self._library} ended; its message is on stderr")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def close(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()
