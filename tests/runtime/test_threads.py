"""The team: its size, forks, floating-point state, and one hash of a run at every level."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
import threadpoolctl as threadpoolctl
from ranvier import _core
from support.python import printed
from support.refused import refused
from support.threads import beside, in_thread, in_threads

COUNT = "import ranvier as rv; print(rv.get_num_threads())"


def run_python(code, **environment):
    return printed("-c", code, **environment).strip()


def big_product(rng, dtype=np.float32):
    return rng.standard_normal((300, 257)).astype(dtype), rng.standard_normal((257, 130)).astype(dtype)


@pytest.mark.parametrize("count", [0, -1, 100_000])
def test_a_count_out_of_range_is_an_error(count):
    with pytest.raises(ValueError, match=rf"\[set_num_threads\] got {count}; expected a count from 1 to"):
        rv.set_num_threads(count)


def test_default_count_is_what_the_process_may_use():
    cpus = sorted(os.sched_getaffinity(0))
    on_one = f"import os; os.sched_setaffinity(0, {{{cpus[0]}}}); {COUNT}"
    assert run_python(on_one, OMP_NUM_THREADS="") == "1"
    assert int(run_python(COUNT, OMP_NUM_THREADS="")) <= len(cpus)


@pytest.mark.parametrize("setting", ["OMP_PROC_BIND=close", "OMP_PLACES=threads"])
def test_default_count_where_the_user_places_threads(setting):
    """OpenMP then binds the thread that imports the library to its first place."""
    name, value = setting.split("=")
    expected = run_python(COUNT, OMP_NUM_THREADS="")
    assert run_python(COUNT, OMP_NUM_THREADS="", **{name: value}) == expected


def test_threads_in_one_place_are_one():
    places = f"{{{min(os.sched_getaffinity(0))}}}"
    assert run_python(COUNT, OMP_NUM_THREADS="", OMP_PLACES=places) == "1"
    assert run_python(COUNT, OMP_NUM_THREADS="", OMP_PLACES="threads", OMP_PROC_BIND="master") == "1"


def test_omp_num_threads_is_obeyed():
    assert run_python(COUNT, OMP_NUM_THREADS="3") == "3"
    assert run_python(COUNT, OMP_NUM_THREADS="100000") == "1024"


def test_threadpoolctl_limits_and_restores():
    rv.set_num_threads(2)
    assert rv.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert rv.get_num_threads() == 1
    assert rv.get_num_threads() == 2


def test_threadpoolctl_limits_before_the_first_call():
    code = """
import ranvier as rv
from threadpoolctl import threadpool_limits
with threadpool_limits(1, user_api="openmp"):
    print(rv.get_num_threads())
print(rv.get_num_threads())
"""
    assert run_python(code, OMP_NUM_THREADS="2").split() == ["1", "2"]


def blas_threads():
    return {p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"}


def test_numpy_threads_are_set_and_ours_stay():
    rv.set_num_threads(2)
    with threadpoolctl.threadpool_limits(None, user_api="blas"):  # restores at the end
        rv.set_numpy_threads(1)
        assert blas_threads() == {1}
        rv.set_numpy_threads(2)
        assert blas_threads() == {2}
        assert rv.get_num_threads() == 2


@pytest.mark.parametrize(
    ("count", "error"), [(0, ValueError), (1025, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_numpy_threads_out_of_range_are_an_error(count, error):
    with pytest.raises(error, match=r"\[set_numpy_threads\] got .*; expected a"):
        rv.set_numpy_threads(count)


def test_numpy_threads_need_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    refused(ImportError, "pip install 'ranvier[threads]'", rv.set_numpy_threads, 1)


def test_count_set_in_one_thread_holds_in_another():
    rv.set_num_threads(3)
    assert in_thread(rv.get_num_threads) == 3


def test_two_python_threads_compute_at_once():
    rv.set_num_threads(2)
    a, b = big_product(np.random.default_rng(1))
    expected = _core.matmul(a, b, None, "none", None)

    def work(_):
        for _ in range(200):
            np.testing.assert_array_equal(_core.matmul(a, b, None, "none", None), expected)

    in_threads(4, work)


FORKS = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, of which Python 3.12 warns
import numpy as np
import ranvier as rv
from ranvier import _core

rv.set_num_threads(2)
a = np.ones((256, 256), np.float32)
product = lambda: _core.matmul(a, a, None, "none", None)
product()
running = True

def keep_busy():
    while running:
        product()

busy = threading.Thread(target=keep_busy)
busy.start()
failed = []

def fork_many():
    for _ in range(60):
        pid = os.fork()
        if pid == 0:
            ok = all((product() == 256).all() for _ in range(3)) and rv.get_num_threads() == 2
            os._exit(0 if ok else 1)
        if os.waitpid(pid, 0)[1] != 0:
            failed.append(pid)

forker = threading.Thread(target=fork_many)
forker.start()
forker.join()
running = False
busy.join()
assert (product() == 256).all()
print(len(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_sixty_forked_children_compute_while_the_parent_does():
    assert run_python(FORKS) == "0"


FORKS_BESIDE_A_REPLAY = """
import os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import numpy as np
import ranvier as rv

rv.set_num_threads({threads})
w = rv.ones(64, 64).requires_grad_()
x = rv.ones(8, 64)

@rv.compile
def step(x):
    loss = (x @ w).tanh().sum()
    loss.backward()
    with rv.no_grad():
        w.sub_(w.grad * 0.0)
    w.grad = None
    return loss

expected = [step(x).item() for _ in range(30)][-1]
running = True

def keep_busy():
    while running:
        step(x)

busy = threading.Thread(target=keep_busy)
busy.start()
wrong = []
for number in range(100):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(0 if step(x).item() == expected else 1)
    code = os.waitpid(pid, 0)[1]
    if code != 0:
        wrong.append((number, code))
        break
running = False
busy.join()
print(wrong)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_hundred_children_of_a_process_that_replays(threads):
    """The child replays the program that another thread replayed during the fork."""
    assert run_python(FORKS_BESIDE_A_REPLAY.replace("{threads}", str(threads))) == "[]"


def test_a_call_keeps_the_team_it_began_with():
    """Another thread changes the number of threads all the time: right values, inside the workspace."""
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((2, 64, 12, 12)), rng.standard_normal((64, 64, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    calls = [
        (1200, lambda: _core.conv2d(x, w, None, 1, 1)),  # by Winograd: scratch for each thread
        (100, lambda: _core.conv2d(x, w, None, 2, 1)),
        (100, lambda: _core.conv2d_pool(x, w, None, 1, 1)[0]),
        (100, lambda: _core.conv2d_backward(x, x, w, 1, 1)[1]),
        (100, lambda: _core.conv2d(x, w[:, :1], None, 1, 1, 1, 64)),
        (100, lambda: _core.interpolate(x, None, 2.0, "bilinear")),
    ]
    expected = [call() for _, call in calls]

    def change():
        _core.set_num_threads(1)
        _core.set_num_threads(16)

    try:
        with beside(change):
            for (count, call), wanted in zip(calls, expected, strict=True):
                for _ in range(count):
                    _core.empty_cache()  # to wait for a workspace gives the other thread time
                    np.testing.assert_array_equal(call(), wanted)
    finally:
        rv.set_num_threads(2)


# A library built with -ffast-math sets flush-to-zero for the whole thread: our bits must not notice.


FAST_MATH_C = """
__attribute__((constructor)) static void flush_to_zero(void) {
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* FTZ and DAZ, as crtfastmath.o does */
}
"""

PROGRAM = """
import ctypes, hashlib, sys
if sys.argv[1]:
    ctypes.CDLL(sys.argv[1])
import numpy as np
from ranvier import _core
if sys.argv[1]:
    assert np.float32(1e-40) * np.float32(1) == 0, "the library has not set flush-to-zero"
rng = np.random.default_rng(0)
a = (rng.standard_normal((200, 300)) * 1e-20).astype(np.float32)
b = (rng.standard_normal((300, 150)) * 1e-20).astype(np.float32)
c = np.array([71362, 14272], np.uint32).view(np.float32).repeat(4000)  # subnormals, made without arithmetic
h = hashlib.sha256()
_core.set_num_threads(2)
h.update(_core.matmul(a, b, None, "none", None).tobytes())
h.update(_core.matmul(c[:, None], np.ones((1, 1), np.float32), None, "none", None).tobytes())
if sys.argv[1]:
    assert np.float32(1e-40) * np.float32(1) == 0, "the caller's environment was not restored"
print(h.hexdigest())
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="MXCSR is x86-64's")
def test_flush_to_zero_set_by_another_library_changes_no_bit(tmp_path):
    cc = shutil.which("cc") or shutil.which("gcc")
    if cc is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "fast.c", tmp_path / "libfast.so"
    source.write_text(FAST_MATH_C)
    subprocess.run([cc, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)

    def digest(path):
        return printed("-W", "ignore", "-c", PROGRAM, path)

    assert digest(library) == digest("")


@pytest.mark.parametrize("n", [1, 7, 70_000])  # a part of a vector, and several threads
def test_subnormal_numbers_are_kept(isa, threads, n):
    x = np.resize(np.float32([1.5e-38, 1e-38, 1e-45, -1e-40, 0.0, -0.0, 1.0]), n)
    np.testing.assert_array_equal(rv.from_numpy(x).mul(0.5).numpy(), x * np.float32(0.5))


# rv.set_consistent: a training run has one hash at every ISA level with FMA. .ci/aarch64 adds aarch64.


RUN = Path(__file__).parents[1] / "support" / "digits_run.py"
LEVELS = [level for level in _core.supported_isas() if level != "x86-64-v2"]


needs_a_consistent_level = pytest.mark.skipif(
    not {"x86-64-v3", "aarch64-as-v3"}.intersection(LEVELS), reason="needs x86-64-v3 of the CPU and the build"
)


@pytest.fixture(autouse=True)
def level_of_before():
    before = _core.isa()
    yield
    _core.set_isa(before)


@pytest.mark.skipif(len(LEVELS) < 2, reason="needs two levels with FMA of the CPU and the build")
def test_a_training_run_has_one_hash_at_every_level():
    found = {}
    for level in LEVELS:
        name, *found[level] = printed(RUN, RANVIER_ISA=level).split()
        assert name == level
    hashes = found[LEVELS[0]]
    assert len(set(hashes)) == 3  # float32, float64, the arithmetic
    assert all(others == hashes for others in found.values())


@needs_a_consistent_level
def test_the_setting_and_the_digest():
    rv.set_consistent(True)
    assert rv.get_consistent()
    assert _core.isa() in ("x86-64-v3", "aarch64-as-v3")
    digest = rv.config.config()["arithmetic"]
    assert len(digest) == 12
    rv.set_consistent(True)
    assert rv.config.config()["arithmetic"] == digest
    for level in _core.supported_isas():
        _core.set_isa(level)
        assert (rv.config.config()["arithmetic"] == digest) == rv.get_consistent(), level


@needs_a_consistent_level
def test_off_is_the_level_of_the_start(monkeypatch):
    rv.set_consistent(True)
    monkeypatch.delenv("RANVIER_ISA", raising=False)
    rv.set_consistent(False)
    assert _core.isa() == _core.supported_isas()[0]
    monkeypatch.setenv("RANVIER_ISA", _core.supported_isas()[-1])
    rv.set_consistent(False)
    assert _core.isa() == _core.supported_isas()[-1]


def test_refused(monkeypatch):
    with pytest.raises(TypeError, match=r"^\[set_consistent\] got 1; expected True or False$"):
        rv.set_consistent(1)
    monkeypatch.setattr(_core, "supported_isas", lambda: ["x86-64-v2"])
    message = r"^\[set_consistent\] got the levels x86-64-v2; expected a CPU with fused multiply-add"
    with pytest.raises(RuntimeError, match=message):
        rv.set_consistent(True)
