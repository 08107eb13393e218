"""Volumes (N, C, D, H, W): convolution, pools, padding, sampling beside NumPy and the forms for images."""

import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.autograd.gradients import gradcheck
from ranvier.torch.volumes import Conv3d, conv3d, max_pool3d
from support.refused import refused

F = nn.functional
RNG = np.random.default_rng(0)
SETTINGS = [
    {}, {"padding": (2, 1, 0)}, {"stride": 2, "padding": [1]}, {"dilation": (1, 2, 1), "padding": "same"},
    {"groups": 2, "stride": (2, 1, 1)}, {"padding": "valid", "dilation": (1, 2, 1)}, {"padding": "same"},
]  # fmt: skip


def tensor(*shape):
    return rv.tensor(RNG.uniform(-1, 1, shape), requires_grad=True)


def by_numpy(x, w, b, stride=1, padding=0, dilation=1, groups=1):
    """The sum over the places of the kernel."""
    stride, dilation = (np.broadcast_to(v, 3) for v in (stride, dilation))
    reach = dilation * (np.array(w.shape[2:]) - 1)
    around = [(0, 0)] * 3 if padding == "valid" else [(n, n) for n in np.broadcast_to(padding, 3)]
    around = [(n // 2, n - n // 2) for n in reach] if padding == "same" else around
    x = np.pad(x, [(0, 0), (0, 0), *around])
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    w = w.reshape(groups, -1, *w.shape[1:])
    out = (np.array(x.shape[3:]) - reach - 1) // stride + 1
    y = 0
    for place in itertools.product(*map(range, w.shape[3:])):
        first = np.array(place) * dilation
        part = tuple(slice(f, f + (n - 1) * s + 1, s) for f, n, s in zip(first, out, stride, strict=True))
        y = y + np.einsum("ngcijk,goc->ngoijk", x[(..., *part)], w[(..., *place)])
    return y.reshape(len(x), -1, *out) + b.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("settings", SETTINGS)
def test_convolution(settings):
    x, b = tensor(2, 2, 5, 6, 7), tensor(4)
    w = tensor(4, 2 // settings.get("groups", 1), 3, 2, 3)
    wanted = by_numpy(*(v.detach().numpy() for v in (x, w, b)), **settings)
    np.testing.assert_allclose(conv3d(x, w, b, **settings).detach().numpy(), wanted, atol=1e-12)
    np.testing.assert_allclose(conv3d(x[0], w, b, **settings).detach().numpy(), wanted[0], atol=1e-12)
    assert gradcheck(
        lambda x, w, b: conv3d(x, w, b, **settings), (x[:1, :, :4, :4, :5].detach().requires_grad_(), w, b)
    )


def test_the_layer():
    layer = Conv3d(2, 4, (3, 1, 2), padding=(1, 0, 1), padding_mode="circular", dtype=rv.float64)
    x = tensor(1, 2, 3, 4, 5)
    wanted = conv3d(F.pad(x, (1, 1, 0, 0, 1, 1), "circular"), layer.weight, layer.bias)
    assert layer(x).equal(wanted)
    assert wanted.is_contiguous()
    assert repr(layer).startswith("Conv3d(2, 4, kernel_size=(3, 1, 2), stride=(1, 1, 1), padding=(1, 0, 1)")
    refused(ValueError, "[conv3d] got x of shape (2, 2)", conv3d, rv.ones(2, 2), layer.weight)
    refused(ValueError, "[conv3d] got x", conv3d, x, rv.ones(4, 2, 0, 1, 1))
    for name, value in [
        ("stride", 0),
        ("dilation", 0),
        ("padding", -1),
        ("stride", (1, 1)),
        ("dilation", ()),
    ]:
        refused(ValueError, f"[conv3d] got {name}", conv3d, x, layer.weight, **{name: value})


@pytest.mark.parametrize(
    ("mode", "numpys"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
def test_padding(mode, numpys):
    x = tensor(2, 3, 4, 3, 5)
    y = F.pad(x, (1, 2, 0, 1, 3, 2), mode)
    np.testing.assert_array_equal(
        y.detach().numpy(), np.pad(x.detach().numpy(), [(0, 0), (0, 0), (3, 2), (0, 1), (1, 2)], numpys)
    )
    assert y[1].equal(F.pad(x[1], (1, 2, 0, 1, 3, 2), mode))
    labels = (x.detach() * 9).long()
    assert F.pad(labels, (1, 2, 0, 1, 3, 2), mode).equal(
        (F.pad(labels.double(), (1, 2, 0, 1, 3, 2), mode)).long()
    )
    assert F.pad(x[:0], (1, 2, 0, 1, 3, 2), mode).shape == (0, *y.shape[1:])
    refused(ValueError, "[pad] got value 2.0 for mode", F.pad, x, (1, 1), mode, 2.0)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_sampling_is_that_of_layers(mode, padding, align):
    x, points, share = tensor(2, 3, 4, 5, 6), tensor(2, 3, 4, 2) * 1.5, 0.25 if mode == "bilinear" else 0.0
    layer = rv.tensor([0.0, 1.0, 2.0]) + share
    z = layer / 1.5 - 1 if align else (2 * layer + 1) / 4 - 1
    grid = rv.cat(
        [points[:, None].expand(2, 3, 3, 4, 2), z.double().view(1, 3, 1, 1, 1).expand(2, 3, 3, 4, 1)], -1
    )
    y = F.grid_sample(x, grid, mode, padding, align)
    images = [F.grid_sample(x[:, :, k], points, mode, padding, align) for k in range(4)]
    for k in range(3):
        wanted = images[k] * (1 - share) + images[k + 1] * share
        np.testing.assert_allclose(y[:, :, k].detach().numpy(), wanted.detach().numpy(), atol=1e-6)
    assert gradcheck(
        lambda x, grid: F.grid_sample(x, grid, mode, padding, align), (x[:1, :1], grid[:1, :2, :1].detach())
    )


@pytest.mark.parametrize("align", [False, True])
def test_grids_are_those_of_layers(align):
    flat = tensor(2, 2, 3)
    theta = rv.zeros(2, 3, 4, dtype=rv.float64)
    theta[:, :2, :2], theta[:, :2, 3], theta[:, 2, 2] = flat[..., :2], flat[..., 2], 1
    grid = F.affine_grid(theta, (2, 1, 3, 4, 5), align)
    np.testing.assert_allclose(
        grid[:, 1, ..., :2].detach(), F.affine_grid(flat, (2, 1, 4, 5), align).detach(), atol=1e-12
    )
    np.testing.assert_allclose(
        grid[0, :, 0, 0, 2].detach(), np.array([-1, 0, 1]) * (1 if align else 2 / 3), atol=1e-12
    )
    refused(ValueError, "floats (n, 2, 3)", F.affine_grid, theta, (2, 1, 4, 5))
    refused(ValueError, "sizes from 1", F.affine_grid, theta, (2, 1, 0, 4, 5))
    refused(ValueError, "float", F.affine_grid, theta.long(), (2, 1, 3, 4, 5))


@pytest.mark.parametrize(("n", "c", "o"), [(0, 1, 2), (1, 0, 2), (1, 1, 0)])
def test_sampling_of_nothing(n, c, o):
    x, grid = tensor(n, c, 2, 3, 4), tensor(n, o, 2, 2, 3)
    y = F.grid_sample(x, grid, align_corners=False)
    y.sum().backward()
    assert (y.shape, x.grad.shape, grid.grad.shape) == ((n, c, o, 2, 2), x.shape, grid.shape)
    refused(ValueError, "mode", F.grid_sample, x, grid, "cubic", align_corners=False)


@pytest.mark.parametrize(
    ("window", "stride", "padding", "ceil"),
    [(2, None, 0, False), ((3, 2, 1), (1, 2, 1), (1, 1, 0), False), (3, 2, 1, True)],
)
def test_max_pool3d(window, stride, padding, ceil):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6, 7))
    got = max_pool3d(rv.from_numpy(x), window, stride, padding, 1, ceil).numpy()
    three = [(v,) * 3 if isinstance(v, int) else v for v in (window, stride or window, padding)]
    spread = np.pad(x, [(0, 0), (0, 0), *((p, p + 9) for p in three[2])], constant_values=-np.inf)
    for place in itertools.product(*map(range, got.shape[2:])):
        part = tuple(slice(i * s, i * s + w) for i, s, w in zip(place, three[1], three[0], strict=True))
        assert (spread[(..., *part)].max((-3, -2, -1)) == got[(..., *place)]).all()
    sizes = [
        (n + 2 * p - w + (s - 1) * ceil) // s + 1 for n, w, s, p in zip(x.shape[2:], *three, strict=True)
    ]
    assert list(got.shape[2:]) == sizes
    assert (max_pool3d(rv.from_numpy(x[0]), window, stride, padding, 1, ceil).numpy() == got[0]).all()


def test_pools_that_are_refused():
    x = rv.ones(1, 1, 3, 3, 3)
    for given in ((x[0, 0], 2), (x, 2, 2, 0, 1, False, True)):
        refused(ValueError, "[max_pool3d] got x of shape", max_pool3d, *given)
    for what, settings in (("kernel_size", (0,)), ("stride", (2, 0)), ("padding", (2, 2, -1))):
        refused(ValueError, f"[max_pool3d] got {what}", max_pool3d, x, *settings)
    refused(ValueError, "[max_pool3d] got kernel_size (2, 2)", max_pool3d, x, (2, 2))
