"""Memory: it is given back, allocations that fail, and caches of other sizes."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from support.python import ended, printed
from support.threads import in_threads


def test_memory_that_is_let_go_is_kept_until_the_cache_is_emptied():
    x = rv.zeros(1 << 20)
    in_use = rv.memory_stats()["bytes_in_use"]
    rv.empty_cache()
    assert rv.memory_stats()["bytes_cached"] == 0
    del x
    stats = rv.memory_stats()
    assert stats["bytes_cached"] >= 4 << 20
    assert stats["bytes_in_use"] <= in_use - (4 << 20)
    rv.empty_cache()
    assert rv.memory_stats()["bytes_cached"] == 0


def test_resized_in_place():
    """NumPy moves a block of the cache by the handler's realloc, and keeps its elements."""
    y = _core.add(np.arange(6.0), 1.0)
    y.resize(20000, refcheck=False)
    assert y[:6].tolist() == [1, 2, 3, 4, 5, 6]
    assert not y[6:].any()
    y.resize(3, refcheck=False)
    assert y.tolist() == [1, 2, 3]


def figures(program):
    """What a new process prints, whose allocator has served nobody before."""
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", f"import ranvier as rv\n{program}"]
    return list(map(int, subprocess.check_output(command, env=settings, text=True).split()))


SEQUENCES = {
    "shrinking": [60, 50, 40, 30, 20, 10],
    "growing": [10, 20, 30, 40, 50, 60],
    "halved": [60, 29, 14, 6, 3] * 5,
    "both": [10, 30, 50, 60, 40, 20] * 5,
    "any": [1 + k * 37 % 60 for k in range(100)],
}


@pytest.mark.parametrize("sizes", SEQUENCES.values(), ids=SEQUENCES)
def test_a_freed_block_serves_other_sizes(sizes):
    held, peak, hits = figures(
        f"for mib in {sizes}: rv.zeros(mib, 1 << 18)\n"
        "s = rv.memory_stats()\n"
        "print(s['bytes_in_use'] + s['bytes_cached'], s['peak_bytes_in_use'], s['cache_hits'])"
    )
    assert held <= 1.5 * peak
    assert hits >= len(sizes) - 12  # what a program repeats is there


def test_many_blocks_give_way_to_others():
    held, peak = figures(
        "for kib in (512, 448, 300, 900): xs = [rv.zeros(kib, 256) for _ in range(60)]; del xs\n"
        "s = rv.memory_stats()\n"
        "print(s['bytes_in_use'] + s['bytes_cached'], s['peak_bytes_in_use'])"
    )
    assert held <= 1.5 * peak


def test_blocks_that_are_parts_of_others_do_not_overlap():
    def take_and_give(number):
        rng, kept = np.random.default_rng(number), []
        for k in range(400):
            if len(kept) > 8 or (kept and rng.random() < 0.4):
                x, value = kept.pop(rng.integers(len(kept)))
                assert (x.numpy()[[0, -1]] == value).all()
            x = rv.empty(int(2 ** rng.uniform(4, 21)))
            x.numpy()[[0, -1]] = k
            kept.append((x, k))

    in_threads(4, take_and_give)


@pytest.mark.parametrize("call", ["relu", "relu6", "silu", "elu", "hardswish", "leaky_relu", "dropout"])
def test_a_layer_in_place_needs_no_array(call):
    (more,) = figures(
        "x = rv.full((4, 1024, 1024), 0.5)\n"
        "before = rv.memory_stats()['peak_bytes_in_use']\n"
        f"rv.nn.functional.{call}(x, inplace=True)\n"
        "print(rv.memory_stats()['peak_bytes_in_use'] - before)"
    )
    assert more < 1 << 20


# The sizes of the caches decide how work is cut up, never a bit of a result.


CALLS = """
import hashlib
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F

rng = np.random.default_rng(0)
def array(*shape):
    return rv.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
def show(name, y, *inputs):
    y.sum().backward()
    parts = [y.detach().numpy(), *(x.grad.numpy() for x in inputs)]
    print(name, hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest())

convolutions = [(3, 40, 17, 2, 1), (24, 30, 40, 1, 1), (64, 14, 64, 1, 1), (32, 30, 32, 1, 32)]
convolutions += [(48, 33, 48, 2, 48), (160, 30, 160, 2, 160)]
for level in rv._core.supported_isas():
    rv._core.set_isa(level)
    for m, k, n in [(1, 900, 700), (7, 1200, 530), (130, 800, 1100)]:
        a, b = array(m, k), array(k, n)
        show(f"{level}: matmul {m} {k} {n}", a @ b, a, b)
    for c, size, k, stride, groups in convolutions:
        x, w = array(2, c, size, size), array(k, c // groups, 3, 3)
        show(f"conv2d {c} {k}", F.conv2d(x, w, stride=stride, padding=1, groups=groups), x, w)
    x, w = array(2, 12, 40, 40), array(64, 12, 1, 1)
    show("conv2d 1x1", F.conv2d(x, w), x, w)
    x, w = array(8, 5, 40, 40), array(16, 5, 5, 3)
    show("conv2d of few channels", F.conv2d(x, w), x, w)
    for _ in range(20):
        n, c, k, size, taps = (int(i) for i in rng.integers(1, [9, 40, 40, 40, 6]))
        x, w = array(n, c, size + taps, size + taps), array(k, c, taps, taps)
        show(f"conv2d {n} {c} {k} {size} {taps}", F.conv2d(x, w), x, w)
    x, weight, bias = array(300, 700), array(700), array(700)
    show("layer_norm", F.layer_norm(x, (700,), weight, bias), x, weight, bias)
    x = array(4, 30, 21, 21)
    show("batch_norm", F.relu(F.batch_norm(x, None, None, training=True)), x)
    show("interpolate", F.interpolate(x, scale_factor=2.5, mode="bilinear"), x)
    show("max_pool2d", F.max_pool2d(x, 3, 2), x)
"""


def test_caches_of_any_size_give_the_same_bits() -> None:
    expected = printed("-c", CALLS)
    for caches in ["8,64,512", "48,2048,262144"]:
        assert printed("-c", CALLS, RANVIER_CACHES=caches) == expected


@pytest.mark.parametrize("caches", ["", "32,1024", "32,1024,x", "32,1024,32768,1", "32,0,32768", "-1,1,1"])
def test_caches_that_are_not_three_sizes_are_refused(caches: str) -> None:
    run = ended("-c", "import ranvier", RANVIER_CACHES=caches)
    assert run.returncode != 0
    assert f"[import] got RANVIER_CACHES={caches}; expected the sizes of L1, L2 and L3 in KB" in run.stderr


# Memory runs out at any allocation of a call: MemoryError, nothing half changed, and the next call is right.
#
# The library of `failing_malloc.c`, loaded before Python, fails the allocations of the core (its
# caching allocator, operator new) or of NumPy. `failing_allocations.py` has the calls.


POINTS = 10**6 if os.environ.get("RANVIER_KILL_POINTS") == "all" else 5  # for a call; each twice
HERE = Path(__file__).parent
CORE, NUMPY = 1 | 4, 2  # the core: its allocator and operator new


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if not compiler or platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ:
        pytest.skip("needs glibc, a C compiler, and no other library before Python")
    path = tmp_path_factory.mktemp("failing") / "failing.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(path), str(HERE / "failing_malloc.c")]
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
    command = [sys.executable, "-m", "runtime.failing_allocations", subjects, str(kinds), str(POINTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=3600)
    *faults, points = done.stdout.splitlines() or ["nothing"]
    assert not faults, "\n".join(faults[:20])
    assert done.returncode == 0, done.stderr
    assert int(points.split()[0]) > 3
