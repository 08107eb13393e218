"""torchvision's compiled operators: boxes, regions of images, deformable convolution."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from ranvier.torch import regions
from ranvier.torch.operators import ops
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
        return regions.deform_conv2d(*(next(rest) if t.requires_grad else t for t in moved), *settings)

    assert gradcheck(of, tuple(given), atol=1e-6)


def test_without_offsets_it_is_a_convolution(rng):
    (x, weight, offset, _, bias), _, settings = deformed(rng, 1, 1, False)
    y = regions.deform_conv2d(*tensors(x, weight, offset * 0, offset, bias), *settings)
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
    refused(
        ValueError, "[roi_align] got input of shape", regions.roi_align, x, rois[:, :4], 1.0, 1, 1, 1, True
    )
    refused(
        IndexError, "got rois of images 2 to 2; expected 0 to 1", regions.roi_pool, x, rois + 2, 1.0, 1, 1
    )
    refused(TypeError, "[roi_pool] got input of", regions.roi_pool, x.double(), rois, 1.0, 1, 1)
    refused(ValueError, "[ps_roi_pool] got 3 channels", regions.ps_roi_pool, x, rois, 1.0, 2, 2)
    refused(RuntimeError, "[nms] got boxes of shape", regions.nms, rois, rv.ones(1), 0.5)
    settings = [1, 1, 0, 0, 1, 1, 1, 1, False]
    wrong = [x, rv.ones(2, 3, 2, 2), rv.ones(2, 4, 3, 3), rv.ones(2, 1), rv.ones(2)]
    refused(RuntimeError, "expected (2, 8, 3, 3)", regions.deform_conv2d, *wrong, *settings)
