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


K = np.arange(5)
SIGNALS = {  # beside their definitions, of five places
    "cosine": ({}, np.sin(np.pi * (K + 0.5) / 5)),
    "exponential": ({"tau": 2.0, "center": 1}, np.exp(-abs(K - 1) / 2)),
    "gaussian": ({"std": 2.0}, np.exp(-(((K - 2) / 2) ** 2) / 2)),
    "general_cosine": ({"a": [0.4, 0.3, 0.2]}, 0.4 - 0.3 * np.cos(np.pi * K / 2) + 0.2 * np.cos(np.pi * K)),
    "general_hamming": ({"alpha": 0.6}, 0.6 - 0.4 * np.cos(np.pi * K / 2)),
    "nuttall": ({}, [0.0003628, 0.2269824, 1.0, 0.2269824, 0.0003628]),
    **{name: ({}, NUMPY[name](5)) for name in NUMPY},
}


@pytest.mark.parametrize("name", SIGNALS)
def test_windows_of_signals(name):
    window, (settings, values) = getattr(windows, name), SIGNALS[name]
    np.testing.assert_allclose(window(5, **settings).tolist(), values, atol=1e-6)
    if "center" not in settings:
        np.testing.assert_allclose(window(4, sym=False, **settings).tolist(), values[:4], atol=1e-6)
    assert [window(n, dtype=rv.float64, **settings).tolist() for n in (0, 1)] == [[], [1.0]]
    refused(RuntimeError, f"[{name}] got window_length -1", window, -1, **settings)


@pytest.mark.parametrize("name", NUMPY)
def test_refused(name):
    window = getattr(windows, f"{name}_window")
    refused(RuntimeError, "expected a length >= 0 and floats", window, -1)
    refused(RuntimeError, "expected a length >= 0 and floats", window, 4, dtype=rv.int64)
