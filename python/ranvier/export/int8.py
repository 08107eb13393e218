"""Predictions in int8: linear layers and convolutions with constant weights, and simple operations between
them.

A value x is stored as an int8 q with x = scale (q - zero). Scale and zero belong to the array, and are such
that the smallest and the largest value of the calibration data become -128 and 127. Weights have a scale for
each output and no zero. The sum of a product is an integer of 32 bits. It is scaled to int8, or to float32 if
another operation reads the result (Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", 2018). NaN becomes -128.

A Linear of 4 to 8 features and a ReLU, of one row, become

    quantize(x, (int8_t *)(ram + 2), 4, 127.5f, -1);
    linear_int8((int8_t *)(ram + 2), w_0_weight_int8, w_0_bias_int8, w_0_factor_int8, (int8_t *)(ram + 0),
        NULL, 1, 4, 8, -128, -128);

In `made(helper, arguments ...)` the argument `...` is the place of the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ranvier.export.capture import Capture, captured
from ranvier.export.instructions import Routine, Value
from ranvier.export.layers import conv_window, max_window
from ranvier.export.operations import Site
from ranvier.tape.calls import Call

if TYPE_CHECKING:
    from ranvier.autograd import Tensor
    from ranvier.export.file_arrays import Values

Array = np.ndarray[Any, Any]
Ranges = dict[int, tuple[float, float]]
"""id of an array -> its least and its largest value."""

_PRODUCTS = {"Linear", "Conv1d", "Conv2d"}
_SAME_SCALE = {"Relu", "MaxPool1d", "MaxPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "Reshape", "Clone"}

# The most terms of a sum of products of two int8: 2^15 * 2^7 * 2^7 = 2^29. With a bias below 2^30 it fits in
# 32 bits.
_MOST_TERMS = 2**15


class Scale(NamedTuple):
    """x = scale (q - zero)."""

    scale: float
    zero: int


class Int8Value(NamedTuple):
    """An array in int8 and its scale."""

    value: Value
    scale: Scale


class _Output(NamedTuple):
    """The array that a product computes: its own result, or that of the ReLU after it."""

    array: Array
    includes_relu: bool


def ranges_of(target: Callable[..., Any], capture: Capture, batches: Iterable[list[Tensor]]) -> Ranges:
    """The least and the largest value of each array of a capture, by id, over batches of calibration data."""
    ranges: Ranges = {}

    def extend(array: Array, values: Array) -> None:
        if array.dtype.kind != "f":
            return
        low, high = ranges.get(id(array), (0.0, 0.0))  # 0 is always in the range: padding adds zeros
        low = float(np.minimum(low, values.min()))  # NaN stays NaN; `_scale` refuses it
        high = float(np.maximum(high, values.max()))
        ranges[id(array)] = low, high

    for batch in batches:
        run = captured(target, batch, capture.roots)
        for x, values in zip(capture.arguments, batch, strict=True):
            extend(x._array, values._array)
        for call, seen in zip(capture.calls, run.calls, strict=True):
            for x, values in zip(call.outputs, seen.outputs, strict=True):
                extend(x, values)
    return ranges


def with_folded_norms(capture: Capture, names: dict[int, str]) -> list[Call]:
    """The calls, in which a batch norm after a product is folded into the product's weights and bias.

    This is done where nothing else reads the product, and where all weights and biases of the two are
    constants.
    names: gets the names of the new arrays.
    """
    uses = _uses(capture.calls, capture.outputs)
    result: list[Call] = []
    for call in capture.calls:
        if result and _can_fold(call, result[-1], uses, capture.made):
            result[-1] = _folded(result[-1], call, names)
        else:
            result.append(call)
    return result


def _can_fold(norm: Call, product: Call, uses: Counter[int], computed: set[int]) -> bool:
    """Whether a call is a batch norm that can be folded into the call before it.

    uses: how often each array is read, by id. computed: ids of the arrays that depend on inputs.
    """
    if norm.kind != "BatchNorm" or norm.settings["training"] or norm.settings["running"][0] is None:
        return False
    if product.kind not in _PRODUCTS:
        return False
    result = product.outputs[0]
    if norm.inputs[0] is not result or uses[id(result)] > 1:
        return False
    if result.ndim != {"Linear": 2, "Conv1d": 3, "Conv2d": 4}[product.kind]:
        return False  # the channels of the norm are not the rows of the weight
    numbers = (*product.inputs[1:], *norm.inputs[1:])
    return not any(id(array) in computed for array in numbers)


def _folded(product: Call, norm: Call, names: dict[int, str]) -> Call:
    """The product with the weight `scale w` and the bias `scale (b - mean) + shift` for both calls."""
    x, weight = product.inputs[:2]
    bias = product.inputs[2] if len(product.inputs) > 2 else None
    gain, shift = norm.inputs[1:3]
    mean, variance = norm.settings["running"][:2]
    deviation = np.sqrt(variance.astype(np.float64) + norm.settings["eps"])
    scale = 1.0 / deviation
    if gain is not None:
        scale = gain.astype(np.float64) / deviation
    scale_of_rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
    new_weight = (weight * scale_of_rows).astype(np.float32)
    start = 0.0 if bias is None else bias.astype(np.float64)
    end = 0.0 if shift is None else shift.astype(np.float64)
    new_bias = ((start - mean) * scale + end).astype(np.float32)
    name = names.get(id(weight), "weight")
    names[id(new_weight)] = name
    names[id(new_bias)] = name.removesuffix("weight") + "bias"
    layer = ""
    if product.layer and norm.layer:
        layer = f"{product.layer}, {norm.layer}"
    return product._replace(inputs=[x, new_weight, new_bias], outputs=norm.outputs, layer=layer)


def _uses(calls: list[Call], outputs: list[Array]) -> Counter[int]:
    """The number of times that each array is read, by id; a result of the function counts as one."""
    uses = Counter(map(id, outputs))
    for call in calls:
        uses.update(map(id, call.inputs))
    return uses


class Quantized:
    """Decides which calls of a routine work in int8, and adds their instructions.

    exporter.py asks `takes` for each call in turn, and then calls `forward` in place of the call's rule.

    Attributes:
        values: id of an array -> its Value in int8, and its scale.
        results: ids of the function's results.
        computed: ids of the arrays that depend on inputs.
        readers: id of an array -> the calls that read it.
    """

    def __init__(self, routine: Routine, capture: Capture, ranges: Ranges) -> None:
        self.routine = routine
        self.ranges = ranges
        self.values: dict[int, Int8Value] = {}
        self.results = {id(x) for x in capture.outputs}
        self.computed = capture.made
        self.readers: dict[int, list[Call]] = {}
        for call in capture.calls:
            for x in call.inputs:
                self.readers.setdefault(id(x), []).append(call)

    def takes(self, call: Call, values: Values) -> bool:
        """True if a call works in int8.

        If not, its operands are converted to float32, also for later calls.
        """
        x = call.inputs[0]
        if self._is_product(call) or (id(x) in self.values and self._keeps(call)):
            return True
        # not where `values` has float32: the array was quantized from it, or a call before has converted it
        for array in call.inputs:
            if array is not None and id(array) in self.values and values(array).buffer.type == "int8_t":
                q, scale = self.values[id(array)]
                args = q, ..., q.size, scale.scale, scale.zero
                values.made[id(array)] = self.routine.made("dequantize", *args, shape=q.shape)
        return False

    def forward(self, site: Site, values: Values) -> Value:
        """Adds the instructions of a call in int8, and gives its result."""
        x = site.call.inputs[0]
        assert x is not None
        if self._is_product(site.call):
            return self._product(site, self._int8(x, values), values)
        return self._same_scale(site, self.values[id(x)])

    def _is_product(self, call: Call) -> bool:
        """True if a call multiplies by constant weights, and its sums fit in 32 bits."""
        if call.kind not in _PRODUCTS or any(id(x) in self.computed for x in call.inputs[1:]):
            return False
        weight = call.inputs[1]
        return weight is not None and weight.size // len(weight) <= _MOST_TERMS

    def _keeps(self, call: Call) -> bool:
        """True if a call passes int8 values on with the same scale, to calls that work in int8."""
        return call.kind in _SAME_SCALE and len(call.outputs) == 1 and self._stays(call.outputs[0])

    def _stays(self, array: Array) -> bool:
        """True if all calls that read an array take it in int8, so that it needs no float32 values."""
        readers = self.readers.get(id(array), [])
        if not readers or id(array) in self.results:
            return False
        for call in readers:
            if any(x is array for x in call.inputs[1:]):  # as a weight, say
                return False
            if not (self._is_product(call) or self._keeps(call)):
                return False
        return True

    def _scale(self, array: Array) -> Scale:
        """The scale of an array from its range in the calibration data, or from a constant's values."""
        if id(array) in self.ranges:
            low, high = self.ranges[id(array)]
        else:
            low = min(0.0, float(array.min()))
            high = max(0.0, float(array.max()))
        if not np.isfinite([low, high]).all():
            raise ValueError(
                "[export.c] got calibration data with values that are not finite; expected numbers"
            )
        extent = high - low or 1.0  # any scale fits an array of zeros
        # below the smallest normal float32, 1 / scale would be infinite
        scale = max(extent / 255, float(np.finfo(np.float32).tiny))
        zero = round(-128 - low / scale)  # so that q = -128 stands for `low`
        return Scale(scale, int(np.clip(zero, -128, 127)))

    def _int8(self, array: Array, values: Values) -> Int8Value:
        """An array in int8; it is quantized from its float32 values if no call has made it in int8."""
        made = self.values.get(id(array))
        if made is None:
            x = values(array)
            scale = self._scale(array)
            q = self.routine.new(x.shape, "int8_t")
            self.routine.call("quantize", x, q, x.size, 1 / scale.scale, scale.zero, writes=q)
            made = Int8Value(q, scale)
            self.values[id(array)] = made
        return made

    def _product(self, site: Site, operand: Int8Value, values: Values) -> Value:
        """Adds the instruction of a linear layer or convolution.

        It computes factor (bias + sum of q_x q_w): the bias contains -zero_x times the sum of the weights'
        q_w, and the factor is scale_x scale_w / scale_y. scale_w is large enough for the bias to stay below
        2^30.
        """
        call = site.call
        x, x_scale = operand
        weight = site.input(1)
        name = weight.buffer.name.removeprefix(values.memory.prefix).removesuffix("_weight")
        assert weight.buffer.values is not None
        rows = weight.buffer.values.astype(np.float64).reshape(weight.shape[0], -1)  # (outputs, terms)
        outputs, terms = rows.shape
        bias = np.zeros(outputs)
        if site.inputs[2] is not None:
            bias_values = site.input(2).buffer.values
            if bias_values is not None:
                bias = bias_values.astype(np.float64)
        if not (np.isfinite(rows).all() and np.isfinite(bias).all()):
            raise site.refuse("its weights are not finite, which int8 cannot represent")
        w_scale = np.maximum(np.abs(rows).max(1) / 127, np.abs(bias) / (x_scale.scale * 2**30))
        w_scale[w_scale == 0] = 1.0
        w_int8 = np.rint(rows / w_scale[:, None]).astype(np.int8)
        bias_int32 = np.rint(bias / (x_scale.scale * w_scale))
        bias_int32 = bias_int32 - x_scale.zero * w_int8.astype(np.int64).sum(1)
        output = self._output(call)
        stays = self._stays(output.array)
        y_scale = self._scale(output.array) if stays else Scale(1.0, 0)
        factor = x_scale.scale * w_scale / y_scale.scale
        memory = values.memory
        constants = [
            memory.constant(w_int8, f"{name}_weight_int8"),
            memory.constant(bias_int32.astype(np.int32), f"{name}_bias_int8"),
            memory.constant(factor.astype(np.float32), f"{name}_factor_int8"),
        ]
        # The helpers write to one of two pointers: to int8 values, or to float32 ones.
        shape = call.outputs[0].shape
        if stays:
            y = self.routine.new(shape, "int8_t")
            results = [y, None]
        else:
            y = self.routine.new(shape)
            results = [None, y]
        # the zero of y, and the least value: with a ReLU the one that stands for 0
        least = y_scale.zero if output.includes_relu else -128
        bounds = [y_scale.zero, least]
        self.routine.multiplications += int(np.prod(y.shape)) * terms
        if call.kind == "Linear":
            sizes = x.size // terms, terms, outputs
            self.routine.call("linear_int8", x, *constants, *results, *sizes, *bounds, writes=y)
        else:
            window = conv_window(site)
            self.routine.call("conv2d_int8", x, *constants, *results, window, x_scale.zero, *bounds, writes=y)
        if stays:
            self.values[id(call.outputs[0])] = Int8Value(y, y_scale)
            self.values[id(output.array)] = Int8Value(y, y_scale)
        return y

    def _output(self, call: Call) -> _Output:
        """The array that a product computes; it includes a ReLU that is its only reader."""
        array = call.outputs[0]
        readers = self.readers.get(id(array), [])
        if id(array) not in self.results and len(readers) == 1 and readers[0].kind == "Relu":
            after = readers[0].outputs[0]
            if self._stays(after):
                return _Output(after, includes_relu=True)
        return _Output(array, includes_relu=False)

    def _same_scale(self, site: Site, operand: Int8Value) -> Value:
        """Adds the instruction of a call that passes int8 values on with their scale."""
        call = site.call
        x, scale = operand
        shape = site.call.outputs[0].shape
        if id(call.outputs[0]) in self.values:  # a ReLU that the product's instruction has computed
            return x
        if call.kind in ("Reshape", "Clone"):
            y = x.as_shape(shape)
        else:
            y = self.routine.new(shape, "int8_t")
            if call.kind == "Relu":
                self.routine.call("clip_int8", x, y, x.size, scale.zero, writes=y, replaced=[x])
            else:
                self.routine.call("max_pool_int8", x, y, max_window(site), writes=y)
        self.values[id(call.outputs[0])] = Int8Value(y, scale)
        return y
