"""conv1d: forward and backward against the reference, in every geometry."""

import pytest
import ranvier as rv
from ranvier import ops
from reference import conv2d as reference
from support.convolution import ConvCase
from support.refused import refused

GEOMETRY = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def variant(n, c, l, k, s, **geometry):
    return {"shape": (n, c, l, k, s), "geometry": {**GEOMETRY, **geometry}}


class TestConv1d(ConvCase):
    op_name = "conv1d"
    module = reference
    growth = (2, 0, 301, 0, 0)
    variants = (
        variant(2, 3, 11, 5, 3),
        variant(2, 1, 20, 17, 5, padding=2),  # one channel: taps share a tile
        variant(1, 17, 9, 9, 3, padding=2, stride=2),
        variant(2, 6, 12, 9, 4, groups=3, padding="same", dilation=2),
        variant(2, 19, 13, 19, 3, groups=19, padding=1, stride=2),  # depthwise
        variant(3, 8, 5, 18, 1, padding="valid"),
        variant(1, 2, 5, 3, 1, stride=3, padding=2),  # samples that only see padding
    )

    def sized(self, rng, dtype, shape):
        n, c, l, k, s = shape
        return super().sized(rng, dtype, ((n, c, l), (k, c // self.geometry["groups"], s), (k,)))

    def draw(self, rng, dtype):
        groups, s, stride, dilation = (int(v) for v in rng.integers(1, 4, 4))
        padding = int(rng.integers(0, 4)) if stride > 1 or rng.random() < 0.6 else "same"
        l = dilation * (s - 1) + 1 + int(rng.integers(0, 30))
        c, k = (groups * rng.integers(1, 20, 2)).tolist()
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return self.drawn(rng, dtype, variant(int(rng.integers(1, 4)), c, l, k, s, **settings))

    def reduction(self, x, w, b):
        """Of y: taps times channels, and the bias; of dx: taps times channels; of dw and db: samples of y."""
        return max(w[0].size + 1, w[:, 0].size, self.reference(x, w, b)[:, 0].size)


def test_channels_are_contiguous_and_need_no_copy(rng):
    """The result of one layer is what the kernel of the next reads in place."""
    x = rng.uniform(-1, 1, (2, 3, 9)).astype("float32")
    w = rng.uniform(-1, 1, (4, 3, 3)).astype("float32")
    assert ops.conv1d(x, w).numpy().transpose(0, 2, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": (1, 2)}, "got stride (1, 2); expected an integer"),
        ({"dilation": 4}, "got a kernel that reaches over 9 samples along l and a padded input of 5"),
        ({"groups": 3}, "got x with 3 channels and weight for 9; expected weight of shape (K, 1, S)"),
        ({"bias": rv.zeros(3)}, "got bias of shape (3,); expected (4,)"),
    ],
)
def test_wrong_settings(settings, message):
    """The others: test_conv2d.py."""
    x, w = rv.zeros(1, 3, 5), rv.zeros(4, 3, 3)
    refused(ValueError, f"[conv1d] {message}", ops.conv1d, x, w, **settings)
    refused(ValueError, "got x of shape (1, 3, 5, 1); expected 3 dimensions", ops.conv1d, x[..., None], w)
    refused(TypeError, "got x of dtype float32 and weight of dtype float64", ops.conv1d, x, w.double())
