"""A library built with -ffast-math sets flush-to-zero for the whole thread: our bits must not notice."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier.compile import record
from support.refused import refused

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
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, path], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert digest(str(library)) == digest("")


@pytest.fixture
def kept():
    """Ends with the setting off, whatever the test did."""
    yield
    rv.set_flush_denormal(False)


@pytest.fixture
def flushed(kept):
    assert rv.set_flush_denormal(True)


TINY = [1.5e-38, 1e-38, 1e-45, -1e-40, 0.0, -0.0, 1.0]  # the first and the last are normal


@pytest.mark.parametrize("n", [1, 3, 7, 50, 70_000])  # parts of vectors, and several threads
def test_subnormal_numbers_become_zero(isa, threads, flushed, n):
    x = np.resize(np.array(TINY, np.float32), n)
    wanted = np.where(np.abs(x) < np.finfo(np.float32).tiny, 0, x)
    np.testing.assert_array_equal(rv.from_numpy(x).mul(1.0).numpy(), wanted)  # operands
    small = rv.from_numpy(x).mul(0.5).numpy()  # results
    np.testing.assert_array_equal(small, np.where(x == 1, 0.5, 0))


def test_subnormal_numbers_are_kept_otherwise(isa):
    x = np.array(TINY, np.float32)
    np.testing.assert_array_equal(rv.from_numpy(x).mul(0.5).numpy(), x * np.float32(0.5))


UNARY = "exp expm1 log log1p log2 sqrt rsqrt reciprocal sin cos tan tanh sigmoid erf relu abs neg square"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY.split())
def test_functions_of_subnormal_numbers_are_those_of_zero(isa, flushed, name, dtype):
    """Or of the number itself, where no operation on it was needed: abs only clears a bit."""
    info = np.finfo(dtype)
    x = np.array([info.smallest_subnormal, -info.smallest_subnormal, info.tiny / 2, -info.tiny / 4], dtype)
    function = getattr(rv, name)
    got, zero = (function(rv.from_numpy(a)).numpy() for a in (x, np.copysign(0, x)))
    with np.errstate(all="ignore"):
        rv.set_flush_denormal(False)
        kept = function(rv.from_numpy(x)).numpy()
    same = (got == zero) | (got == kept) | (np.isnan(got) & (np.isnan(zero) | np.isnan(kept)))
    assert same.all(), (got, zero, kept)


def test_float16_subnormals_are_normal_numbers_of_float32(isa, flushed):
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    np.testing.assert_array_equal(rv.from_numpy(x).float().numpy(), x.astype(np.float32))
    np.testing.assert_array_equal(rv.from_numpy(x.astype(np.float32)).half().numpy(), x)


def test_a_compiled_step_follows_the_setting(flushed):
    step = rv.compile(lambda x: (x * 0.5).sum())
    x = rv.tensor([1.5e-38, 1.5e-38])
    for mode in (True, True, True, False, False, False, True):
        rv.set_flush_denormal(mode)
        assert (step(x).item() == 0) == mode


@pytest.mark.parametrize("others", [0, 1])
def test_a_compiled_step_may_not_change_the_setting(monkeypatch, kept, others):
    """With other threads, any of which may have changed it, the call is not recorded."""
    monkeypatch.setattr(record, "other_threads", lambda: others)

    @rv.compile(strict=True)
    def step(x):
        rv.set_flush_denormal(True)
        return x * 1.0

    for _ in range(3):
        rv.set_flush_denormal(False)
        if others:
            step(rv.ones(3))
            assert rv.config.config()["flush_denormal"]
        else:
            refused(rv.CaptureError, "changes a setting of the library", step, rv.ones(3))


def test_modes_that_are_no_bool_are_refused():
    for wrong in (1, None, "on"):
        refused(TypeError, "[set_flush_denormal] got mode", rv.set_flush_denormal, wrong)
