"""Memory runs out at any allocation of a call: MemoryError, nothing half changed, and the next call is right.

The library of `support/failing_malloc.c`, loaded before Python, fails the allocations of the core (its
caching allocator, operator new) or of NumPy. `support/failing_allocations.py` has the calls.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

POINTS = 10**6 if os.environ.get("RANVIER_KILL_POINTS") == "all" else 5  # of a call; each twice
SUPPORT = Path(__file__).parents[1] / "support"
CORE, NUMPY = 1 | 4, 2  # the core: its allocator and operator new


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if not compiler or platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ:
        pytest.skip("needs glibc, a C compiler, and no other library before Python")
    path = tmp_path_factory.mktemp("failing") / "failing.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(path), str(SUPPORT / "failing_malloc.c")]
    subprocess.run(command, check=True)
    return str(path)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kinds", "subjects"),
    [
        (CORE, "tables,images,host,caught"),
        (CORE, "captured-0,captured-1,captured-3,captured-4"),
        (CORE, "captured-images,kernels.,ops."),
        (CORE, "fit,batches,save,load"),
        (NUMPY, "tables,captured-0,host,ops."),
        (NUMPY, "fit,batches,save,load"),
    ],
)
def test_each_allocation_fails(library, kinds, subjects):
    if subjects.startswith("fit"):
        pytest.importorskip("onnx")
    environment = {**os.environ, "LD_PRELOAD": library, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.failing_allocations", subjects, str(kinds), str(POINTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=3600)
    *faults, points = done.stdout.splitlines() or ["nothing"]
    assert not faults, "\n".join(faults[:20])
    assert done.returncode == 0, done.stderr
    assert int(points.split()[0]) > 3
