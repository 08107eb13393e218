"""conv_transpose1d and conv_transpose2d: forward and backward against the reference, in every geometry."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import conv2d as reference
from support.convolution import ConvCase

GEOMETRY = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "groups": 1, "dilation": (1, 1)}


def variant(n, c, h, w, k, r, s, **geometry):
    return {"shape": (n, c, h, w, k, r, s), "geometry": {**GEOMETRY, **geometry}}


class TestConvTranspose2d(ConvCase):
    op_name = "conv_transpose2d"
    module = reference
    variants = (
        variant(2, 3, 5, 6, 4, 3, 2),
        variant(1, 17, 4, 5, 9, 4, 4, stride=(2, 2), padding=(1, 1)),  # a decoder's
        variant(2, 4, 3, 4, 6, 3, 2, stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
        variant(1, 6, 4, 3, 9, 2, 3, groups=3, dilation=(2, 1), output_padding=(1, 0)),
        variant(2, 19, 3, 4, 19, 3, 3, groups=19, stride=(2, 2), padding=(1, 1)),  # depthwise
        variant(1, 2, 3, 3, 5, 1, 1, stride=(3, 2)),  # pixels that nothing lands on
        variant(2, 33, 2, 2, 1, 5, 5, padding=(2, 2)),
    )

    def sized(self, rng, dtype, shape):
        n, c, h, w, k, r, s = shape
        return super().sized(rng, dtype, ((n, c, h, w), (c, k // self.geometry["groups"], r, s), (k,)))

    def draw(self, rng, dtype):
        groups, r, s = rng.integers(1, 4, 3).tolist()
        stride, dilation = rng.integers(1, 4, (2, 2))
        extra = [int(rng.integers(0, max(a, b))) for a, b in zip(stride, dilation, strict=True)]
        h, w = rng.integers(1, 9, 2).tolist()
        sizes = (np.array([h, w]) - 1) * stride + dilation * (np.array([r, s]) - 1) + 1 + extra
        padding = [int(rng.integers(0, min(3, (size - 1) // 2) + 1)) for size in sizes]
        geometry = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
        geometry = {name: tuple(int(v) for v in value) for name, value in geometry.items()}
        c, k = (groups * rng.integers(1, 20, 2)).tolist()
        return self.drawn(
            rng, dtype, variant(int(rng.integers(1, 4)), c, h, w, k, r, s, **geometry, groups=groups)
        )

    def reduction(self, x, w, b):
        """Of y and dx: taps times channels; of dw: pixels of x; of db: pixels of y."""
        return max(w[:, 0].size + 1, w[0].size, self.reference(x, w, b)[:, 0].size)


class TestConvTranspose1d(TestConvTranspose2d):
    """The same with images of one row."""

    op_name = "conv_transpose1d"
    variants = (
        variant(2, 3, 1, 6, 4, 1, 3),
        variant(1, 17, 1, 5, 9, 1, 4, stride=(1, 2), padding=(0, 1)),
        variant(2, 6, 1, 4, 9, 1, 2, groups=3, stride=(1, 3), output_padding=(0, 2), dilation=(1, 2)),
    )

    def sized(self, rng, dtype, shape):
        n, c, _, w, k, _, s = shape
        x, weight, b = super().sized(rng, dtype, (n, c, 1, w, k, 1, s))
        return x[:, :, 0], weight[:, :, 0], b

    def draw(self, rng, dtype):
        drawn, arrays = super().draw(rng, dtype)
        rows = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
        changed = {name: (row, drawn["geometry"][name][1]) for name, row in rows.items()}
        drawn["geometry"].update(changed)
        return drawn, arrays

    def after(self, *arrays):
        return tuple(v[1] if isinstance(v, tuple) else v for v in self.geometry.values())

    def reference(self, x, w, b):
        return reference.conv_transpose2d(x[:, :, None], w[:, :, None], b, **self.geometry)[:, :, 0]

    def reference_backward(self, dy, x, w, b):
        images = dy[:, :, None], x[:, :, None], w[:, :, None]
        dx, dw, db = reference.conv_transpose2d_backward(*images, **self.geometry)
        return dx[:, :, 0], dw[:, :, 0], db


def test_it_is_the_gradient_of_conv2d(rng):
    """What convolution sends back to its input, from a gradient x of its output."""
    image = rv.tensor(rng.uniform(-1, 1, (2, 3, 8, 7)), requires_grad=True)
    w = rv.tensor(rng.uniform(-1, 1, (5, 3, 3, 2)))
    y = ops.conv2d(image, w, stride=2, padding=1)
    x = rng.uniform(-1, 1, y.shape)
    y.backward(x)
    transposed = ops.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)
    np.testing.assert_array_equal(transposed.numpy(), image.grad.numpy())


def test_one_image(rng):
    x, w = rng.uniform(-1, 1, (3, 4, 5)), rng.uniform(-1, 1, (3, 2, 2, 2))
    y = ops.conv_transpose2d(x, w)
    assert y.shape == (2, 5, 6)
    np.testing.assert_array_equal(y.numpy(), ops.conv_transpose2d(x[None], w).numpy()[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 0}, r"got stride 0; expected at least 1"),
        ({"padding": "same"}, r"got padding 'same'; expected an integer or a pair"),
        ({"padding": (1, 2, 3)}, r"got padding \(1, 2, 3\); expected an integer or a pair"),
        ({"output_padding": 1}, r"got output_padding 1 for stride 1 and dilation 1; expected less than"),
        ({"padding": 4}, r"got a size of 5 along h, from which an output of -1 would come"),
        ({"groups": 2}, r"got x with 3 channels and groups 2; expected channels divisible"),
        ({"bias": rv.zeros(3)}, r"got bias of shape \(3,\); expected \(4,\)"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises((ValueError, TypeError), match=r"\[conv_transpose2d\] " + message):
        ops.conv_transpose2d(rv.zeros(1, 3, 5, 5), rv.zeros(3, 4, 3, 3), **settings)


def test_wrong_shapes_and_types():
    x = rv.zeros(1, 3, 5)
    with pytest.raises(ValueError, match=r"\[conv_transpose1d\] got x with 3 channels and weight for 4; exp"):
        ops.conv_transpose1d(x, rv.zeros(4, 3, 3))
    with pytest.raises(ValueError, match=r"expected weight of shape \(3, K / groups, R, S\)"):
        ops.conv_transpose2d(rv.zeros(1, 3, 5, 5), rv.zeros(4, 3, 3, 3))
    with pytest.raises(ValueError, match=r"got x of shape \(5, 1, 3, 5\); expected 3 dimensions \(n, c, l\)"):
        ops.conv_transpose1d(rv.zeros(5, 1, 3, 5), rv.zeros(3, 4, 3))
    with pytest.raises(TypeError, match="got x of dtype float32 and weight of dtype float64"):
        ops.conv_transpose1d(x, rv.zeros(3, 4, 3).double())
