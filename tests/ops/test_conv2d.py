"""conv2d: forward and backward against the reference, in every geometry."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import conv2d as reference
from support.convolution import ConvCase

GEOMETRY = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def variant(n, c, h, w, k, r, s, **geometry):
    return {"shape": (n, c, h, w, k, r, s), "geometry": {**GEOMETRY, **geometry}}


class TestConv2d(ConvCase):
    op_name = "conv2d"
    module = reference
    variants = (
        variant(2, 3, 7, 8, 5, 3, 2),
        variant(2, 1, 6, 7, 17, 3, 3, padding=1),  # one channel: taps share a tile
        variant(1, 17, 5, 6, 9, 3, 3, padding=(1, 2), stride=(2, 1)),
        variant(2, 4, 9, 8, 6, 3, 2, stride=(2, 3), dilation=(1, 2), padding=(3, 1)),
        variant(2, 6, 5, 5, 9, 2, 3, groups=3, padding="same", dilation=2),
        variant(2, 19, 5, 6, 19, 3, 3, groups=19, padding=1, stride=2),  # depthwise
        variant(2, 5, 4, 4, 10, 3, 3, groups=5, padding="valid"),  # two outputs for each input channel
        variant(3, 8, 4, 5, 18, 1, 1),
        variant(1, 2, 5, 5, 3, 1, 1, stride=3, padding=2),  # pixels that only see padding
        variant(1, 3, 4, 4, 33, 7, 7, padding=3),  # no pixel has all taps
    )

    def sized(self, rng, dtype, shape):
        n, c, h, w, k, r, s = shape
        return super().sized(rng, dtype, ((n, c, h, w), (k, c // self.geometry["groups"], r, s), (k,)))

    def draw(self, rng, dtype):
        groups = int(rng.choice([1, 1, 2, 3]))
        r, s, dilation = (int(v) for v in rng.integers(1, 4, 3))
        stride, padding = tuple(rng.integers(1, 4, 2).tolist()), tuple(rng.integers(0, 4, 2).tolist())
        h, w = dilation * (r - 1) + 1 + rng.integers(0, 9), dilation * (s - 1) + 1 + rng.integers(0, 20)
        c, k = groups * rng.integers(1, 20, 2)
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return self.drawn(rng, dtype, variant(int(rng.integers(1, 4)), c, h, w, k, r, s, **settings))

    def reduction(self, x, w, b):
        """Of y: taps times channels, and the bias; of dx: taps times channels; of dw and db: pixels of y."""
        return max(w[0].size + 1, w[:, 0].size, self.reference(x, w, b)[:, 0].size)


@pytest.mark.parametrize("axes", [1, 2])
def test_without_bias_and_one_image(axes, rng):
    op = getattr(ops, f"conv{axes}d")
    x = rv.tensor(rng.uniform(-1, 1, (3, 5, 6)[: 1 + axes]).astype("float32"), requires_grad=True)
    w = rv.tensor(rng.uniform(-1, 1, (4, 3, 2, 2)[: 2 + axes]).astype("float32"), requires_grad=True)
    y = op(x, w)
    assert y.shape == (4, 4, 5)[: 1 + axes]
    np.testing.assert_array_equal(y.detach().numpy(), op(x.detach().numpy()[None], w).detach().numpy()[0])
    y.backward(np.ones(y.shape, np.float32))
    assert (x.grad.shape, w.grad.shape) == (x.shape, w.shape)


def test_images_stay_channels_last(rng):
    x = rng.uniform(-1, 1, (2, 3, 5, 6)).astype("float32")
    w = rng.uniform(-1, 1, (4, 3, 3, 3)).astype("float32")
    y = ops.conv2d(x, w, padding=1).numpy()
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 0}, r"got stride 0; expected at least 1 and at most"),
        ({"stride": (1, 2, 3)}, r"got stride \(1, 2, 3\); expected an integer or a pair"),
        ({"padding": -1}, r"got padding -1; expected at least 0"),
        ({"padding": "full"}, r"got padding 'full'; expected 'same', 'valid', an integer"),
        ({"padding": "same", "stride": 2}, r"got padding 'same' and stride 2; expected stride 1"),
        ({"dilation": 2**40}, r"got dilation 1099511627776; expected at least 1 and at most 2147483647"),
        (
            {"dilation": 4},
            r"got a kernel that reaches over 9 pixels along h and a padded input of 5; expected an input",
        ),
        ({"groups": 2}, r"got x with 3 channels and groups 2; expected channels divisible"),
        ({"groups": 3}, r"got x with 3 channels and weight for 9; expected weight of shape \(K, 1, R, S\)"),
        ({"groups": 0}, r"got groups 0; expected at least 1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=r"\[conv2d\] " + message):
        ops.conv2d(rv.zeros(1, 3, 5, 5), rv.zeros(4, 3, 3, 3), **settings)


@pytest.mark.parametrize(
    ("x", "w", "b", "message"),
    [
        ((5, 5), (4, 3, 3, 3), None, r"got x of shape \(5, 5\); expected 4 dimensions \(n, c, h, w\)"),
        ((1, 3, 5, 5), (4, 3, 3), None, r"got weight of shape \(4, 3, 3\); expected 4 dimensions"),
        (
            (1, 3, 5, 5),
            (4, 4, 3, 3),
            None,
            r"got x with 3 channels and weight for 4; expected weight of shape ",
        ),
        (
            (1, 3, 5, 5),
            (4, 3, 0, 3),
            None,
            r"got weight of shape \(4, 3, 0, 3\); expected a kernel of at least",
        ),
        ((1, 3, 5, 2), (4, 3, 3, 3), None, r"reaches over 3 pixels along w and a padded input of 2"),
        ((1, 3, 5, 5), (4, 3, 3, 3), (3,), r"got bias of shape \(3,\); expected \(4,\)"),
    ],
)
def test_wrong_shapes(x, w, b, message):
    with pytest.raises(ValueError, match=r"\[conv2d\] .*" + message):
        ops.conv2d(rv.zeros(*x), rv.zeros(*w), b and rv.zeros(*b))


def test_wrong_types():
    x, w = rv.zeros(1, 3, 5, 5), rv.zeros(4, 3, 3, 3)
    with pytest.raises(TypeError, match=r"\[conv2d\] got x of dtype float32 and weight of dtype float64"):
        ops.conv2d(x, w.double())
    with pytest.raises(TypeError, match=r"\[conv2d\] got x of dtype int64; expected float32 or float64"):
        ops.conv2d(np.zeros((1, 3, 5, 5), np.int64), w)
    with pytest.raises(
        TypeError, match=r"\[conv2d\] got stride 1.5; expected an integer or a pair of integers"
    ):
        ops.conv2d(x, w, stride=1.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, (1, 2)])
@pytest.mark.parametrize(("colors", "keeps"), [(2, True), (3, True), (4, True), (5, False)])
def test_filters_of_each_color_keep_a_picture_in_c_order(dtype, stride, colors, keeps):
    rng = np.random.default_rng(colors)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((2, colors, 9, 8), (colors, 1, 3, 3)))
    w, b = rv.from_numpy(w), rv.from_numpy(rng.standard_normal(colors).astype(dtype))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y, z = (rv.conv2d(rv.from_numpy(a), w, b, stride, 1, 1, colors) for a in (x, last))
    assert (y.is_contiguous(), z.is_contiguous()) == (keeps, False)
    many = rv.conv2d(rv.from_numpy(x[:1]).expand(3, -1, -1, -1), w, b, stride, 1, 1, colors)
    assert many.is_contiguous() == keeps
    assert (y.numpy() == z.numpy()).all()
    step = rv.compile(lambda x: rv.conv2d(x * 1.0, w, b, stride, 1, 1, colors).relu())
    for factor in (1, 2, 3, -1):
        given = rv.from_numpy(x * dtype(factor))
        expected = rv.conv2d(given, w, b, stride, 1, 1, colors).relu()
        got = step(given)
        assert got.is_contiguous() == keeps
        assert (got.numpy() == expected.numpy()).all()
