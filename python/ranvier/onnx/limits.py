"""The cost of a node of a loaded graph. `execution.run` counts it before the node runs and stops a run at a
limit.

A file of a kilobyte can describe results of terabytes, or hours of work. The unit of cost is one element of a
result. Elements of temporary arrays count too, and so does work of more than a few operations for each
element: products of matrices, and steps that run in Python. A size of 0 counts as 1, because a sum over an
axis of 0 elements may have a large result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.operators.resize import sizes_of
from ranvier.onnx.operators.windows import WINDOW, geometry
from ranvier.onnx.values import Value, array_of, axis_of, ints, is_exact, raw, shape_of
from ranvier.ops.matrix.einsum import parsed

Inputs = list[Any]
Attributes = dict[str, Any]

ELEMENTS = 14 * 2**20
"""The cost that a run may have apart from its inputs and weights: 56 MB of float32."""

PER_ELEMENT = 4096
"""The cost that each element of inputs and initializers adds to the limit: ten times that of a large
network."""

STEP = 256  # the cost of a step that runs in Python
_PRODUCTS = 128  # so many multiplications of floats cost as much as one element
_INTEGER_PRODUCTS = 8  # the same for multiplications of integers, which NumPy computes
_MOST = 2**62  # a larger cost is counted as this

_BY_VALUES = "AffineGrid Col2Im ConstantOfShape Expand MaxUnpool OneHot Pad Range Resize Tile Upsample"
BY_VALUES = frozenset(_BY_VALUES.split())
"""Operators whose cost depends on values of their inputs. That of all others depends on the shapes of
inputs, so `execution.run` keeps it for later runs with the same shapes."""


def cost(op: str, inputs: Inputs, attributes: Attributes) -> int:
    """An upper bound of the cost of a node.

    An operator that is not in `_RULES` is taken to broadcast its inputs. Elements of 8 bytes count twice.
    """
    weight = 1
    if inputs and inputs[0] is not None and raw(inputs[0]).itemsize > 4:
        weight = 2
    rule = _RULES.get(op)
    if rule is not None:
        # for invalid inputs a rule may fail; the operator raises the error when it runs
        with suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return weight * int(min(max(rule(inputs, attributes), 0), _MOST))
    shapes = [shape_of(value) for value in inputs if value is not None]
    if len(shapes) == 1:
        return weight * int(_product(shapes[0]))
    return weight * _broadcast(shapes) * max(len(shapes) - 1, 1)


def _product(sizes: Iterable[float]) -> Any:
    """The product of sizes, in which 0 counts as 1."""
    return math.prod([n or 1 for n in sizes])


def _broadcast(shapes: list[tuple[int, ...]]) -> int:
    """The number of elements of the common shape of broadcast operands, in which 0 counts as 1."""
    from_last_axis = [shape[::-1] for shape in shapes]
    elements = 1
    for sizes in zip_longest(*from_last_axis, fillvalue=1):
        elements *= max(sizes) or 1
    return elements


def _size(value: Value) -> int:
    return int(_product(shape_of(value)))


def _multiplied(products: float, value: Value) -> float:
    """The cost of so many multiplications of elements of the dtype of value."""
    if is_exact(raw(value).dtype):
        return products / _INTEGER_PRODUCTS
    return products / _PRODUCTS


def _quantized_matrix(inputs: Inputs, attributes: Attributes) -> float:
    """For an input of shape (..., k): n results in the place of k elements, each a sum of k products."""
    return _size(inputs[0]) * attributes["n"] * (1 / max(attributes["k"], 1) + 1 / _PRODUCTS)


def _pad(inputs: Inputs, attributes: Attributes) -> int:
    """The size with all positive pads; negative ones crop afterwards."""
    shape = shape_of(inputs[0])
    pads = ints(inputs[1])
    axes: Iterable[int] = range(len(shape))
    if len(inputs) > 3 and inputs[3] is not None:
        axes = ints(inputs[3])
    sizes = list(shape)
    for axis, before, after in zip(axes, pads, pads[len(pads) // 2 :], strict=False):
        sizes[axis] += max(before, 0) + max(after, 0)
    if attributes.get("mode") in (None, "constant"):
        places = 0
    else:
        places = 8 * sum(sizes)  # the indices along each axis, in int64, and their temporary arrays
    return int(_product(sizes)) + places


def _range(inputs: Inputs, attributes: Attributes) -> float:
    start, limit, delta = [array_of(value).reshape(()).item() for value in inputs]
    if delta:
        return 3 * max((limit - start) / delta, 0)
    return 0


def _resize(inputs: Inputs, attributes: Attributes) -> float:
    """Axes are resized in turn, each by a product with a matrix (out, n) (`operators/resize.py`)."""
    shape = shape_of(inputs[0])
    if "height_scale" in attributes:
        scales: Any = np.array([1, 1, attributes["height_scale"], attributes["width_scale"]], np.float32)
    elif len(inputs) == 2:
        scales = inputs[1]
    else:
        scales = inputs[2]
    sizes = inputs[3] if len(inputs) > 3 else None
    named_axes = attributes.get("axes") or range(len(shape))
    axes = [axis % len(shape) for axis in named_axes]
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    factors, outs = sizes_of(shape, axes, scales, sizes, policy)
    total = 0.0
    now = list(shape)  # the shape after the axes so far
    for axis, factor in zip(axes, factors, strict=True):
        n = shape[axis]
        out = outs[axis]
        if out == n and factor == 1:
            continue
        reach = 2.0  # input elements on each side
        if attributes.get("antialias"):
            reach = 2 / min(factor, 1)
        now[axis] = out
        total += _product(now) * (1 + n / _PRODUCTS) + 2 * out * n + 8 * max(out, 1) * reach
    return total


def _matmul(inputs: Inputs, attributes: Attributes) -> float:
    a = shape_of(inputs[0])
    b = shape_of(inputs[1])
    if len(a) == 1:
        a = (1, *a)
    if len(b) == 1:
        b = (*b, 1)
    # (*batch, rows, inner) @ (*batch, inner, columns)
    rows = a[-2]
    inner = a[-1]
    columns = b[-1]
    out = _broadcast([a[:-2], b[:-2]]) * _product((rows, columns))
    return out + _multiplied(out * inner, inputs[0])


def _gemm(inputs: Inputs, attributes: Attributes) -> float:
    a = shape_of(inputs[0])
    b = shape_of(inputs[1])
    inner = a[0] if attributes.get("transA") else a[-1]
    columns = b[0] if attributes.get("transB") else b[-1]
    rows = _size(inputs[0]) // (inner or 1)
    out = _product((rows, columns))
    return 3 * out + _multiplied(out * inner, inputs[0])


def _einsum(inputs: Inputs, attributes: Attributes) -> float:
    """Floats: operands are multiplied two at a time. Integers: NumPy loops over all indices at once."""
    terms, output = parsed(attributes["equation"].replace(" ", ""), tuple(map(shape_of, inputs)))
    sizes: dict[str, int] = {}
    for term, value in zip(terms, inputs, strict=True):
        for label, n in zip(term, shape_of(value), strict=True):
            sizes[label] = max(n, sizes.get(label, 1))
    if any(is_exact(raw(value).dtype) for value in inputs):
        places = _product(sizes.values())  # of the loop over all indices
        return _elements(output, sizes) + _multiplied(places * len(inputs), inputs[0])
    labels = {*terms[0]}  # of the product of the operands so far
    total = float(_size(inputs[0]))
    for later, term in enumerate(terms[1:], start=2):
        multiplied = labels.union(term)
        # labels that neither the output nor a later operand has are summed at once
        labels = multiplied & set(output).union(*terms[later:])
        total += _elements(labels, sizes) + _elements(multiplied, sizes) / _PRODUCTS
    return total


def _elements(labels: Iterable[str], sizes: dict[str, int]) -> Any:
    """The number of elements of an array with these labels of einsum as its axes."""
    return _product([sizes[label] for label in labels])


def _gather(inputs: Inputs, attributes: Attributes) -> int:
    """Each index takes a slice: the elements of the data, without the axis that the indices stand for."""
    shape = shape_of(inputs[0])
    n = shape[axis_of("Gather", attributes.get("axis", 0), len(shape))]
    elements_of_slice = _size(inputs[0]) // max(n, 1)
    return elements_of_slice * _size(inputs[1])


def _gather_nd(inputs: Inputs, attributes: Attributes) -> int:
    """Each vector of `depth` indices takes a slice of shape `inner`."""
    *lead, depth = shape_of(inputs[1])
    inner = shape_of(inputs[0])[attributes.get("batch_dims", 0) + depth :]
    return int(_product((*lead, *inner))) + 2 * _size(inputs[1])


class _Windows(NamedTuple):
    """Numbers of elements: of the padded batch, of one channel of one result image, and of a window."""

    padded: float
    plane: float
    kernel: float


def _windows(inputs: Inputs, attributes: Attributes, kernel: Sequence[int]) -> _Windows:
    """What a convolution or a pool of inputs[0], of shape (batch, channels, *image), computes."""
    chosen = {name: attributes[name] for name in WINDOW if name in attributes}
    window = geometry("", inputs[0], kernel, **chosen)
    shape = shape_of(inputs[0])
    axes = zip(shape[2:], window.before, window.after, window.reach, window.strides, strict=True)
    sizes: list[int] = []
    results: list[int] = []
    for n, before, after, reach, stride in axes:
        size = n + before + after
        if attributes.get("ceil_mode"):  # the last window may reach beyond
            size += reach
        sizes.append(size)
        results.append(max((size - reach) // stride + 1, 1))
    padded = _product((*shape[:2], *sizes))
    return _Windows(padded, math.prod(results), math.prod(window.kernel))


def _conv(inputs: Inputs, attributes: Attributes) -> float:
    batch = shape_of(inputs[0])[0] or 1
    weight = shape_of(inputs[1])  # (channels of the result, channels of a group, *kernel)
    windows = _windows(inputs, attributes, weight[2:])
    out = batch * (weight[0] or 1) * windows.plane
    return windows.padded + out * (1 + _product(weight[1:]) / _PRODUCTS)


def _pool(inputs: Inputs, attributes: Attributes) -> float:
    windows = _windows(inputs[:1], attributes, attributes["kernel_shape"])
    out = _product(shape_of(inputs[0])[:2]) * windows.plane
    return 2 * windows.padded + 2 * out + windows.kernel * (STEP / 4 + out / 8)


def _transposed(inputs: Inputs, attributes: Attributes) -> float:
    """`conv_transpose` computes the result without padding, then crops.

    With auto_pad SAME an axis of n elements has n stride in the result.
    """
    shape = shape_of(inputs[0])  # (batch, channels, *image)
    weight = shape_of(inputs[1])  # (channels, channels of the result in each group, *kernel)
    space = len(shape) - 2
    strides = attributes.get("strides") or [1] * space
    dilations = attributes.get("dilations") or [1] * space
    added = attributes.get("output_padding") or [0] * space
    same = [n * stride for n, stride in zip(shape[2:], strides, strict=True)]
    wanted = attributes.get("output_shape") or same
    axes = zip(shape[2:], strides, dilations, weight[2:], added, wanted[-space:], strict=True)
    sizes: list[int] = []
    for n, stride, dilation, kernel, more, least in axes:
        reach = dilation * (kernel - 1) + 1  # from the first to the last element of a window
        sizes.append(max(stride * (n - 1) + reach + more, least))
    planes = (shape[0] or 1) * (weight[1] or 1)
    work = _product(shape[2:]) * _product(weight[2:]) * (weight[0] or 1) / _PRODUCTS
    return planes * (attributes.get("group", 1) * _product(sizes) + work)


def _unpooled(inputs: Inputs, attributes: Attributes) -> float:
    shape = shape_of(inputs[0])
    kernel = attributes["kernel_shape"]
    strides = attributes.get("strides") or [1] * len(kernel)
    unpadded = list(shape[:2])
    for n, stride, size in zip(shape[2:], strides, kernel, strict=True):
        unpadded.append((n - 1) * stride + size)
    if len(inputs) > 2 and inputs[2] is not None:
        output_shape = ints(inputs[2])
    else:
        output_shape = ()
    return 4 * _size(inputs[0]) + max(_product(unpadded), _product(output_shape))


def _col2im(inputs: Inputs, attributes: Attributes) -> float:
    shape = shape_of(inputs[0])
    image = ints(inputs[1])
    kernel = ints(inputs[2])
    axes = len(image)
    pads = attributes.get("pads") or [0] * (2 * axes)  # before each axis, then after each axis
    padded = [n + sum(pads[axis::axes]) for axis, n in enumerate(image)]
    planes = _product(shape[:2]) / (math.prod(kernel) or 1)
    return 2 * _size(inputs[0]) + 2 * planes * _product(padded) + STEP * math.prod(kernel)


def _recurrent(inputs: Inputs, attributes: Attributes) -> float:
    """The gates of all steps and directions. 16 STEP for each: layers that the kernel lacks run in Python."""
    steps, batch = shape_of(inputs[0])[:2]
    if attributes.get("layout"):
        batch, steps = shape_of(inputs[0])[:2]
    directions, gates, features = shape_of(inputs[1])
    hidden = shape_of(inputs[2])[-1]
    work = batch * gates * (1 + (features + hidden) / _PRODUCTS)
    return max(steps, 1) * directions * (work + 16 * STEP)


def _matmul_of_bits(inputs: Inputs, attributes: Attributes) -> float:
    """x of (*rows, K) and a matrix of (N, K) in few bits, of which the numbers are made first."""
    n = max(attributes.get("N", 0), 0)
    k = max(attributes.get("K", 0), 1)
    return _size(inputs[0]) / k * n * (1 + k / _PRODUCTS) + 4 * n * k


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> float:
    return _product(ints(inputs[0]))


def _expand(inputs: Inputs, attributes: Attributes) -> float:
    return _broadcast([shape_of(inputs[0]), ints(inputs[1])])


def _tile(inputs: Inputs, attributes: Attributes) -> float:
    return _size(inputs[0]) * _product(ints(inputs[1]))


def _one_hot(inputs: Inputs, attributes: Attributes) -> float:
    depth = int(array_of(inputs[1]).reshape(-1)[0])
    return 3 * _size(inputs[0]) * depth


def _affine_grid(inputs: Inputs, attributes: Attributes) -> float:
    return _product(ints(inputs[1])) * 16


def _grid_sample(inputs: Inputs, attributes: Attributes) -> float:
    return shape_of(inputs[0])[1] * _size(inputs[1])


def _local_response_norm(inputs: Inputs, attributes: Attributes) -> float:
    window = min(attributes["size"], 2 * shape_of(inputs[0])[1])
    return (_size(inputs[0]) + STEP) * (1 + window)


def _all_elements(inputs: Inputs, attributes: Attributes) -> float:
    return sum(map(_size, inputs))


def _all_elements_4_times(inputs: Inputs, attributes: Attributes) -> float:
    return 4 * sum(map(_size, inputs))


def _nothing(inputs: Inputs, attributes: Attributes) -> float:
    """Of operators with graphs in attributes: the nodes of these are counted when they run."""
    return 0


def _quantized_conv(inputs: Inputs, attributes: Attributes) -> float:
    return _conv([inputs[0], inputs[3]], attributes)


def _quantized_matmul(inputs: Inputs, attributes: Attributes) -> float:
    return _matmul([inputs[0], inputs[3]], attributes)


def _quantized_table(inputs: Inputs, attributes: Attributes) -> float:
    return 2 * _size(inputs[0]) * max(attributes["k"], 1)


def _nonzero(inputs: Inputs, attributes: Attributes) -> float:
    return _size(inputs[0]) * max(2 * len(shape_of(inputs[0])), 1)


def _first_input(inputs: Inputs, attributes: Attributes) -> float:
    return _size(inputs[0])


def _first_input_twice(inputs: Inputs, attributes: Attributes) -> float:
    return 2 * _size(inputs[0])


def _first_input_8_times(inputs: Inputs, attributes: Attributes) -> float:
    return 8 * _size(inputs[0])


# these cost the elements of their first input: their other inputs are settings or have one element a channel
_AS_FIRST = """
    BatchNormalization Clip Compress CumProd CumSum DequantizeLinear Dropout GroupNormalization
    InstanceNormalization PRelu QuantizeLinear ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape ReverseSequence Slice Split Squeeze
    Trilu Unsqueeze
"""
_RULES: dict[str, Callable[[Inputs, Attributes], float]] = {
    "AffineGrid": _affine_grid,
    "AveragePool": _pool,
    "Cast": _first_input_twice,
    "CastLike": _first_input_twice,
    "Col2Im": _col2im,
    "Concat": _all_elements,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _transposed,
    "Einsum": _einsum,
    "Expand": _expand,
    "GRU": _recurrent,
    "Gather": _gather,
    "GatherElements": _all_elements_4_times,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GridSample": _grid_sample,
    "Hardmax": _first_input_twice,
    "If": _nothing,
    "LRN": _local_response_norm,
    "LSTM": _recurrent,
    "Loop": _nothing,
    "LpPool": _pool,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulNBits": _matmul_of_bits,
    "MaxPool": _pool,
    "MaxUnpool": _unpooled,
    "NonZero": _nonzero,
    "OneHot": _one_hot,
    "Pad": _pad,
    "QLinearConv": _quantized_conv,
    "QLinearMatMul": _quantized_matmul,
    "QuantizedMatrix": _quantized_matrix,
    "QuantizedTable": _quantized_table,
    "RNN": _recurrent,
    "Range": _range,
    "Resize": _resize,
    "Scan": _nothing,
    "Scatter": _all_elements_4_times,
    "ScatterElements": _all_elements_4_times,
    "ScatterND": _all_elements_4_times,
    "TensorScatter": _all_elements_4_times,
    "Tile": _tile,
    "TopK": _first_input_8_times,
    "Unique": _first_input_8_times,
    "Upsample": _resize,
    **dict.fromkeys(_AS_FIRST.split(), _first_input),
}
