"""Runs the worker, op by op; if the worker dies or hangs, that is a verdict, and a new worker continues."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DTYPES = ("float32", "float64", "int64", "bool")
FAULTS = ("wrong", "raw", "crash", "hang")  # verdicts that nothing excuses
PATIENCE = 120.0  # seconds without a line before the worker counts as hanging; import torch takes some


class Worker:
    """A worker process and the lines it writes."""

    def __init__(self, most: int, kind: str, dtypes: Sequence[str]) -> None:
        tests = Path(__file__).resolve().parents[2]
        paths = [str(tests), *filter(None, sys.path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "differential.opinfo.worker", str(most), kind, *dtypes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.errors: list[str] = []
        self.threads = [
            threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)
        ]
        for thread in self.threads:
            thread.start()
        first = self.answer()
        if first is None:
            raise RuntimeError("the worker did not start: " + "".join(self.errors)[-2000:])
        self.ops: list[str] = first["ops"]

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put(None)

    def _read_errors(self) -> None:
        for line in self.process.stderr or ():
            self.errors.append(line)
            del self.errors[:-20]

    def answer(self) -> Any:
        """The next record, or None where the worker is dead; queue.Empty where it is silent."""
        line = self.lines.get(timeout=PATIENCE)
        return None if line is None else json.loads(line)

    def ask(self, number: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self.threads:
            thread.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def verdicts(
    wanted: Any = None, most: int = 0, kind: str = "sample", dtypes: Sequence[str] = DTYPES
) -> Iterator[dict[str, Any]]:
    """The verdicts on all ops, or on those whose title wanted(title) is true of.

    most: how many samples of each op and dtype, spread over all of them; 0 for all.
    kind: PyTorch's list, "sample", "reference" (more of them), "error" (what it refuses, of any
        dtype) or "second" (samples in float64, with the gradients of gradients).
    """
    worker = Worker(most, kind, dtypes)
    try:
        for number, title in enumerate(list(worker.ops)):
            if wanted is not None and not wanted(title):
                continue
            worker.ask(number)
            begun: Any = ["", "", -1]
            while True:
                try:
                    record = worker.answer()
                    ended = f"exit status {worker.process.wait()}" if record is None else ""
                except queue.Empty:
                    record, ended = None, "no answer"
                if record is None or "failed" in record:
                    verdict = "hang" if ended == "no answer" else "crash"
                    message = record["failed"] if record else ended
                    yield dict(
                        zip(("dtype", "form", "number"), begun, strict=True),
                        op=title,
                        verdict=verdict,
                        message=message,
                        sample="",
                    )
                if record is None:
                    worker.close()
                    worker = Worker(most, kind, dtypes)
                    break
                if "done" in record:
                    break
                if "begin" in record:
                    begun = record["begin"]
                elif "verdict" in record:
                    yield record
    finally:
        worker.close()
