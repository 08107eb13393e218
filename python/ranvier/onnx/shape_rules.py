"""The shapes of results as sizes (`dims.py`): a rule for each kind of call.

A rule gets a call whose operands have `dims`, and returns the dims of each result. An axis for which a call
has no rule becomes an atom of its own: the file then asks the result for its size. `tracing.Trace` calls
`result_dims` for each recorded call. The settings "geometry" and "arguments" are tuples of the op's arguments
in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ranvier.onnx.dims import (
    Dim,
    Dims,
    broadcast,
    is_fixed,
    key_of_axes,
    scaled,
    sliced,
    split_again,
    windows,
    without_axes,
)
from ranvier.onnx.registry import WRITERS
from ranvier.onnx.sizes import Size, number
from ranvier.tape.calls import Call

PartialDims: TypeAlias = tuple[Dim | None, ...] | None
"""The dims of a result as far as a rule knows them: None in place of an axis, or of all of them."""

Rule = Callable[[Call], Sequence[PartialDims]]

RULES: dict[str, Rule] = {}
"""Kind of a call -> its rule. The other kinds that have a writer are element-wise."""


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Registers the rule of calls of these kinds."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def result_dims(call: Call) -> list[PartialDims]:
    """The dims of each result of a call, as far as its rule knows them."""
    operands = [x.dims for x in call.inputs if x is not None]
    if all(map(is_fixed, operands)) and not any(map(_holds_size, call.settings.values())):
        return [value.array.shape for value in call.outputs]
    if call.kind in RULES:
        return list(RULES[call.kind](call))
    if call.kind in WRITERS:
        return [broadcast(*operands)] * len(call.outputs)
    return [None] * len(call.outputs)


def _holds_size(setting: Any) -> bool:
    if isinstance(setting, slice):
        return _holds_size((setting.start, setting.stop, setting.step))
    if isinstance(setting, tuple):
        return any(map(_holds_size, setting))
    return isinstance(setting, Size)


def _each(value: Any, axes: int) -> list[int]:
    """A setting as a number for each axis of the image: 2 and (2,) are [2, 2] for two axes."""
    if isinstance(value, (tuple, list)):
        sizes = [int(n) for n in value]
    else:
        sizes = [int(value)]
    if len(sizes) == 1:
        return sizes * axes
    return sizes


# --- the same shape, and reductions
@rule("BatchNorm", "GroupNorm", "LayerNorm")
@rule("Softmax", "LogSoftmax", "DropoutLayer", "MaskedFill", "Prelu")
@rule("Cumprod", "Cumsum", "cumprod", "cumsum")
@rule("Flip", "Scatter", "ScatterReduce", "Triangle", "Trilu")
@rule("isin", "isfinite", "isinf", "isnan")
def _dims_of_first_operand(call: Call) -> list[PartialDims]:
    return [call.inputs[0].dims] * len(call.outputs)


@rule("Extreme", "ExtremeAlong", "Logsumexp", "Prod", "Sum", "Var")
@rule("all", "any", "argmax", "argmin", "max", "min", "prod", "sum")
def _reduced(call: Call) -> list[PartialDims]:
    settings = call.settings
    axes = settings.get("axes", settings.get("axis"))
    return [without_axes(call.inputs[0].dims, axes, settings["keepdims"])] * len(call.outputs)


# --- products
@rule("Linear", "QuantizedLinear")
def _linear(call: Call) -> list[PartialDims]:
    features = call.outputs[0].array.shape[-1]
    return [(*call.inputs[0].dims[:-1], features)]


@rule("Matmul")
def _product(call: Call) -> list[PartialDims]:
    a = call.inputs[0].dims
    b = call.inputs[1].dims
    if len(b) == 1:
        return [a[:-1]]
    if len(a) == 1:
        return [(*b[:-2], b[-1])]
    return [(*broadcast(a[:-2], b[:-2]), a[-2], b[-1])]


@rule("Recurrent")
def _recurrent(call: Call) -> list[PartialDims]:
    x = call.inputs[0].dims
    steps, *last_states = call.outputs
    made: list[PartialDims] = [(*x[:-1], steps.array.shape[-1])]
    for state in last_states:
        made.append((*x[1:-1], state.array.shape[-1]))
    return made


# --- images
@rule("Conv1d", "Conv2d")
def _conv(call: Call) -> list[PartialDims]:
    axes = int(call.kind[-2])
    stride, padding, dilation, _ = call.settings["geometry"]
    lead = call.inputs[0].dims[: -axes - 1]
    sizes = call.inputs[0].dims[-axes:]
    weight = call.inputs[1].array.shape
    channels = weight[0]
    if padding == "same":
        return [(*lead, channels, *sizes)]
    if padding == "valid":
        padding = 0
    kernel = weight[-axes:]
    made = _windows_of_axes(sizes, kernel, _each(stride, axes), _each(padding, axes), _each(dilation, axes))
    return [(*lead, channels, *made)]


def _windows_of_axes(
    sizes: Dims, kernel: Sequence[int], strides: list[int], pads: list[int], dilations: list[int]
) -> list[Dim]:
    """The number of windows along each axis of an image."""
    made: list[Dim] = []
    for n, size, stride, pad, dilation in zip(sizes, kernel, strides, pads, dilations, strict=True):
        made.append(windows(n, size, stride, pad, dilation))
    return made


@rule("ConvTranspose1d", "ConvTranspose2d")
def _conv_transpose(call: Call) -> list[PartialDims]:
    axes = int(call.kind[-2])
    geometry = [_each(setting, axes) for setting in call.settings["geometry"]]
    stride, padding, output_padding, _, dilation = geometry
    lead = call.inputs[0].dims[: -axes - 1]
    channels = call.outputs[0].array.shape[-axes - 1]
    kernel = call.inputs[1].array.shape[-axes:]
    made: list[Dim] = []
    for i, n in enumerate(call.inputs[0].dims[-axes:]):
        reach = dilation[i] * (kernel[i] - 1) + 1  # from the first to the last element of a window
        made.append((n - 1) * stride[i] - 2 * padding[i] + reach + output_padding[i])
    return [(*lead, channels, *made)]


@rule("MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d")
def _pool(call: Call) -> list[PartialDims]:
    axes = int(call.kind[-2])
    if call.kind.startswith("Max"):
        kernel, stride, padding, dilation, ceil_mode = call.settings["arguments"]
    else:
        kernel, stride, padding, ceil_mode, *_ = call.settings["arguments"]
        dilation = 1
    dims = call.inputs[0].dims
    lead = dims[:-axes]
    sizes = dims[-axes:]
    made: Sequence[Dim | None]
    if ceil_mode and is_fixed(sizes):
        made = call.outputs[0].array.shape[-axes:]
    elif ceil_mode:  # no polynomial: the file asks the result for its sizes
        made = [None] * axes
    else:
        window = _each(kernel, axes)
        strides = window if stride is None else _each(stride, axes)
        made = _windows_of_axes(sizes, window, strides, _each(padding, axes), _each(dilation, axes))
    return [(*lead, *made)] * len(call.outputs)


@rule("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d")
def _adaptive_pool(call: Call) -> list[PartialDims]:
    axes = int(call.kind[-2])
    lead = call.inputs[0].dims[:-axes]
    return [(*lead, *result.array.shape[-axes:]) for result in call.outputs]


@rule("Interpolate")
def _interpolate(call: Call) -> list[PartialDims]:
    size, scale, *_ = call.settings["arguments"]
    dims = call.inputs[0].dims
    axes = len(dims) - 2
    if size is not None:
        sizes = size if isinstance(size, (tuple, list)) else [size] * axes
        return [(*dims[:2], *sizes)]
    factors = scale if isinstance(scale, (tuple, list)) else [scale] * axes
    sizes = [scaled(n, float(factor)) for n, factor in zip(dims[2:], factors, strict=True)]
    return [(*dims[:2], *sizes)]


@rule("GridSample")
def _grid_sample(call: Call) -> list[PartialDims]:
    x = call.inputs[0].dims
    grid = call.inputs[1].dims
    return [(*x[:2], *grid[1:-1])]


# --- other shapes
@rule("Reshape")
def _reshaped(call: Call) -> list[PartialDims]:
    return [split_again(call.inputs[0].dims, call.outputs[0].array.shape)]


@rule("Permute")
def _permuted(call: Call) -> list[PartialDims]:
    dims = call.inputs[0].dims
    return [tuple(dims[axis] for axis in call.settings["dims"])]


@rule("Expand")
def _expanded(call: Call) -> list[PartialDims]:
    before = call.inputs[0].dims
    made: list[Dim | None] = list(call.outputs[0].array.shape)
    lead = len(made) - len(before)
    for at, n in enumerate(before, lead):
        if number(n) == made[at]:
            made[at] = n
    return [tuple(made)]


@rule("Concatenate")
def _joined(call: Call) -> list[PartialDims]:
    ndim = call.outputs[0].array.ndim
    operands = [x.dims for x in call.inputs if x.array.ndim == ndim]  # cat ignores vectors without elements
    joined_axis = call.settings["axis"] % ndim
    made: list[Dim | None] = []
    for axis in range(ndim):
        sizes = [dims[axis] for dims in operands]
        if axis == joined_axis:
            made.append(sum(sizes))
        else:
            made.append(_best_known(sizes))
    return [tuple(made)]


def _best_known(sizes: list[Dim]) -> Dim:
    """Of equal sizes one that is a number, else the first."""
    for n in sizes:
        if not isinstance(n, Size):
            return n
    return sizes[0]


@rule("Pad")
def _padded(call: Call) -> list[PartialDims]:
    dims = list(call.inputs[0].dims)
    sizes = call.settings["sizes"]
    for i in range(len(sizes) // 2):  # (before, after) of the last axis, then of the one before it
        at = len(dims) - 1 - i
        before = sizes[2 * i]
        after = sizes[2 * i + 1]
        dims[at] = dims[at] + before + after
    return [tuple(dims)]


@rule("Unfold")
def _windowed(call: Call) -> list[PartialDims]:
    at, size, step = call.settings["place"]
    dims = list(call.inputs[0].dims)
    dims[at] = (dims[at] - size) // step + 1
    return [(*dims, size)]


# --- elements at places
@rule("Getitem")
def _indexed(call: Call) -> list[PartialDims]:
    dims = call.inputs[0].dims
    made: list[Dim | None] = []
    axis = 0
    for entry in key_of_axes(call.settings["key"], len(dims)):
        if entry is None:
            made.append(1)
            continue
        if isinstance(entry, slice):
            made.append(sliced(dims[axis], entry))
        axis += 1
    return [tuple(made)]


@rule("Pick")
def _picked(call: Call) -> list[PartialDims]:
    axes = call.settings["axes"]
    dims = call.inputs[0].dims
    indices = [x.dims for x in call.inputs[1:]]
    index = broadcast(*indices)
    others = [n for axis, n in enumerate(dims) if axis not in axes]
    # axes of the indices stand in the place of adjacent picked axes, else in front, as in NumPy
    are_adjacent = axes[-1] - axes[0] == len(axes) - 1
    first = axes[0] if are_adjacent else 0
    return [(*others[:first], *index, *others[first:])]


@rule("Embedding", "TakeRows")
def _rows(call: Call) -> list[PartialDims]:
    return [(*call.inputs[1].dims, *call.inputs[0].dims[1:])]


@rule("QuantizedRows")
def _quantized_rows(call: Call) -> list[PartialDims]:
    features = call.outputs[0].array.shape[-1]
    return [(*call.inputs[2].dims, features)]


@rule("Gather", "searchsorted")
def _dims_of_second_operand(call: Call) -> list[PartialDims]:
    return [call.inputs[1].dims]


@rule("one_hot")
def _one_hot(call: Call) -> list[PartialDims]:
    return [(*call.inputs[0].dims, call.settings["classes"])]


@rule("Sort", "sort")
def _sorted(call: Call) -> list[PartialDims]:
    dims = list(call.inputs[0].dims)
    dims[call.settings["axis"]] = call.settings["last"] - call.settings["first"]
    return [tuple(dims)] * len(call.outputs)
