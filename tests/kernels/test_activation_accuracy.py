"""Activations with an exponential or a division inside: their largest error, which docs/accuracy.md tells.

    pytest -s tests/kernels/test_activation_accuracy.py

prints it. The arguments are float32 numbers of every size, a step of the bit patterns apart.
"""

import numpy as np
import pytest
from ranvier import _core
from reference import activation as reference
from support.ulp import ulp_error

STEP = 8191
SMALLEST = {"silu": 1e-36, "mish": 1e-36}  # below, exp(x) is subnormal
BOUNDS = {
    "celu": 2,
    "elu": 2,
    "hardsigmoid": 2,
    "hardswish": 2,
    "logsigmoid": 2,
    "mish": 4,
    "selu": 3,
    "silu": 4,
    "softplus": 2,
    "softsign": 2,
}


@pytest.mark.parametrize("name", BOUNDS)
def test_largest_error(name, isa):
    x = np.arange(0, 1 << 32, STEP, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    if name == "mish":  # the reference's tanh(softplus(x)) loses digits below
        x = x[x > -16]
    with np.errstate(all="ignore"):
        exact = getattr(reference, name)(x.astype(np.float64))
        error = ulp_error(getattr(_core, name)(x), exact)
    error[np.abs(exact) < SMALLEST.get(name, np.finfo(np.float32).tiny)] = 0
    worst = int(np.argmax(error))
    print(f"\n{name:12} {isa}: {error[worst]:.2f} ulp at {x[worst]}")
    assert error[worst] <= BOUNDS[name]
