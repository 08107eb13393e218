"""Predictions in int8: linear layers and convolutions with constant weights, and simple operations between
them.

A value x is stored as an int8 q with x = scale (q - zero). Scale and zero belong to the array, and are such
that the smallest and the largest value of the calibration data become -128 and 127. Weights have a scale for
each output and no zero. The sum of a product is an integer of 32 bits. It is scaled to int8, or to float32 if
another operation reads the result (Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", 2018). NaN becomes -128.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from ranvier.export.capture import Capture, captured
from ranvier.export.instructions import Routine, Value
from ranvier.export.layers import conv_window, max_window
from ranvier.export.operations import Site
from ranvier.tape.calls import Call

Array = np.ndarray[Any, Any]
Ranges = dict[int, tuple[float, float]]

_PRODUCTS = {"Linear", "Conv1d", "Conv2d"}
_SAME_SCALE = {"Relu", "MaxPool1d", "MaxPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "Reshape", "Clone"}

# The most terms of a sum of products of two int8: 2^15 * 2^7 * 2^7 = 2^29. With a bias below 2^30 it fits in
# 32 bits.
_MOST_TERMS = 2**15


class Scale(NamedTuple):
    """x = scale (q - zero)."""

    scale: float
    zero: int


def ranges_of(target: Any, capture: Capture, batches: Any) -> Ranges:
    """The least and the largest value of each array of a capture, by id, over batches of calibration data."""
    ranges: Ranges = {}

    def extend(array: Array, values: Array) -> None:
        if array.dtype.kind == "f":
            low, high = ranges.get(id(array), (0.0, 0.0))  # 0 is always in the range: padding adds zeros
            ranges[id(array)] = (
                float(np.minimum(low, values.min())),  # NaN stays NaN; `_scale` refuses it
                float(np.maximum(high, values.max())),
            )

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
    calls = capture.calls
    outputs = capture.outputs
    uses = _uses(calls, outputs)
    computed = capture.made
    result: list[Call] = []
    for call in calls:
        product = result[-1] if result else None
        running = call.settings.get("running", (None, None))
        if (
            call.kind != "BatchNorm"
            or call.settings["training"]
            or running[0] is None
            or product is None
            or product.kind not in _PRODUCTS
            or call.inputs[0] is not product.outputs[0]
            or uses[id(product.outputs[0])] > 1
            or product.outputs[0].ndim != {"Linear": 2, "Conv1d": 3, "Conv2d": 4}[product.kind]
            or any(id(a) in computed for a in (*product.inputs[1:], *call.inputs[1:]))
        ):
            result.append(call)
            continue
        x, weight, bias = (*product.inputs, None)[:3]
        assert weight is not None
        gain, shift = (None if a is None else a.astype(np.float64) for a in call.inputs[1:3])
        deviation = np.sqrt(running[1].astype(np.float64) + call.settings["eps"])
        scale = (1.0 if gain is None else gain) / deviation
        start = 0.0 if bias is None else bias.astype(np.float64)
        new_weight = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        new_bias = ((start - running[0]) * scale + (0.0 if shift is None else shift)).astype(np.float32)
        name = names.get(id(weight), "weight")
        names[id(new_weight)] = name
        names[id(new_bias)] = name.removesuffix("weight") + "bias"
        if product.layer and call.layer:
            layer = f"{product.layer}, {call.layer}"
        else:
            layer = ""
        result[-1] = product._replace(inputs=[x, new_weight, new_bias], outputs=call.outputs, layer=layer)
    return result


def _uses(calls: list[Call], outputs: list[Array]) -> Counter[int]:
    """The number of times that each array is read, by id; a result of the function counts as one."""
    return Counter(id(x) for x in (*(x for call in calls for x in call.inputs if x is not None), *outputs))


class Quantized:
    """Decides which calls of a routine work in int8, and adds their instructions.

    values: id of an array -> its Value in int8, and its scale. results: ids of the function's results.
    readers: id of an array -> the calls that read it.
    """

    def __init__(self, routine: Routine, capture: Capture, ranges: Ranges) -> None:
        self.routine = routine
        self.ranges = ranges
        self.values: dict[int, tuple[Value, Scale]] = {}
        self.results = {id(x) for x in capture.outputs}
        self.computed = capture.made
        self.readers: dict[int, list[Call]] = {}
        for call in capture.calls:
            for x in call.inputs:
                self.readers.setdefault(id(x), []).append(call)

    def takes(self, call: Call, values: Any) -> bool:
        """True if a call works in int8.

        If not, its operands are converted to float32, also for later calls.
        """
        x = call.inputs[0]
        if self._is_product(call) or (id(x) in self.values and self._keeps(call)):
            return True
        for array in call.inputs:
            if array is not None and id(array) in self.values and values(array).buffer.type == "int8_t":
                q, scale = self.values[id(array)]
                values.made[id(array)] = self.routine.made(
                    "dequantize", q, ..., q.size, scale.scale, scale.zero, shape=q.shape
                )
        return False

    def forward(self, site: Site, values: Any) -> Value:
        """Adds the instructions of a call in int8, and gives its result."""
        x = site.call.inputs[0]
        assert x is not None
        if self._is_product(site.call):
            return self._product(site, *self._int8(x, values), values)
        return self._same_scale(site, *self.values[id(x)])

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
        used = id(array) in self.results or any(id(array) in map(id, call.inputs[1:]) for call in readers)
        return bool(readers) and not used and all(self._is_product(c) or self._keeps(c) for c in readers)

    def _scale(self, array: Array) -> Scale:
        """The scale of an array from its range in the calibration data, or from a constant's values."""
        low, high = self.ranges.get(id(array)) or (min(0.0, float(array.min())), max(0.0, float(array.max())))
        if not np.isfinite([low, high]).all():
            raise ValueError(
                "[export.c] got calibration data with values that are not finite; expected numbers"
            )
        # below the smallest normal float32, 1 / scale would be infinite
        scale = max((high - low or 1.0) / 255, float(np.finfo(np.float32).tiny))
        return Scale(scale, int(np.clip(round(-128 - low / scale), -128, 127)))

    def _int8(self, array: Array, values: Any) -> tuple[Value, Scale]:
        """An array in int8; it is quantized from its float32 values if no call has made it in int8."""
        made = self.values.get(id(array))
        if made is None:
            x = values(array)
            scale = self._scale(array)
            q = self.routine.new(x.shape, "int8_t")
            self.routine.call("quantize", x, q, x.size, 1 / scale.scale, scale.zero, writes=q)
            made = self.values[id(array)] = q, scale
        return made

    def _product(self, site: Site, x: Value, of_x: Scale, values: Any) -> Value:
        """Adds the instruction of a linear layer or convolution.

        It computes factor (bias + sum of q_x q_w): the bias contains -zero_x times the sum of the weights'
        q_w, and the factor is scale_x scale_w / scale_y. scale_w is large enough for the bias to stay below
        2^30.
        """
        call = site.call
        weight = site.input(1)
        name = weight.buffer.name.removeprefix(values.memory.prefix).removesuffix("_weight")
        assert weight.buffer.values is not None
        rows = weight.buffer.values.astype(np.float64).reshape(weight.shape[0], -1)
        if site.inputs[2] is not None:
            bias = site.input(2).buffer.values
        else:
            bias = None
        if bias is None:
            bias = np.zeros(len(rows))
        else:
            bias = bias.astype(np.float64)
        if not (np.isfinite(rows).all() and np.isfinite(bias).all()):
            raise site.refuse("its weights are not finite, which int8 cannot represent")
        of_w = np.maximum(np.abs(rows).max(1) / 127, np.abs(bias) / (of_x.scale * 2**30))
        of_w[of_w == 0] = 1.0
        q = np.rint(rows / of_w[:, None]).astype(np.int8)
        start = np.rint(bias / (of_x.scale * of_w)) - of_x.zero * q.astype(np.int64).sum(1)
        output, low = self._output(call)
        stays = self._stays(output)
        of_y = self._scale(output) if stays else Scale(1.0, 0)
        y = self.routine.new(call.outputs[0].shape, "int8_t" if stays else "float")
        arrays = {
            "weight": q,
            "bias": start.astype(np.int32),
            "factor": (of_x.scale * of_w / of_y.scale).astype(np.float32),
        }
        constants = [values.memory.constant(array, f"{name}_{what}_int8") for what, array in arrays.items()]
        place = [y, None] if stays else [None, y]
        bounds = [of_y.zero, of_y.zero if low else -128]
        self.routine.multiplications += int(np.prod(y.shape)) * rows.shape[1]
        if call.kind == "Linear":
            sizes = x.size // x.shape[-1], x.shape[-1], len(rows)
            self.routine.call("linear_int8", x, *constants, *place, *sizes, *bounds, writes=y)
        else:
            self.routine.call(
                "conv2d_int8", x, *constants, *place, conv_window(site), of_x.zero, *bounds, writes=y
            )
        if stays:
            self.values[id(call.outputs[0])] = self.values[id(output)] = y, of_y
        return y

    def _output(self, call: Call) -> tuple[Array, bool]:
        """The array that a product computes, and whether it includes a ReLU, its only reader."""
        array = call.outputs[0]
        readers = self.readers.get(id(array), [])
        if id(array) not in self.results and len(readers) == 1 and readers[0].kind == "Relu":
            after = readers[0].outputs[0]
            if self._stays(after):
                return after, True
        return array, False

    def _same_scale(self, site: Site, x: Value, scale: Scale) -> Value:
        call = site.call
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
        self.values[id(call.outputs[0])] = y, scale
        return y
