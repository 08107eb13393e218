"""Every float32 through every elementary function at every ISA level: about an hour on one core.

    RANVIER_EXHAUSTIVE=1 pytest -s tests/kernels/test_math_exhaustive.py

prints the largest error of each, the table of docs/accuracy.md.
"""

import os

import numpy as np
import pytest
from support.ulp import BOUND, FUNCTIONS, ulp_error

CHUNK = 1 << 22


@pytest.mark.skipif(not os.environ.get("RANVIER_EXHAUSTIVE"), reason="takes long: set RANVIER_EXHAUSTIVE=1")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_float32(name, isa):
    kernel, exact = FUNCTIONS[name]
    worst, where = 0.0, 0.0
    for first in range(0, 1 << 32, CHUNK):
        x = np.arange(first, first + CHUNK, dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            error = ulp_error(kernel(x, None), exact(x.astype(np.float64)))
        index = int(np.argmax(error))
        if error[index] > worst:
            worst, where = float(error[index]), float(x[index])
    print(f"\n{name:8} {isa}: {worst:.3f} ulp at {where.hex()}")
    assert worst <= BOUND
