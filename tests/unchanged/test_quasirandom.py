"""Sobol's sequences of the mode."""

import numpy as np
import pytest
from ranvier.torch.quasirandom import SobolEngine


def test_sobol():
    """Another start gives the same points; the first 2**m are one in each cell of a grid."""
    pytest.importorskip("scipy")
    engine = SobolEngine(2, scramble=True, seed=3)
    points = engine.draw_base2(4).numpy()
    cells = (points * 4).astype(int)
    assert len({tuple(cell) for cell in cells}) == 16
    np.testing.assert_array_equal(engine.reset().fast_forward(3).draw(5).numpy(), points[3:8])
