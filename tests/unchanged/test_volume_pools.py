"""Pools, transposed convolutions and layers of volumes, beside sums and maxima over each window in NumPy."""

import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from ranvier.torch.modules import volume_layers as layers, volumes
from support.python import in_mode
from support.refused import refused

RNG = np.random.default_rng(0)
WINDOWS = [(2, None, 0), ((3, 2, 1), (1, 2, 1), (1, 1, 0)), (3, 2, 1)]


def three(value):
    return (value,) * 3 if isinstance(value, int) else value


def windows_of(shape, window, stride, padding):
    """The place of each result, and the slices of its window within the volume."""
    window, stride, padding = three(window), three(stride or window), three(padding)
    counts = [(n + 2 * p - w) // s + 1 for n, w, s, p in zip(shape, window, stride, padding, strict=True)]
    for place in itertools.product(*map(range, counts)):
        starts = [i * s - p for i, s, p in zip(place, stride, padding, strict=True)]
        yield place, tuple(slice(max(a, 0), a + w) for a, w in zip(starts, window, strict=True))


@pytest.mark.parametrize(("window", "stride", "padding"), WINDOWS)
def test_mean_of_windows(window, stride, padding):
    x = RNG.standard_normal((2, 3, 5, 6, 7))
    size = np.prod(three(window))
    given = rv.tensor(x)
    with_edges = volumes.avg_pool3d(given, window, stride, padding).numpy()
    within = volumes.avg_pool3d(given, window, stride, padding, count_include_pad=False).numpy()
    halved = volumes.avg_pool3d(given, window, stride, padding, divisor_override=2).numpy()
    for place, part in windows_of(x.shape[2:], window, stride, padding):
        values = x[(..., *part)]
        total = values.sum((-3, -2, -1))
        np.testing.assert_allclose(with_edges[(..., *place)], total / size, atol=1e-12)
        np.testing.assert_allclose(within[(..., *place)], values.mean((-3, -2, -1)), atol=1e-12)
        np.testing.assert_allclose(halved[(..., *place)], total / 2, atol=1e-12)


@pytest.mark.parametrize(("window", "stride", "padding"), WINDOWS)
def test_places_of_maxima(window, stride, padding):
    x = RNG.standard_normal((2, 3, 5, 6, 7))
    maxima, places = volumes.max_pool3d(rv.tensor(x), window, stride, padding, return_indices=True)
    for place, part in windows_of(x.shape[2:], window, stride, padding):
        assert (maxima.numpy()[(..., *place)] == x[(..., *part)].max((-3, -2, -1))).all()
    assert (
        np.take_along_axis(x.reshape(2, 3, -1), places.numpy().reshape(2, 3, -1), 2)
        == maxima.numpy().reshape(2, 3, -1)
    ).all()
    ties = volumes.max_pool3d(rv.zeros(1, 1, 2, 2, 2), 2, return_indices=True)[1]
    assert ties.item() == 0  # the first


def test_windows_that_divide_a_volume():
    x = RNG.standard_normal((2, 3, 5, 6, 7))
    means = volumes.adaptive_avg_pool3d(rv.tensor(x), (2, None, 3)).numpy()
    maxima, places = volumes.adaptive_max_pool3d(rv.tensor(x), (2, None, 3), True)
    for d, h, w in itertools.product(range(2), range(6), range(3)):
        part = x[..., d * 5 // 2 : -(-(d + 1) * 5 // 2), h : h + 1, w * 7 // 3 : -(-(w + 1) * 7 // 3)]
        np.testing.assert_allclose(means[..., d, h, w], part.mean((-3, -2, -1)), atol=1e-12)
        assert (maxima.numpy()[..., d, h, w] == part.max((-3, -2, -1))).all()
    flat = places.numpy().reshape(2, 3, -1)
    assert (np.take_along_axis(x.reshape(2, 3, -1), flat, 2) == maxima.numpy().reshape(2, 3, -1)).all()


@pytest.mark.parametrize(
    ("stride", "padding", "extra", "groups", "dilation"),
    [(1, 0, 0, 1, 1), (2, 1, 1, 2, 1), ((3, 1, 2), (0, 1, 0), (2, 0, 1), 1, (1, 2, 1))],
)
def test_conv_transpose3d(stride, padding, extra, groups, dilation):
    """Each element of x adds its multiple of the kernel."""
    x, w, b = (
        RNG.standard_normal((2, 4, 3, 2, 3)),
        RNG.standard_normal((4, 3, 2, 3, 2)),
        RNG.standard_normal(3 * groups),
    )
    s, p, e, g = map(three, (stride, padding, extra, dilation))
    whole = [
        (n - 1) * s[i] + g[i] * (k - 1) + 1 + e[i]
        for i, (n, k) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True))
    ]
    wanted = np.zeros((2, 3 * groups, *whole))
    for at in itertools.product(*map(range, x.shape[2:])):
        for k in itertools.product(*map(range, w.shape[2:])):
            place = tuple(at[i] * s[i] + k[i] * g[i] for i in range(3))
            for group in range(groups):
                own = slice(group * 4 // groups, (group + 1) * 4 // groups)
                out = slice(3 * group, 3 * group + 3)
                wanted[(slice(None), out, *place)] += x[(slice(None), own, *at)] @ w[(own, slice(None), *k)]
    inner = tuple(slice(p[i], whole[i] - p[i]) for i in range(3))
    wanted = wanted[(..., *inner)] + b.reshape(-1, 1, 1, 1)
    settings = stride, padding, extra, groups, dilation
    got = volumes.conv_transpose3d(rv.tensor(x), rv.tensor(w), rv.tensor(b), *settings)
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-11)
    alone = volumes.conv_transpose3d(rv.tensor(x[0]), rv.tensor(w), None, *settings)
    np.testing.assert_allclose(alone.numpy(), wanted[0] - b.reshape(-1, 1, 1, 1), atol=1e-11)


def test_gradients():
    def leaf(*shape):
        return rv.tensor(RNG.standard_normal(shape), requires_grad=True)

    x = leaf(1, 2, 3, 4, 3)
    assert gradcheck(lambda x: volumes.avg_pool3d(x, 2, 1, 1, False, False), (x,))
    assert gradcheck(lambda x: volumes.adaptive_max_pool3d(x, 2), (x,))
    assert gradcheck(lambda x: volumes.adaptive_avg_pool3d(x, 2), (x,))
    assert gradcheck(lambda x, w, b: volumes.conv_transpose3d(x, w, b, 2), (x, leaf(2, 2, 2, 1, 2), leaf(2)))

    def back(x):
        return volumes.max_unpool3d(*volumes.max_pool3d(x, 2, return_indices=True), 2)

    assert gradcheck(back, (leaf(1, 2, 2, 4, 2),))


def test_maxima_return_to_their_places():
    x = rv.tensor(RNG.standard_normal((2, 3, 5, 4, 6)))
    maxima, places = volumes.max_pool3d(x, 2, return_indices=True)
    back = volumes.max_unpool3d(maxima, places, 2, output_size=x.shape)
    assert back.shape == x.shape
    assert ((back == x) | (back == 0)).all()
    assert (volumes.max_pool3d(back.abs(), 2) == maxima.abs()).all()
    refused(
        ValueError,
        "[max_unpool3d] got output_size",
        volumes.max_unpool3d,
        maxima,
        places,
        2,
        None,
        0,
        (9, 9, 9),
    )


def test_wrong_settings_of_volumes():
    x = rv.ones(1, 2, 3, 3, 3)
    for function in (volumes.avg_pool3d, volumes.max_pool3d, volumes.adaptive_avg_pool3d, volumes.dropout3d):
        refused(ValueError, f"[{function.__name__}] got x of shape (3, 3)", function, rv.ones(3, 3), 1)
    refused(
        ValueError, "[adaptive_avg_pool3d] got output_size (2, 2)", volumes.adaptive_avg_pool3d, x, (2, 2)
    )
    refused(
        ValueError, "[conv_transpose3d] got x of shape", volumes.conv_transpose3d, x, rv.ones(3, 2, 1, 1, 1)
    )
    refused(
        ValueError,
        "[conv_transpose3d] got output_padding",
        volumes.conv_transpose3d,
        x,
        rv.ones(2, 2, 1, 1, 1),
        None,
        1,
        0,
        1,
    )


def test_layers_of_volumes():
    x = rv.tensor(RNG.standard_normal((2, 4, 3, 5, 4)))
    normal = layers.BatchNorm3d(4, dtype=rv.float64)(x).detach().numpy()
    np.testing.assert_allclose(normal.mean((0, 2, 3, 4)), 0, atol=1e-12)
    np.testing.assert_allclose(normal.var((0, 2, 3, 4)), 1, atol=1e-4)
    alone = layers.InstanceNorm3d(4)(x[0]).numpy()
    np.testing.assert_allclose(alone.mean((1, 2, 3)), 0, atol=1e-12)
    padded = layers.ZeroPad3d((1, 0, 0, 2, 1, 1))(x)
    assert (padded.shape, padded.sum().item()) == ((2, 4, 5, 7, 5), pytest.approx(x.sum().item()))
    assert (layers.ReplicationPad3d(1)(x)[..., 0, 0, 0] == x[..., 0, 0, 0]).all()
    assert (layers.ReflectionPad3d(1)(x)[..., 0, 0, 0] == x[..., 1, 1, 1]).all()
    assert (layers.CircularPad3d(1)(x)[..., 0, 0, 0] == x[..., -1, -1, -1]).all()
    assert (layers.CircularPad2d(1)(x[0])[..., 0, 0] == x[0][..., -1, -1]).all()
    kept = layers.Dropout3d(0.5)(rv.ones(8, 4, 2, 2, 2)).flatten(2)
    assert (kept == kept[..., :1]).all()
    assert {*kept.unique().tolist()} == {0.0, 2.0}
    assert layers.ConvTranspose3d(4, 2, 3, 2, 1, dtype=rv.float64)(x, output_size=(6, 10, 8)).shape == (
        2,
        2,
        6,
        10,
        8,
    )


REPLACED = """
import torch
from torch import nn
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
x, called = torch.rand(1, 2, 3, 3, 3), []
for name, layer in (
    ("conv3d", nn.Conv3d(2, 2, 1)), ("conv_transpose3d", nn.ConvTranspose3d(2, 2, 1)),
    ("max_pool3d", nn.MaxPool3d(2)), ("avg_pool3d", nn.AvgPool3d(2)), ("lp_pool3d", nn.LPPool3d(2, 2)),
    ("adaptive_avg_pool3d", nn.AdaptiveAvgPool3d(1)), ("adaptive_max_pool3d", nn.AdaptiveMaxPool3d(1)),
    ("dropout3d", nn.Dropout3d()), ("batch_norm", nn.BatchNorm3d(2)), ("pad", nn.ZeroPad3d(1)),
):
    own = getattr(F, name)
    def other(*args, own=own, name=name, **settings):
        called.append(name)
        return own(*args, **settings)
    setattr(F, name, other)
    layer(x)
    assert called == [name], (name, called)
    setattr(F, name, own)
    called.clear()
assert isinstance(nn.BatchNorm3d(2), _BatchNorm) and isinstance(nn.Dropout3d(), _DropoutNd)
assert isinstance(nn.ZeroPad3d(1), nn.ConstantPad3d)
assert torch.conv_transpose3d(x, torch.ones(2, 1, 1, 1, 1)).shape[1] == 1
print("all called")
"""


def test_layers_call_the_functions_that_a_program_put_there():
    assert in_mode(REPLACED).splitlines()[-1] == "all called"
