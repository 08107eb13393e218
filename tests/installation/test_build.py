"""Errors of the build where something that it needs is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2]
NO_OPENMP = """#!/bin/sh
for word in "$@"; do case $word in -fopenmp*) echo "unsupported option" >&2; exit 1;; esac; done
exec "{compiler}" "$@"
"""


def first_error(folder, compiler):
    """The text of CMake's first error, on one line."""
    cmake, ninja = (shutil.which(name, path=_path()) for name in ("cmake", "ninja"))
    if cmake is None or ninja is None:
        pytest.skip("needs cmake and ninja")
    arguments = ["-S", SOURCES, "-B", folder / "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    environment = {**os.environ, "CXX": str(compiler)}
    environment.pop("CC", None)
    done = subprocess.run([cmake, *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    return " ".join(done.stderr.partition("CMake Error")[2].split())


def _path():
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def test_no_compiler(tmp_path):
    message = first_error(tmp_path, tmp_path / "none")
    assert "ranvier needs a C++ compiler, and none was found" in message[:200]
    assert "sudo apt install g++" in message[:300]


def test_no_openmp(tmp_path):
    real = shutil.which("g++") or shutil.which("c++")
    if real is None:
        pytest.skip("needs a C++ compiler")
    compiler = tmp_path / "c++"
    compiler.write_text(NO_OPENMP.format(compiler=real))
    compiler.chmod(0o755)
    message = first_error(tmp_path, compiler)
    assert f"ranvier needs OpenMP, which {compiler} does not have" in message[:300]
    assert "libomp-dev" in message
