"""torchvision's compiled operators, `torch.ops.torchvision`: nms, pooling of regions, deformable convolution.

A region (a box of an image) is divided into bins. The value of a bin is a weighted sum, or the maximum, of
pixels, so `embedding_bag` computes it and its gradient with respect to the pixels. The boxes get no gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import ranvier as rv
import ranvier._core as _core
import ranvier.nn.functional as F
from ranvier import Tensor, kernels
from ranvier.ops.image.sampling import GridSample
from ranvier.tensors.failures import DtypeError, OpError, OpIndexError
from ranvier.tensors.memory import HALVES, Array
from ranvier.torch.operators.library import Library


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: the indices of the boxes that are kept, in the order of descending scores.

    A box is left out if its overlap (intersection over union) with a kept box is above iou_threshold.

    >>> boxes = rv.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9], [4, 4, 5, 5]])
    >>> nms(boxes, rv.tensor([0.5, 0.9, 0.1]), 0.5)
    tensor([1, 2])
    """
    if dets.ndim != 2 or dets.shape[1] != 4 or scores.shape != dets.shape[:1]:
        raise OpError(
            f"[nms] got boxes of shape {dets.shape} and scores of {scores.shape}; expected (n, 4) and (n,)"
        )
    if dets.dtype in HALVES:
        dets = dets.float()
    order = scores.detach().argsort(descending=True, stable=True)
    return order[rv.from_numpy(kernels.nms(dets.detach()[order].numpy(), float(iou_threshold)))]


class _Line(NamedTuple):
    """The rows (or columns) of pixels that the bins of all regions read, one bin after another."""

    counts: Array  # (regions * bins,): how many rows each bin reads
    pixels: Array  # (sum of counts,): the numbers of these rows
    weights: Array  # their weights


def _parts(counts: Array) -> tuple[Array, Array]:
    """For items with counts[i] parts each: for each part its item, and its number within the item."""
    owners = np.repeat(np.arange(len(counts)), counts)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)


def _between(start: Array, length: Array, bins: int, ratio: int, size: int) -> _Line:
    """The rows for bilinear samples: each bin has `ratio` points (0: one a pixel), and each point reads two
    rows.

    start, length: where the regions begin along the axis, and how long they are. size: the rows of the image.
    """
    step = length / start.dtype.type(bins)
    points = np.full(len(start), ratio)
    if ratio <= 0:
        points = np.ceil(np.nan_to_num(step)).clip(0).astype(np.int64)
    counts = np.repeat(2 * points, bins)
    owners, places = _parts(counts)
    regions = owners // bins
    step = step[owners // bins]
    p = start[regions] + (owners % bins).astype(step.dtype) * step
    p += (places // 2 + step.dtype.type(0.5)) * step / points[regions].astype(step.dtype)
    inside = (p >= -1) & (p <= size)
    p = np.where(inside, p.clip(0, size - 1), 0)
    low = p.astype(np.int64)
    share = p - low.astype(p.dtype)
    second = places % 2 == 1
    weights = np.where(second, share, 1 - share) * inside / np.maximum(points, 1)[regions]
    return _Line(counts, np.minimum(low + second, size - 1), weights.astype(step.dtype))


def _within(start: Array, length: Array, bins: int, last: int) -> _Line:
    """The rows that each bin touches, limited to `last`, with equal weights."""
    step = (length.astype(start.dtype) / start.dtype.type(bins))[:, None]
    edges = np.arange(bins + 1).astype(start.dtype)
    first = (np.floor(edges[:-1] * step) + start[:, None]).clip(0, last).astype(np.int64)
    end = (np.ceil(edges[1:] * step) + start[:, None]).clip(0, last).astype(np.int64)
    counts = (end - first).clip(0).reshape(-1)
    owners, places = _parts(counts)
    return _Line(counts, first.reshape(-1)[owners] + places, (1 / counts[owners]).astype(start.dtype))


def _bags(
    input: Tensor, images: Array, rows: _Line, columns: _Line, bins: tuple[int, int], mode: str
) -> Tensor:
    """(regions, c, *bins): for each bin the weighted sum of the pixels at its rows and columns.

    images: the image of each region. mode "max": the maximum of the pixels. mode "bins": a sum, where each
    bin reads its own channels (position-sensitive pooling); the input has c channels for each bin.
    """
    n, c, h, w = input.shape
    ph, pw = bins
    region, i, j = (a.reshape(-1) for a in np.indices((len(images), ph, pw)))
    image = images[region]
    if mode == "bins":
        c //= ph * pw
        image = (image * ph + i) * pw + j
        input = input.reshape(n, c, ph, pw, h, w).permute(0, 2, 3, 4, 5, 1)
    else:
        input = input.permute(0, 2, 3, 1)
    at_row = region * ph + i
    at_column = region * pw + j
    counts = rows.counts[at_row] * columns.counts[at_column]
    bag, place = _parts(counts)
    width = columns.counts[at_column][bag]
    row = (np.cumsum(rows.counts) - rows.counts)[at_row][bag] + place // width
    column = (np.cumsum(columns.counts) - columns.counts)[at_column][bag] + place % width
    index = (image[bag] * h + rows.pixels[row]) * w + columns.pixels[column]
    if mode == "max":
        weights = None
    else:
        weights = rv.from_numpy(rows.weights[row] * columns.weights[column])
    starts = rv.from_numpy(np.cumsum(counts) - counts)
    pixels = input.reshape(-1, c)
    how = "max" if mode == "max" else "sum"
    y = F.embedding_bag(rv.from_numpy(index), pixels, starts, mode=how, per_sample_weights=weights)
    return y.reshape(len(images), ph, pw, c).permute(0, 3, 1, 2)


def _read(
    name: str, input: Tensor, rois: Tensor, bins: tuple[int, int], own: bool = False
) -> tuple[Array, Array]:
    """The image of each region, and the arrays x1, y1, x2, y2 of their corners; rois: (k, 5)."""
    if input.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5:
        raise OpError(
            f"[{name}] got input of shape {input.shape} and rois of {rois.shape}; expected four "
            "dimensions and (k, 5)"
        )
    if input.dtype != rois.dtype:
        raise DtypeError(f"[{name}] got input of {input.dtype} and rois of {rois.dtype}; expected one dtype")
    if own and input.shape[1] % (bins[0] * bins[1]):
        raise OpError(f"[{name}] got {input.shape[1]} channels; expected a multiple of {bins[0]} * {bins[1]}")
    boxes = rois.detach().numpy()
    images = boxes[:, 0].astype(np.int64)
    if len(images) and not 0 <= images.min() <= images.max() < len(input):
        raise OpIndexError(
            f"[{name}] got rois of images {images.min()} to {images.max()}; expected 0 to {len(input) - 1}"
        )
    return images, boxes[:, 1:].T


def _aligned(
    name: str, input: Tensor, rois: Tensor, scale: float, bins: tuple[int, int], ratio: int, half: bool
) -> Tensor:
    """(k, c, *bins): the mean of bilinear samples in each bin.

    half: pixel centres are at half coordinates.
    """
    if input.dtype in HALVES:
        return _aligned(name, input.float(), rois.float(), scale, bins, ratio, half).to(input.dtype)
    own = name[0] == "p"
    images, corners = _read(name, input, rois, bins, own)
    x1, y1, x2, y2 = corners * corners.dtype.type(scale) - corners.dtype.type(0.5 if half else 0)
    width = x2 - x1
    height = y2 - y1
    if not half:
        width = np.maximum(width, 1)
        height = np.maximum(height, 1)
    rows = _between(y1, height, bins[0], ratio, input.shape[2])
    columns = _between(x1, width, bins[1], ratio, input.shape[3])
    return _bags(input, images, rows, columns, bins, "bins" if own else "sum")


def _pooled(name: str, input: Tensor, rois: Tensor, scale: float, bins: tuple[int, int]) -> Tensor:
    if input.dtype in HALVES:
        return _pooled(name, input.float(), rois.float(), scale, bins).to(input.dtype)
    own = name[0] == "p"
    images, corners = _read(name, input, rois, bins, own)
    x1, y1, x2, y2 = (np.trunc(x + np.copysign(0.5, x)) for x in corners * corners.dtype.type(scale))
    more, before = (0, 1) if own else (1, 0)  # as in torchvision, ps_roi_pool does not read the last pixel
    rows = _within(y1, np.maximum(y2 - y1 + more, 1), bins[0], input.shape[2] - before)
    columns = _within(x1, np.maximum(x2 - x1 + more, 1), bins[1], input.shape[3] - before)
    return _bags(input, images, rows, columns, bins, "bins" if own else "max")


def roi_align(
    input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    """The mean of bilinear samples in each bin of regions (k, 5), whose rows are image, x1, y1, x2, y2.

    >>> roi_align(rv.arange(16.0).reshape(1, 1, 4, 4), rv.tensor([[0.0, 0, 0, 2, 2]]), 1.0, 1, 1, 1, False)
    tensor([[[[5.]]]])
    """
    return _aligned("roi_align", input, rois, scale, (height, width), sampling_ratio, aligned)


def ps_roi_align(
    input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int
) -> tuple[Tensor, Any]:
    y = _aligned("ps_roi_align", input, rois, scale, (height, width), sampling_ratio, True)
    return y, _channels(y)


def roi_pool(input: Tensor, rois: Tensor, scale: float, height: int, width: int) -> tuple[Tensor, None]:
    """The maximum of each bin, and None in place of its index, which torchvision's functions do not use."""
    return _pooled("roi_pool", input, rois, scale, (height, width)), None


def ps_roi_pool(input: Tensor, rois: Tensor, scale: float, height: int, width: int) -> tuple[Tensor, Any]:
    y = _pooled("ps_roi_pool", input, rois, scale, (height, width))
    return y, _channels(y)


def _channels(y: Tensor) -> Tensor:
    """For each element of y the channel of the input that it was computed from."""
    return rv.arange(y[:1].numel(), dtype=rv.int32).reshape(1, *y.shape[1:]).repeat(len(y), 1, 1, 1)


def deform_conv2d(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor, *settings: Any
) -> Tensor:
    """A convolution whose windows read pixels moved by the offsets (y, x), bilinearly, and multiplied by the
    mask.

    settings: stride, padding and dilation (two numbers each), groups, groups of offsets, whether the mask is
    used.
    """
    *places, groups, each, use_mask = settings
    n, c, *size = input.shape
    count, depth, *kernel = weight.shape
    axes = []
    for number, extent, s, p, d in zip(kernel, size, places[:2], places[2:4], places[4:], strict=True):
        steps = (extent + 2 * p - d * (number - 1) - 1) // s + 1
        axes.append((np.arange(steps) * s - p)[:, None] + np.arange(number) * d)  # (places, taps)
    h, r = axes[0].shape
    w, t = axes[1].shape
    expected = (n, each * 2 * r * t, h, w)
    wrong = offset.shape != expected and f"the shape of the offset, {offset.shape}; expected {expected}"
    if not wrong and use_mask and mask.shape != (n, each * r * t, h, w):
        wrong = f"mask {mask.shape}: mask.shape[1] is not valid; expected {each * r * t}"
    if wrong or c % each or c % groups or count % groups or depth * groups != c:
        sizes = f"input {input.shape}, weight {weight.shape}, groups {groups} and {each}; expected multiples"
        raise OpError(f"[deform_conv2d] got {wrong or sizes}")
    rows, columns = np.broadcast_arrays(axes[0][:, None, :, None], axes[1][None, :, None])
    points = np.stack([columns, rows], -1).reshape(1, h * w, r * t, 2)
    grid = rv.from_numpy(points.astype(offset.detach().numpy().dtype))
    moved = offset.reshape(n * each, r * t, 2, h * w).permute(0, 3, 1, 2).flip(-1) + grid
    in_pixels = GridSample("bilinear", "zeros", False, True)
    read = in_pixels.apply(input.reshape(n * each, c // each, *size), moved)
    if use_mask:
        read = read * mask.reshape(n * each, 1, r * t, h * w).transpose(2, 3)
    read = read.reshape(n, groups, depth, h * w, r * t).permute(1, 0, 3, 4, 2)
    read = read.reshape(groups, n * h * w, r * t * depth)
    taps = weight.reshape(groups, count // groups, depth, r * t).permute(0, 3, 2, 1)
    taps = taps.reshape(groups, r * t * depth, count // groups)
    y = _core._without_autocast(rv.matmul, read, taps).reshape(groups, n, h, w, count // groups)
    return y.permute(1, 0, 4, 2, 3).reshape(n, count, h, w) + bias.reshape(-1, 1, 1)


_ROI = "Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_PAIRS = ", ".join(f"SymInt {name}_{axis}" for name in ("stride", "pad", "dilation") for axis in "hw")
_DEFORM = f"Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_PAIRS}"
_SCHEMAS = f"""
    _cuda_version() -> int
    nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor
    roi_align(Tensor input, {_ROI}, int sampling_ratio, bool aligned) -> Tensor
    roi_pool(Tensor input, {_ROI}) -> (Tensor, Tensor)
    ps_roi_align(Tensor input, {_ROI}, int sampling_ratio) -> (Tensor, Tensor)
    ps_roi_pool(Tensor input, {_ROI}) -> (Tensor, Tensor)
    deform_conv2d({_DEFORM}, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor
"""
# further operators that torchvision registers; a call raises an error with the name
_OTHERS = """
    _roi_align_backward _roi_pool_backward _ps_roi_align_backward _ps_roi_pool_backward
    _deform_conv2d_backward qnms qroi_align box_iou_rotated
"""
_library = Library("torchvision", "DEF")
for _schema in _SCHEMAS.strip().splitlines():
    _name = _library.define(_schema.strip())[len("torchvision::") :]
    _library.impl(_name, globals().get(_name, lambda: -1))  # no CUDA: version -1
for _name in _OTHERS.split():
    _library.define(f"{_name}(Tensor input) -> Tensor")
