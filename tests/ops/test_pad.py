"""pad: integers, memory formats, what a frame cannot hold."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops


def test_whole_numbers_and_masks():
    np.testing.assert_array_equal(ops.pad(np.arange(3), (1, 1), value=9).numpy(), [9, 0, 1, 2, 9])
    np.testing.assert_array_equal(
        ops.pad(np.array([[True, False]]), (-1, 1, 0, 1), value=True).numpy(), [[False, True], [True, True]]
    )
    assert ops.pad(np.arange(2), (-3, 2), value=4).tolist() == [4]


def test_layout_stays(rng):
    x = rng.uniform(-1, 1, (2, 5, 6, 3)).astype("float32").transpose(0, 3, 1, 2)
    for mode in ("constant", "reflect", "replicate", "circular"):
        leaf = rv.from_numpy(x).requires_grad_()
        y = ops.pad(leaf, (1, 1, 2, 2), mode)
        assert y.detach().numpy().transpose(0, 2, 3, 1).flags.c_contiguous
        y.backward(y.detach())
        assert leaf.grad.numpy().transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(("dtype", "value"), [("int64", 2**70), ("uint8", -1), ("int64", float("nan"))])
def test_a_frame_that_integers_cannot_hold(dtype: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"\[pad\] got {value}; expected a number that"):
        rv.pad(rv.tensor([[1, 2]]).to(dtype), (1, 1), value=value)
