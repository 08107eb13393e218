"""torch.hann_window and others beside NumPy's windows."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch import windows
from support.refused import refused

NUMPY = {
    "hann": np.hanning,
    "hamming": np.hamming,
    "blackman": np.blackman,
    "bartlett": np.bartlett,
    "kaiser": lambda n: np.kaiser(n, 12.0),
}


@pytest.mark.parametrize("n", [0, 1, 2, 7, 400])
@pytest.mark.parametrize("name", NUMPY)
def test_values(name, n):
    window = getattr(windows, f"{name}_window")
    np.testing.assert_allclose(window(n, False, dtype=rv.float64).numpy(), NUMPY[name](n), atol=1e-15)
    found = window(n, requires_grad=True)
    np.testing.assert_allclose(found.tolist(), NUMPY[name](n + (n > 1))[:n], atol=1e-7)
    assert (found.dtype, found.requires_grad) == (rv.float32, True)


@pytest.mark.parametrize("name", NUMPY)
def test_refused(name):
    window = getattr(windows, f"{name}_window")
    refused(RuntimeError, "expected a length >= 0 and floats", window, -1)
    refused(RuntimeError, "expected a length >= 0 and floats", window, 4, dtype=rv.int64)
