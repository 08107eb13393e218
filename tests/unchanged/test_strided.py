"""as_strided and Sobol's sequences of the mode."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.quasirandom import SobolEngine
from ranvier.torch.strided import as_strided


def test_as_strided_is_a_view():
    """Of one element, and of rows; gradients reach the tensor."""
    x = rv.arange(6.0).requires_grad_()
    y = as_strided(x, (2, 2), (2, 1), 1)
    np.testing.assert_array_equal(y.detach().numpy(), [[1, 2], [3, 4]])
    (as_strided(x, (), (), 5) + y.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 1, 1, 1, 1, 1])
    z = rv.zeros(3)
    as_strided(z, (), ()).fill_(7)
    assert z.tolist() == [7, 0, 0]


@pytest.mark.parametrize(("size", "stride"), [((2, 2), (1, 2)), ((3,), (0,))])
def test_as_strided_refuses_other_strides(size, stride):
    """What is no view of elements in their order."""
    with pytest.raises(ValueError, match=r"^\[as_strided\] got size"):
        as_strided(rv.arange(6.0), size, stride)


def test_sobol():
    """Another start gives the same points; the first 2**m are one in each cell of a grid."""
    pytest.importorskip("scipy")
    engine = SobolEngine(2, scramble=True, seed=3)
    points = engine.draw_base2(4).numpy()
    cells = (points * 4).astype(int)
    assert len({tuple(cell) for cell in cells}) == 16
    np.testing.assert_array_equal(engine.reset().fast_forward(3).draw(5).numpy(), points[3:8])
