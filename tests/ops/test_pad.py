"""pad: forward and backward against the reference, in every mode."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import pad as reference
from support.op_case import WIDTHS, OpCase


def variant(shape, sizes, mode="constant", value=0.0):
    return {"shape": shape, "sizes": sizes, "mode": mode, "value": value}


class TestPad(OpCase):
    op_name = "pad"
    module = reference
    arguments = ("sizes", "mode", "value")
    variants = (
        variant((2, 3, 5, 6), (1, 2, 0, 3), value=-1.5),
        variant((2, 3, 5, 6), (-1, 2, 1, -2)),  # a crop on two sides
        variant((4, 7), (0, 1)),
        variant((3,), (2, 2), value=7.0),
        variant((2, 3, 4, 5, 2), (0, 0, 1, 1, -1, 1, 0, 2, 1, 0)),
        variant((2, 3, 5, 18), (3, 2, 1, 4), "reflect"),
        variant((2, 17, 5), (4, 4), "reflect"),
        variant((3, 4, 5), (1, -2, -1, 3), "reflect"),  # without a batch
        variant((2, 3, 4, 5), (7, 2, 9, 0), "replicate"),
        variant((3, 6), (2, 8), "replicate"),
        variant((2, 3, 4, 5), (-5, 6, 3, -4), "replicate"),  # all of x is cropped
        variant((2, 17, 5), (4, -7), "reflect"),
        variant((2, 3, 4, 5), (5, 2, 0, 4), "circular"),
        variant((2, 3, 20), (-3, 17), "circular"),
    )

    def resized(self):
        return ((2, n, 6, n + 4) for n in WIDTHS[:13] if len(self.shape) == 4)

    def large_inputs(self, rng, dtype):
        shape = tuple(n + 30 if d >= len(self.shape) - 2 else n + 2 for d, n in enumerate(self.shape))
        return self.sized(rng, dtype, shape)

    def empty_inputs(self, dtype):
        return (np.zeros((0, *self.shape[1:]), dtype),)

    def draw(self, rng, dtype):
        mode = rng.choice(["constant", "reflect", "replicate", "circular"])
        axes = int(rng.integers(1, 3))
        shape = tuple(rng.integers(2, 20, axes + 2).tolist())
        sizes = []
        for n in reversed(shape[-axes:]):
            least, most = -((n - 1) // 2), {"reflect": n - 1, "circular": (n + 1) // 2}.get(mode, 30)
            sizes += rng.integers(least, most + 1, 2).tolist()
        drawn = variant(shape, tuple(sizes), str(mode), float(rng.normal()) if mode == "constant" else 0.0)
        return drawn, self.sized(rng, dtype, shape)

    def reference_backward(self, dy, x):
        return (reference.pad_backward(dy, x.shape, self.sizes, self.mode),)

    def reduction(self, x):
        """A corner of 'replicate' is as many copies as its part of the frame has."""
        return int(np.prod([abs(n) + 2 for n in self.sizes]))


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
