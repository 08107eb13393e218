"""Starting the peers' processes and talking to them."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "torch", "jax", "sklearn", "onnxruntime", "nnengine")


class PeerMissing(Exception):
    """The library is not installed, or its adapter does not have the case."""


@dataclass(frozen=True)
class Peer:
    """A row's competitor: a library, with options for the case and for its process."""

    library: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def interpreter(library: str) -> str:
    """The Python that has the library: this one, or the one that RANVIER_PEER_<LIBRARY> names."""
    if importlib.util.find_spec(library) is not None:
        return sys.executable
    variable = f"RANVIER_PEER_{library.upper()}"
    path = os.environ.get(variable)
    if not path:
        raise PeerMissing(f"{library} is not installed here and {variable} names no Python that has it")
    return path


class PeerProcess:
    """One library in a separate process, with a fixed number of threads.

    Between its turns the process is stopped: a pool whose threads wait by spinning would take the processor
    from whoever comes next.
    """

    def __init__(self, library: str, threads: int, environment: Mapping[str, str]) -> None:
        self.library = library
        python = interpreter(library)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        env.update({f"{lib}_NUM_THREADS": str(threads) for lib in ("OMP", "OPENBLAS", "MKL")})
        env["RANVIER_PEER_THREADS"] = str(threads)
        env["PYTHONPATH"] = str(ROOT)
        env.update(environment)
        command = [python, "-m", "benchmarks.peers.worker", library]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True, bufsize=1
        )
        self.version: str = self.ask("hello")["version"]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.library} process ended; what it said is on stderr")
        self.process.send_signal(signal.SIGSTOP)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"{self.library}: {reply['error']}")
        return reply

    def prepare(
        self, case: str, op: str, inputs: Mapping[str, np.ndarray], options: Mapping[str, Any]
    ) -> list[np.ndarray]:
        """Set a case up; the library's answer to it."""
        with tempfile.TemporaryDirectory() as folder:
            given, answer = f"{folder}/inputs.npz", f"{folder}/answer.npz"
            np.savez(given, **inputs)
            reply = self.ask("prepare", case=case, op=op, inputs=given, options=dict(options), answer=answer)
            if "missing" in reply:
                raise PeerMissing(f"{self.library}: {reply['missing']}")
            with np.load(answer) as arrays:
                return list(arrays.values())

    def seconds(self, case: str, pace: str = "row") -> float:
        """One round of a case that was prepared."""
        return float(self.ask("time", case=case, pace=pace)["seconds"])

    def forget(self, case: str) -> None:
        self.ask("forget", case=case)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)  # does nothing where the process has ended
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):  # the process is gone already
                self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Peers:
    """The processes started so far, one for each library, number of threads and environment."""

    def __init__(self) -> None:
        self._processes: dict[tuple[Any, ...], PeerProcess | PeerMissing] = {}

    def get(self, peer: Peer, threads: int) -> PeerProcess:
        key = (peer.library, threads, *sorted(peer.environment.items()))
        process = self._processes.get(key)
        if isinstance(process, PeerProcess) and process.ended:  # crashed in an earlier row
            process.close()
            process = None
        if process is None:
            try:
                self._processes[key] = PeerProcess(peer.library, threads, peer.environment)
            except PeerMissing as missing:
                self._processes[key] = missing
        process = self._processes[key]
        if isinstance(process, PeerMissing):
            raise process
        return process

    def close(self) -> None:
        for process in self._processes.values():
            if isinstance(process, PeerProcess):
                process.close()
        self._processes.clear()


def named(peers: Sequence[str] | Mapping[str, Peer]) -> dict[str, Peer]:
    """``["numpy"]`` means the library with its defaults, under its name."""
    if isinstance(peers, Mapping):
        return dict(peers)
    return {name: Peer(name) for name in peers}
