"""torchvision's compiled operators, `torch.ops.torchvision`: nms, pooling of regions, deformable convolution.

`torch.ops.load_library` imports this file, whose end registers the operators.

A region (a box of an image) is divided into bins, a grid of rows and columns. The value of a bin is a
weighted sum, or the maximum, of pixels, so `embedding_bag` computes it and its gradient with respect to the
pixels. The boxes get no gradient. In the operators "ps_..." (position-sensitive), each bin reads channels of
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

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


class _AxisReads(NamedTuple):
    """Along one axis, the pixels that the bins of all regions read, one bin after another.

    For the rows of an image, pixel 2 is row 2. Bin b of region r is number r * bins + b.
    """

    counts: Array  # (regions * bins,): how many pixels each bin reads
    pixels: Array  # (sum of counts,): their numbers along the axis
    weights: Array  # (sum of counts,): their weights in the sum of the bin

    def starts(self) -> Array:
        """(regions * bins,): where the pixels of each bin begin in `pixels`."""
        return np.cumsum(self.counts) - self.counts


def _enumerate_reads(counts: Array) -> tuple[Array, Array]:
    """For bins with counts[i] reads each: for each read its bin, and its number within the bin.

    counts [2, 1] gives bins [0, 0, 1] and numbers [0, 1, 0].
    """
    bins = np.repeat(np.arange(len(counts)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return bins, np.arange(len(bins)) - starts


def _bilinear_reads(start: Array, length: Array, bins: int, ratio: int, size: int) -> _AxisReads:
    """The pixels for bilinear samples: each bin has `ratio` points, and each point reads two pixels.

    start, length, (regions,): where the regions begin along the axis, and how long they are. ratio 0: about
    one point for each pixel of a bin. size: the pixels of the image along the axis.
    """
    dtype = start.dtype
    bin_length = length / dtype.type(bins)
    points = np.full(len(start), ratio)  # of a bin of each region
    if ratio <= 0:
        points = np.ceil(np.nan_to_num(bin_length)).clip(0).astype(np.int64)
    counts = np.repeat(2 * points, bins)
    bin_of_all, number = _enumerate_reads(counts)
    region = bin_of_all // bins
    bin_in_region = (bin_of_all % bins).astype(dtype)
    point = number // 2
    is_second = number % 2 == 1  # of the two pixels of a point

    # The points divide a bin evenly, with half a distance before the first one.
    bin_length = bin_length[region]
    position = start[region] + bin_in_region * bin_length
    position += (point + dtype.type(0.5)) * bin_length / points[region].astype(dtype)
    # A point more than a pixel outside of the image counts as 0, one nearer is moved to the edge.
    is_inside = (position >= -1) & (position <= size)
    position = np.where(is_inside, position.clip(0, size - 1), 0)
    first = position.astype(np.int64)
    share_of_second = position - first.astype(position.dtype)
    shares = np.where(is_second, share_of_second, 1 - share_of_second)
    weights = shares * is_inside / np.maximum(points, 1)[region]  # the bin is the mean of its points
    pixels = np.minimum(first + is_second, size - 1)
    return _AxisReads(counts, pixels, weights.astype(dtype))


def _covered_reads(start: Array, length: Array, bins: int, last: int) -> _AxisReads:
    """The pixels that each bin touches, with equal weights; a bin outside of the image has none.

    start, length, (regions,): in whole pixels. last: the pixels below it are read.
    """
    dtype = start.dtype
    bin_length = (length.astype(dtype) / dtype.type(bins))[:, None]
    edges = np.arange(bins + 1).astype(dtype)
    first = (np.floor(edges[:-1] * bin_length) + start[:, None]).clip(0, last).astype(np.int64)
    end = (np.ceil(edges[1:] * bin_length) + start[:, None]).clip(0, last).astype(np.int64)
    counts = (end - first).clip(0).reshape(-1)
    bin_of_all, number = _enumerate_reads(counts)
    pixels = first.reshape(-1)[bin_of_all] + number
    weights = 1 / counts[bin_of_all]
    return _AxisReads(counts, pixels, weights.astype(dtype))


def _pool_bins(
    input: Tensor,
    images: Array,
    rows: _AxisReads,
    columns: _AxisReads,
    bins: tuple[int, int],
    mode: Literal["sum", "max"],
    has_channels_for_each_bin: bool,
) -> Tensor:
    """(regions, c, *bins): for each bin the weighted sum, or the maximum, of the pixels it reads.

    A bin reads the pixels at all pairs of its rows and columns. images: the image of each region.
    has_channels_for_each_bin: the input has c channels for each bin, as position-sensitive pooling needs.
    """
    n, c, h, w = input.shape
    bin_rows, bin_columns = bins
    grid = np.indices((len(images), bin_rows, bin_columns))
    region, i, j = grid.reshape(3, -1)  # of each bin, in the order of the result
    # The pixels become rows of a table, (images * h * w, c), or (images * bins * h * w, c).
    plane = images[region]  # which plane of h * w rows each bin reads
    if has_channels_for_each_bin:
        c //= bin_rows * bin_columns
        plane = (plane * bin_rows + i) * bin_columns + j
        pixels = input.reshape(n, c, bin_rows, bin_columns, h, w).permute(0, 2, 3, 4, 5, 1)
    else:
        pixels = input.permute(0, 2, 3, 1)
    table = pixels.reshape(-1, c)

    axis_row = region * bin_rows + i  # the number of the bin in `rows`
    axis_column = region * bin_columns + j
    counts = rows.counts[axis_row] * columns.counts[axis_column]
    bin_number, number = _enumerate_reads(counts)
    width = columns.counts[axis_column][bin_number]
    row = rows.starts()[axis_row][bin_number] + number // width
    column = columns.starts()[axis_column][bin_number] + number % width
    index = (plane[bin_number] * h + rows.pixels[row]) * w + columns.pixels[column]
    weights = None
    if mode == "sum":
        weights = rv.from_numpy(rows.weights[row] * columns.weights[column])
    offsets = rv.from_numpy(np.cumsum(counts) - counts)
    y = F.embedding_bag(rv.from_numpy(index), table, offsets, mode=mode, per_sample_weights=weights)
    return y.reshape(len(images), bin_rows, bin_columns, c).permute(0, 3, 1, 2)


def _read_regions(
    name: str,
    input: Tensor,
    rois: Tensor,
    bins: tuple[int, int],
    has_channels_for_each_bin: bool,
) -> tuple[Array, Array]:
    """(k,) the image of each region, and (4, k) its corners x1, y1, x2, y2. rois: (k, 5).

    Raises OpError and its subclasses, with the operator's name, for other shapes, dtypes and images.
    """
    if input.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5:
        raise OpError(
            f"[{name}] got input of shape {input.shape} and rois of {rois.shape}; expected four "
            "dimensions and (k, 5)"
        )
    if input.dtype != rois.dtype:
        raise DtypeError(f"[{name}] got input of {input.dtype} and rois of {rois.dtype}; expected one dtype")
    if has_channels_for_each_bin and input.shape[1] % (bins[0] * bins[1]):
        raise OpError(f"[{name}] got {input.shape[1]} channels; expected a multiple of {bins[0]} * {bins[1]}")
    boxes = rois.detach().numpy()
    images = boxes[:, 0].astype(np.int64)
    if len(images) and not 0 <= images.min() <= images.max() < len(input):
        raise OpIndexError(
            f"[{name}] got rois of images {images.min()} to {images.max()}; expected 0 to {len(input) - 1}"
        )
    return images, boxes[:, 1:].T


def _align(
    name: str,
    input: Tensor,
    rois: Tensor,
    scale: float,
    bins: tuple[int, int],
    ratio: int,
    has_half_centres: bool,
) -> Tensor:
    """(k, c, *bins): the mean of bilinear samples in each bin, for roi_align and ps_roi_align.

    scale: pixels per unit of the boxes.
    ratio: samples along each axis of a bin.
    has_half_centres: the first pixel's centre is at 0.5, and regions may be smaller than a pixel.
    """
    if input.dtype in HALVES:
        y = _align(name, input.float(), rois.float(), scale, bins, ratio, has_half_centres)
        return y.to(input.dtype)
    is_position_sensitive = name == "ps_roi_align"
    images, corners = _read_regions(name, input, rois, bins, is_position_sensitive)
    dtype = corners.dtype
    if has_half_centres:
        offset = dtype.type(0.5)
    else:
        offset = dtype.type(0)
    x1, y1, x2, y2 = corners * dtype.type(scale) - offset
    width = x2 - x1
    height = y2 - y1
    if not has_half_centres:
        width = np.maximum(width, 1)
        height = np.maximum(height, 1)
    rows = _bilinear_reads(y1, height, bins[0], ratio, input.shape[2])
    columns = _bilinear_reads(x1, width, bins[1], ratio, input.shape[3])
    return _pool_bins(input, images, rows, columns, bins, "sum", is_position_sensitive)


def _pool(name: str, input: Tensor, rois: Tensor, scale: float, bins: tuple[int, int]) -> Tensor:
    """(k, c, *bins): the maximum of the pixels of each bin for roi_pool, their mean for ps_roi_pool."""
    if input.dtype in HALVES:
        y = _pool(name, input.float(), rois.float(), scale, bins)
        return y.to(input.dtype)
    is_position_sensitive = name == "ps_roi_pool"
    images, corners = _read_regions(name, input, rois, bins, is_position_sensitive)
    scaled = corners * corners.dtype.type(scale)
    x1, y1, x2, y2 = np.trunc(scaled + np.copysign(0.5, scaled))  # rounded, halves away from zero
    height = y2 - y1
    width = x2 - x1
    last_row = input.shape[2]
    last_column = input.shape[3]
    mode: Literal["sum", "max"]
    if is_position_sensitive:  # as in torchvision, the last pixels of the image and of a region are not read
        last_row -= 1
        last_column -= 1
        mode = "sum"
    else:
        height += 1
        width += 1
        mode = "max"
    rows = _covered_reads(y1, np.maximum(height, 1), bins[0], last_row)
    columns = _covered_reads(x1, np.maximum(width, 1), bins[1], last_column)
    return _pool_bins(input, images, rows, columns, bins, mode, is_position_sensitive)


def roi_align(
    input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    """The mean of bilinear samples in each bin of regions (k, 5), whose rows are image, x1, y1, x2, y2.

    >>> roi_align(rv.arange(16.0).reshape(1, 1, 4, 4), rv.tensor([[0.0, 0, 0, 2, 2]]), 1.0, 1, 1, 1, False)
    tensor([[[[5.]]]])
    """
    return _align("roi_align", input, rois, scale, (height, width), sampling_ratio, aligned)


def ps_roi_align(
    input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int
) -> tuple[Tensor, Tensor]:
    """roi_align with channels of its own for each bin, and the channel that each result was computed from."""
    y = _align("ps_roi_align", input, rois, scale, (height, width), sampling_ratio, True)
    return y, _channels_read(y)


def roi_pool(input: Tensor, rois: Tensor, scale: float, height: int, width: int) -> tuple[Tensor, None]:
    """The maximum of each bin, and None in place of its index, which torchvision's functions do not use."""
    return _pool("roi_pool", input, rois, scale, (height, width)), None


def ps_roi_pool(input: Tensor, rois: Tensor, scale: float, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The mean of each bin, which has channels of its own, and the channel of each result."""
    y = _pool("ps_roi_pool", input, rois, scale, (height, width))
    return y, _channels_read(y)


def _channels_read(y: Tensor) -> Tensor:
    """For each element of y the channel of the input that it was computed from."""
    channels = rv.arange(y[:1].numel(), dtype=rv.int32).reshape(1, *y.shape[1:])
    return channels.repeat(len(y), 1, 1, 1)


def _window_positions(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Array:
    """(windows, kernel): along one axis, the pixels that the windows of a convolution read."""
    windows = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    starts = np.arange(windows) * stride - padding
    return starts[:, None] + np.arange(kernel) * dilation


def deform_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """A convolution whose windows read moved pixels, bilinearly, and multiplied by the mask.

    Parameters
    ----------
    input: (n, c, height, width).
    weight: (filters, c / groups, taps_h, taps_w).
    offset: (n, offset_groups * 2 * taps, h, w), how far each tap of each window is moved, as pairs (y, x).
    mask: (n, offset_groups * taps, h, w), read if use_mask.
    bias: (filters,).
    offset_groups: the groups of channels that share offsets.

    Returns
    -------
    (n, filters, h, w)
    """
    n, c, height, width = input.shape
    filters, depth, taps_h, taps_w = weight.shape
    rows = _window_positions(height, taps_h, stride_h, pad_h, dilation_h)
    columns = _window_positions(width, taps_w, stride_w, pad_w, dilation_w)
    h = len(rows)
    w = len(columns)
    taps = taps_h * taps_w
    expected = (n, offset_groups * 2 * taps, h, w)
    if offset.shape != expected:
        raise OpError(f"[deform_conv2d] got the shape of the offset, {offset.shape}; expected {expected}")
    if use_mask and mask.shape != (n, offset_groups * taps, h, w):
        raise OpError(
            f"[deform_conv2d] got mask {mask.shape}: mask.shape[1] is not valid; "
            f"expected {offset_groups * taps}"
        )
    if c % offset_groups or c % groups or filters % groups or depth * groups != c:
        raise OpError(
            f"[deform_conv2d] got input {input.shape}, weight {weight.shape}, groups {groups} and "
            f"{offset_groups}; expected multiples"
        )
    # The positions (x, y) that the windows read: (1, windows, taps, 2), and moved (n * offset_groups, ...).
    y_positions, x_positions = np.broadcast_arrays(rows[:, None, :, None], columns[None, :, None])
    positions = np.stack([x_positions, y_positions], -1).reshape(1, h * w, taps, 2)
    grid = rv.from_numpy(positions.astype(offset.detach().numpy().dtype))
    moves = offset.reshape(n * offset_groups, taps, 2, h * w).permute(0, 3, 1, 2).flip(-1)  # (y, x) to (x, y)
    sampling = GridSample("bilinear", "zeros", align_corners=False, in_pixels=True)
    images = input.reshape(n * offset_groups, c // offset_groups, height, width)
    pixels = sampling.apply(images, moves + grid)  # (n * offset_groups, channels, windows, taps)
    if use_mask:
        pixels = pixels * mask.reshape(n * offset_groups, 1, taps, h * w).transpose(2, 3)
    # For each group a product of matrices: (n * windows, taps * depth) @ (taps * depth, filters / groups).
    windows = pixels.reshape(n, groups, depth, h * w, taps).permute(1, 0, 3, 4, 2)
    windows = windows.reshape(groups, n * h * w, taps * depth)
    kernels_of_groups = weight.reshape(groups, filters // groups, depth, taps).permute(0, 3, 2, 1)
    matrices = kernels_of_groups.reshape(groups, taps * depth, filters // groups)
    y = _core._without_autocast(rv.matmul, windows, matrices)
    y = y.reshape(groups, n, h, w, filters // groups).permute(1, 0, 4, 2, 3)
    return y.reshape(n, filters, h, w) + bias.reshape(-1, 1, 1)


def _cuda_version() -> int:
    return -1  # there is no CUDA


_ROI = "Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_WINDOWS = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w"
)
_DEFORM = f"Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_WINDOWS}"
_KERNELS: dict[str, Callable[..., Any]] = {  # schema -> the function of the operator
    "_cuda_version() -> int": _cuda_version,
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor": nms,
    f"roi_align(Tensor input, {_ROI}, int sampling_ratio, bool aligned) -> Tensor": roi_align,
    f"roi_pool(Tensor input, {_ROI}) -> (Tensor, Tensor)": roi_pool,
    f"ps_roi_align(Tensor input, {_ROI}, int sampling_ratio) -> (Tensor, Tensor)": ps_roi_align,
    f"ps_roi_pool(Tensor input, {_ROI}) -> (Tensor, Tensor)": ps_roi_pool,
    f"deform_conv2d({_DEFORM}, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor": deform_conv2d,
}
# further operators that torchvision registers; a call raises an error with the name
_OTHERS = """
    _roi_align_backward _roi_pool_backward _ps_roi_align_backward _ps_roi_pool_backward
    _deform_conv2d_backward qnms qroi_align box_iou_rotated
"""
_library = Library("torchvision", "DEF")
for _schema, _kernel in _KERNELS.items():
    _library.impl(_library.define(_schema), _kernel)
for _name in _OTHERS.split():
    _library.define(f"{_name}(Tensor input) -> Tensor")
