"""torch.special.erfcx of the mode."""

import math

import numpy as np
import ranvier as rv
from ranvier.torch.special import erfcx


def test_erfcx_is_the_scaled_complement():
    """Beside Python's erfc, and from 20 on beside the first terms of its series."""
    x = np.array([-3.0, -0.5, 0.0, 0.7, 3.0, 12.0])
    np.testing.assert_allclose(
        erfcx(rv.tensor(x)).numpy(), [math.exp(v * v) * math.erfc(v) for v in x], rtol=1e-13
    )
    far = np.array([19.999, 20.0, 1e3, 1e8])
    series = (1 - 0.5 / far**2 + 0.75 / far**4 - 1.875 / far**6 + 6.5625 / far**8) / (
        far * math.sqrt(math.pi)
    )
    np.testing.assert_allclose(erfcx(rv.tensor(far)).numpy(), series, rtol=1e-11)
    assert erfcx(rv.tensor([1.0])).dtype is rv.float32


def test_erfcx_has_gradients():
    rv.autograd.gradcheck(erfcx, rv.tensor([-1.0, 0.3, 5.0, 30.0], dtype=rv.float64, requires_grad=True))
