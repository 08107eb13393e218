"""Programs in an interpreter of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def ended(
    *arguments: str | Path, folder: Path | None = None, stdin: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """python with these arguments, in a folder, when it has ended."""
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths))} | environment
    command: list[str | Path] = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=variables, input=stdin, capture_output=True, text=True, timeout=300
    )


def printed(*arguments: str | Path, folder: Path | None = None, **environment: str) -> str:
    """Its output; the test fails if it ends with an error."""
    done = ended(*arguments, folder=folder, **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def in_mode(program: str, *arguments: str | Path, **environment: str) -> str:
    """The output of a program in which this library runs in place of PyTorch."""
    return printed("-m", "ranvier.torch", "-c", program, *arguments, **environment)


def answers(begin: str, rows: Iterable[str], shown: str = "ascii") -> dict[str, str]:
    """The texts of expressions in such a program, after its first lines; shown: what makes them texts."""
    program = f"{begin}\nimport json, sys\nrows = json.loads(sys.argv[1])\n"
    program += f"print(json.dumps({{row: {shown}(eval(row)) for row in rows}}))"
    return dict(json.loads(in_mode(program, json.dumps([*rows])).splitlines()[-1]))
