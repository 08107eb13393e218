"""interpolate and pad beside values worked out by hand or given by PyTorch: areas, antialias, bytes, places
that float32 rounds; images stay channels-last.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops


def test_recomputed_factor(rng):
    """With recompute_scale_factor the factor only says how large the result is."""
    x = rng.uniform(-1, 1, (1, 2, 7, 5)).astype("float32")
    y = ops.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True)
    expected = ops.interpolate(x, size=(9, 6), mode="bilinear")
    np.testing.assert_array_equal(y.numpy(), expected.numpy())


def test_no_weight_no_infinity():
    """An input of weight 0 has no influence, whatever its value."""
    x = np.array([[[1.0, np.inf, 2.0]]])
    y = ops.interpolate(x, size=5, mode="linear", align_corners=True).numpy()
    assert y[0, 0].tolist() == [1.0, np.inf, np.inf, np.inf, 2.0]


def test_area(rng):
    """Of signals; those of images are in the samples."""
    x = rng.uniform(-1, 1, (1, 2, 5)).astype("float32")
    expected = ops.adaptive_avg_pool1d(x, 2)
    np.testing.assert_array_equal(ops.interpolate(x, scale_factor=0.5, mode="area").numpy(), expected.numpy())


def test_antialias(rng):
    """A triangle twice as wide where the size halves: inputs at 1/4 and 3/4 of its reach, less at the ends.
    An axis that grows is interpolated as without it."""
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    shares = np.array([[3, 3, 1, 0, 0, 0], [0, 1, 3, 3, 1, 0], [0, 0, 0, 1, 3, 3]]) / [[7.0], [8.0], [7.0]]
    y = ops.interpolate(rv.tensor(np.tile(x, (1, 1, 4, 1))), (4, 3), mode="bilinear", antialias=True)
    np.testing.assert_allclose(y.numpy()[0, 0], np.tile(shares @ x, (4, 1)), rtol=1e-15)
    x = rv.tensor(rng.uniform(-1, 1, (2, 2, 5, 4)))
    larger, plain = (ops.interpolate(x, (9, 7), mode="bilinear", antialias=a) for a in (True, False))
    np.testing.assert_allclose(larger.numpy(), plain.numpy(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("mode", "right"),
    [
        ("bilinear", [[31, 127, 82, 80], [178, 158, 36, 30], [77, 70, 11, 4]]),
        ("bicubic", [[18, 129, 85, 86], [193, 175, 21, 30], [72, 71, 5, 1]]),
    ],
)
def test_bytes_are_rounded_after_each_axis_as_in_pytorch(mode, right):
    rows = [[0, 3, 255, 7, 200, 20], [9, 255, 0, 31, 77, 50], [255] * 3 + [0] * 3, [1, 2, 3, 4, 5, 6]]
    x = rv.tensor([[rows]], dtype=rv.uint8)
    y = ops.interpolate(x, (3, 4), mode=mode, antialias=True)
    assert (y.dtype, y[0, 0].tolist()) == (rv.uint8, right)


@pytest.mark.parametrize(
    ("mode", "factor"), [("nearest", (1.15, 2.0)), ("linear", 1.16), ("bilinear", (1.15, 2.0))]
)
def test_an_axis_that_keeps_its_length_is_copied(mode, factor):
    x = rv.arange(6.0).reshape(1, 1, 6) if mode == "linear" else rv.arange(12.0).reshape(1, 1, 6, 2)
    y = rv.nn.functional.interpolate(x, scale_factor=factor, mode=mode)
    expected = x if mode == "linear" else rv.nn.functional.interpolate(x, scale_factor=(1.0, 2.0), mode=mode)
    assert y.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("mode", "old", "new", "output", "right"),
    [("nearest", 4, 82, 41, 1), ("nearest", 12, 74, 37, 5), ("nearest-exact", 4, 49, 24, 2)],
)
def test_float32_rounds_the_coordinates_of_nearest_inputs_as_in_pytorch(mode, old, new, output, right):
    x = rv.arange(float(old)).reshape(1, 1, old)
    assert rv.nn.functional.interpolate(x, new, mode=mode)[0, 0, output] == right


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_pixels_of_bytes_stay_bytes(mode):
    x = np.arange(200, 248, dtype=np.uint8).reshape(1, 3, 4, 4)
    got = rv.nn.functional.interpolate(rv.from_numpy(x), (3, 5), mode=mode)
    want = rv.nn.functional.interpolate(rv.from_numpy(x.astype(np.float32)), (3, 5), mode=mode)
    assert got.dtype == rv.uint8
    assert (got.numpy() == want.numpy()).all()


RESIZED = [
    (ops.interpolate, {"scale_factor": 2, "mode": mode}) for mode in ("nearest", "bilinear", "bicubic")
]
FRAMED = [
    (ops.pad, {"pad": (1, 1, 2, 2), "mode": mode})
    for mode in ("constant", "reflect", "replicate", "circular")
]


@pytest.mark.parametrize(("op", "settings"), [*RESIZED, *FRAMED])
def test_images_stay_channels_last(op, settings, rng):
    x = rv.from_numpy(rng.uniform(-1, 1, (2, 5, 6, 3)).astype("float32").transpose(0, 3, 1, 2))
    y = op(x.requires_grad_(), **settings)
    assert y.detach().numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    y.backward(y.detach())
    assert x.grad.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
