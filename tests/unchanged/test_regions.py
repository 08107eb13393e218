"""Boxes of images, volumes, and the compiled operators of torchaudio."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier import from_numpy, nn
from ranvier.autograd import gradcheck
from ranvier.torch.modules.volume_layers import Conv3d
from ranvier.torch.modules.volumes import conv3d, max_pool3d
from ranvier.torch.operators import torchvision_ops
from ranvier.torch.operators.torch_ops import ops
from reference import regions as reference
from support.refused import refused
from support.tolerance import tolerance

BINS = 3, 2


def inputs(rng, channels=4, dtype="float64"):
    x = rng.normal(size=(2, channels, 7, 9)).astype(dtype)
    corner = rng.uniform(-2, 6, (9, 2))
    rois = np.concatenate([rng.integers(0, 2, (9, 1)), corner, corner + rng.uniform(-1, 9, (9, 2))], 1)
    rois[0, 1:] = 30, 30, 40, 40  # outside
    rois[1, 1:] = 2, 2, 2, 2  # empty
    return x, rois.astype(dtype)


def tensors(*arrays):
    return [rv.from_numpy(a) for a in arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 0, 2, 3])
def test_roi_align(ratio, aligned, scale, dtype, rng):
    x, rois = inputs(rng, dtype=dtype)
    expected = reference.roi_align(x.astype("float64"), rois.astype("float64"), scale, BINS, ratio, aligned)
    y = ops.torchvision.roi_align(*tensors(x, rois), scale, *BINS, ratio, aligned)
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=tolerance(dtype, 16, 16))
    assert y.dtype == getattr(rv, dtype)


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("ratio", [-1, 2])
def test_ps_roi_align(ratio, scale, rng):
    x, rois = inputs(rng, 2 * 6)
    rois[:, 3:] = rois[:, 1:3] + abs(rois[:, 3:] - rois[:, 1:3]) + 0.1
    expected = reference.roi_align(x, rois, scale, BINS, ratio, True, own=True)
    y, channels = ops.torchvision.ps_roi_align(*tensors(x, rois), scale, *BINS, ratio)
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-12)
    assert channels[8].tolist() == np.arange(12).reshape(2, *BINS).tolist()


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("own", [False, True])
def test_roi_pool(own, scale, rng):
    x, rois = inputs(rng, 2 * 6)
    pool = ops.torchvision.ps_roi_pool if own else ops.torchvision.roi_pool
    y, _ = pool(*tensors(x, rois), scale, *BINS)
    np.testing.assert_allclose(y.numpy(), reference.roi_pool(x, rois, scale, BINS, own), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool"])
def test_gradients_of_regions(name, rng):
    x, rois = inputs(rng, 6)
    x = rng.permutation(x.size).reshape(x.shape) / 10  # no two pixels are close
    settings = {"roi_align": (-1, False), "ps_roi_align": (2,)}.get(name, ())

    def pooled(image):
        y = getattr(ops.torchvision, name)(image, rv.from_numpy(rois), 0.8, *BINS, *settings)
        return y[0] if isinstance(y, tuple) else y

    assert gradcheck(pooled, rv.tensor(x, requires_grad=True))


SETTINGS = [(1, 1, False), (1, 1, True), (2, 1, True), (1, 2, True), (2, 4, False)]


def deformed(rng, groups, each, use_mask):
    places = (2, 1), (1, 0), (2, 1)
    x, weight = rng.normal(size=(2, 4, 6, 5)), rng.normal(size=(6, 4 // groups, 3, 2))
    h, w = (6 + 2 - 5) // 2 + 1, 4
    offset = rng.uniform(-2, 2, (2, each * 12, h, w))
    offset[0] = 0  # whole pixels
    mask = rng.uniform(0, 1, (2, each * 6, h, w)) if use_mask else np.zeros((2, 1))
    flat = [n for pair in places for n in pair]
    return [x, weight, offset, mask, rng.normal(size=6)], places, [*flat, groups, each, use_mask]


@pytest.mark.parametrize(("groups", "each", "use_mask"), SETTINGS)
def test_deform_conv2d(groups, each, use_mask, rng):
    arrays, places, settings = deformed(rng, groups, each, use_mask)
    x, weight, offset, mask, bias = arrays
    expected = reference.deform_conv2d(
        x, weight, offset, mask if use_mask else None, bias, places, groups, each
    )
    y = ops.torchvision.deform_conv2d(*tensors(*arrays), *settings)
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-11)
    moved = [rv.tensor(a, requires_grad=i < 3 or use_mask or i == 4) for i, a in enumerate(arrays)]
    moved[2].data.floor_().add_(
        rv.tensor(rng.uniform(0.2, 0.8, offset.shape))
    )  # no derivative at whole pixels
    given = [t for t in moved if t.requires_grad]

    def of(*values):
        rest = iter(values)
        return torchvision_ops.deform_conv2d(
            *(next(rest) if t.requires_grad else t for t in moved), *settings
        )

    assert gradcheck(of, tuple(given), atol=1e-6)


def test_without_offsets_it_is_a_convolution(rng):
    (x, weight, offset, _, bias), _, settings = deformed(rng, 1, 1, False)
    y = torchvision_ops.deform_conv2d(*tensors(x, weight, offset * 0, offset, bias), *settings)
    other = rv.nn.functional.conv2d(*tensors(x, weight, bias), (2, 1), (1, 0), (2, 1))
    np.testing.assert_allclose(y.numpy(), other.numpy(), rtol=0, atol=1e-12)


def test_nms_sorts_by_scores_and_ties_stay_in_order():
    boxes = rv.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 6, 6], [0, 0, 1, 0.9]])
    assert ops.torchvision.nms(boxes, rv.tensor([0.5, 0.5, 0.9, 0.4]), 0.5).tolist() == [2, 0]
    for own in (boxes.half(), boxes.bfloat16()):
        assert ops.torchvision.nms(own, rv.tensor([0.5, 0.6, 0.9, 0.4]), 0.5).tolist() == [2, 1]
    assert ops.torchvision.nms(boxes[:0], rv.zeros(0), 0.5).tolist() == []


def test_nothing_to_do():
    x = rv.ones(2, 3, 4, 4, requires_grad=True)
    y = ops.torchvision.roi_align(x, rv.zeros(0, 5), 1.0, 2, 2, -1, True)
    y.sum().backward()
    assert (y.shape, x.grad.abs().sum().item()) == ((0, 3, 2, 2), 0)
    for kind in (rv.float16, rv.bfloat16):
        y = ops.torchvision.roi_align(x.to(kind), rv.zeros(1, 5, dtype=kind), 1.0, 1, 1, 1, True)
        assert y.dtype is kind
    for name in ("roi_pool", "ps_roi_pool"):
        y = getattr(ops.torchvision, name)(x.half(), rv.zeros(1, 5).half(), 1.0, 1, 1)[0]
        assert (y.dtype, y.shape) == (rv.float16, (1, x.shape[1], 1, 1))


def test_errors():
    x, rois = rv.ones(2, 3, 4, 4), rv.zeros(1, 5)
    text = "[roi_align] got input of shape"
    refused(ValueError, text, torchvision_ops.roi_align, x, rois[:, :4], 1.0, 1, 1, 1, True)
    text = "got rois of images 2 to 2; expected 0 to 1"
    refused(IndexError, text, torchvision_ops.roi_pool, x, rois + 2, 1.0, 1, 1)
    refused(TypeError, "[roi_pool] got input of", torchvision_ops.roi_pool, x.double(), rois, 1.0, 1, 1)
    refused(ValueError, "[ps_roi_pool] got 3 channels", torchvision_ops.ps_roi_pool, x, rois, 1.0, 2, 2)
    refused(RuntimeError, "[nms] got boxes of shape", torchvision_ops.nms, rois, rv.ones(1), 0.5)
    settings = [1, 1, 0, 0, 1, 1, 1, 1, False]
    wrong = [x, rv.ones(2, 3, 2, 2), rv.ones(2, 4, 3, 3), rv.ones(2, 1), rv.ones(2)]
    refused(RuntimeError, "expected (2, 8, 3, 3)", torchvision_ops.deform_conv2d, *wrong, *settings)


# Volumes (N, C, D, H, W): convolution, pools, padding, sampling beside NumPy and the forms for images.


F = nn.functional
RNG = np.random.default_rng(0)
VOLUMES_SETTINGS = [
    {},
    {"padding": (2, 1, 0)},
    {"stride": 2, "padding": [1]},
    {"dilation": (1, 2, 1), "padding": "same"},
    {"groups": 2, "stride": (2, 1, 1)},
    {"padding": "valid", "dilation": (1, 2, 1)},
    {"padding": "same"},
]


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


@pytest.mark.parametrize("settings", VOLUMES_SETTINGS)
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
    refused(ValueError, "[max_pool3d] got x of shape", max_pool3d, x[0, 0], 2)
    for what, settings in (("kernel_size", (0,)), ("stride", (2, 0)), ("padding", (2, 2, -1))):
        refused(ValueError, f"[max_pool3d] got {what}", max_pool3d, x, *settings)
    refused(ValueError, "[max_pool3d] got kernel_size (2, 2)", max_pool3d, x, (2, 2))


# torchaudio's compiled operators: loaded in its library's place, and their results.


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    library = tmp_path_factory.mktemp("site") / "torchaudio" / "lib" / "_torchaudio.abi3.so"
    ops.load_library(library)
    assert ops._torchaudio.is_align_available() is True
    assert ops._torchaudio.cuda_version() is None
    return ops.torchaudio


def test_recursive_filters(audio):
    rng = np.random.default_rng(0)
    x, a = rng.standard_normal((2, 3, 40)), rng.uniform(-0.5, 0.5, (3, 4))
    a[:, -1] = 1
    y = np.zeros((2, 3, 43))
    for i in range(40):
        y[..., i + 3] = x[..., i] - sum(a[:, j] * y[..., i + j] for j in range(3))
    out = from_numpy(np.zeros((2, 3, 43)))
    audio._lfilter_core_loop(from_numpy(x), from_numpy(a), out)
    np.testing.assert_allclose(out.numpy(), y, rtol=1e-12)


def collapsed(path):
    """The labels of a path: repetitions are one, then blanks go."""
    return [label for label, _ in itertools.groupby(path) if label]


@pytest.mark.parametrize("labels", [[1], [1, 2], [2, 2], [1, 2, 1]])
def test_the_best_of_all_paths(audio, labels):
    p = np.log(np.random.default_rng(len(labels)).dirichlet(np.ones(3), (1, 6)))
    numbers = [from_numpy(np.array(x)) for x in ([labels], [6], [len(labels)])]
    path, scores = audio.forced_align(from_numpy(p), *numbers, 0)
    paths = [q for q in itertools.product(range(3), repeat=6) if collapsed(q) == labels]
    assert tuple(path[0].tolist()) == max(paths, key=lambda q: p[0, range(6), q].sum())
    np.testing.assert_array_equal(scores.numpy(), p)


def test_what_cannot_be_aligned_is_refused(audio):
    labels, two = (from_numpy(np.array(x)) for x in ([[1, 1]], [2]))
    call = (from_numpy(np.zeros((1, 3, 2))), labels, two, two, 0)
    refused(ValueError, "got 2 steps for 2 labels, 1 of them as the one before", audio.forced_align, *call)
    refused(ValueError, "expected (1, t, classes)", audio.forced_align, call[0][0], *call[1:])
    refused(NotImplementedError, "rnnt_loss_forward", audio.rnnt_loss_forward, *call, 1.0)
