"""A library built with -ffast-math sets flush-to-zero for the whole thread: our bits must not notice."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import ranvier as rv
from support.python import printed

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
