"""torch.svd in the mode."""

import numpy as np
import ranvier as rv
from ranvier.torch.matrices import svd


def test_svd_gives_v():
    """The product gives the matrix back."""
    x = rv.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 3)))
    u, s, v = svd(x)
    np.testing.assert_allclose((u * s.unsqueeze(-2) @ v.transpose(-2, -1)).numpy(), x.numpy(), atol=1e-12)
    assert svd(x, some=False)[0].shape == (2, 4, 4)
