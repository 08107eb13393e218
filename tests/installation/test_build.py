"""Errors of the build where something that it needs is missing, and the levels that it compiles.

CMake runs on the sources with a compiler that is missing or a script; its messages must have known texts.
"""

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
    cmake = shutil.which("cmake", path=_path())
    ninja = shutil.which("ninja", path=_path())
    if cmake is None or ninja is None:
        pytest.skip("needs cmake and ninja")
    arguments = ["-S", SOURCES, "-B", folder / "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    environment = {**os.environ, "CXX": str(compiler)}
    environment.pop("CC", None)
    done = subprocess.run([cmake, *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    return " ".join(done.stderr.partition("CMake Error")[2].split())


def _path():
    """The search path of programs, first the folder of Python, where pip installs cmake and ninja."""
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


ISA = SOURCES / "cmake" / "isa.cmake"
V3 = "__AVX2__ __FMA__ __BMI__ __BMI2__"
V4 = V3 + " __AVX512F__ __AVX512BW__ __AVX512CD__ __AVX512DQ__ __AVX512VL__"


@pytest.mark.parametrize(
    ("levels", "macros", "chosen"),
    [
        ("all", V3, "v4;v3;v2"),
        ("v2;v4", V3, "v4;v2"),
        ("native", V4, "v4"),
        ("native", V4.replace("__AVX512VL__", ""), "v3"),
        ("native", "__SSE4_2__", "v2"),
        ("native;v2", V3, "v3;v2"),
        ("native", None, "v4;v3;v2"),  # a compiler that does not say what the processor has
        ("v5", V3, "got RANVIER_LEVELS=v5; expected all, native, or some of v4;v3;v2"),
    ],
)
def test_levels(tmp_path, levels, macros, chosen):
    """cmake/isa.cmake alone, with a compiler for x86-64 that prints these macros, or fails."""
    cmake = shutil.which("cmake", path=_path())
    if cmake is None:
        pytest.skip("needs cmake")
    compiler = tmp_path / "c++"
    if macros is None:
        lines = ["exit 1"]
    else:
        lines = [f"echo '#define {macro} 1'" for macro in macros.split()]
    compiler.write_text("\n".join(["#!/bin/sh", *lines]))
    compiler.chmod(0o755)
    settings = {"CMAKE_SYSTEM_PROCESSOR": "x86_64", "CMAKE_CXX_COMPILER": compiler, "RANVIER_LEVELS": levels}
    command = [cmake, *(f"-D{name}={value}" for name, value in settings.items()), "-P", ISA]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = " ".join((done.stdout + done.stderr).split()) + " "
    expected = f"-- Levels: {chosen} " if done.returncode == 0 else chosen
    assert expected in said
