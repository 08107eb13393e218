"""Writes linear layers, convolutions, pooling, norms and recurrent layers.

A writer gets one call of a Function in all traced runs of the model (`TracedCall`), adds nodes, and returns
the name of the result. A Function with several results has a tuple of names. `dims` and `result_dims` give
shapes in which dynamic sizes are symbols, `get` a setting that is equal in all runs. The settings "geometry"
and "arguments" are tuples of the op's arguments in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.onnx.dims import is_fixed, same_size
from ranvier.onnx.registry import writes
from ranvier.onnx.traced_call import Array, TracedCall


@writes("Linear")
def linear(call: TracedCall) -> str:
    x, weight, bias = call.inputs()
    if call.ndim() == 2:
        return call.node("Gemm", x, weight, bias, transB=1)
    y: str = call.node("MatMul", x, call.node("Transpose", weight, perm=[1, 0]))
    if bias:
        return call.node("Add", y, bias)
    return y


def _sizes(value: int | tuple[int, ...] | list[int], axes: int) -> list[int]:
    """A setting as a number for each axis of the image."""
    if isinstance(value, (tuple, list)):
        sizes = [int(n) for n in value]
    else:
        sizes = [int(value)]
    if len(sizes) == 1:
        return sizes * axes
    return sizes


def _kernel(call: TracedCall) -> list[int]:
    """The sizes of a filter."""
    return [call.size(1, axis) for axis in range(2, call.ndim(1))]


def _batched(call: TracedCall, dimensions: int, write: Callable[[str], str]) -> str:
    """The name of write(x). An input without the batch axis, which has one dimension less, gets this axis."""
    x = call.input(0)
    if call.ndim() == dimensions:
        return write(x)
    zero = call.graph.ints(0)
    return call.node("Squeeze", write(call.node("Unsqueeze", x, zero)), zero)


@writes("Conv1d", "Conv2d")
def conv(call: TracedCall) -> str:
    axes = int(call.kind[-2])
    stride, padding, dilation, groups = call.get("geometry")
    kernel = _kernel(call)
    settings: dict[str, Any] = {"strides": _sizes(stride, axes), "dilations": _sizes(dilation, axes)}
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(settings["dilations"], kernel, strict=True)]
        settings["pads"] = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    else:
        before = 0 if padding == "valid" else padding
        settings["pads"] = _sizes(before, axes) * 2  # the same after the image
    return _convolved(call, "Conv", axes, groups, settings)


def _convolved(call: TracedCall, op: str, axes: int, groups: int, settings: dict[str, Any]) -> str:
    settings |= {"group": int(groups), "kernel_shape": _kernel(call)}

    def convolved(x: str) -> str:
        return call.node(op, x, call.input(1), call.input(2), **settings)

    return _batched(call, axes + 2, convolved)


@writes("ConvTranspose1d", "ConvTranspose2d")
def conv_transpose(call: TracedCall) -> str:
    axes = int(call.kind[-2])
    stride, padding, output_padding, groups, dilation = call.get("geometry")
    settings: dict[str, Any] = {"strides": _sizes(stride, axes), "pads": _sizes(padding, axes) * 2}
    settings |= {"output_padding": _sizes(output_padding, axes), "dilations": _sizes(dilation, axes)}
    return _convolved(call, "ConvTranspose", axes, groups, settings)


@writes("MaxPool1d", "MaxPool2d")
def max_pool(call: TracedCall) -> str:
    if call.get("return_indices"):
        raise call.refuse("return_indices has no counterpart: ONNX counts places in the whole batch")
    axes = int(call.kind[-2])
    kernel, stride, padding, dilation, ceil = call.get("arguments")
    settings: dict[str, Any] = {"pads": _sizes(padding, axes) * 2, "dilations": _sizes(dilation, axes)}
    settings["ceil_mode"] = int(bool(ceil))
    return _pooled(call, "MaxPool", axes, kernel, stride, settings)


@writes("AvgPool1d", "AvgPool2d")
def avg_pool(call: TracedCall) -> str:
    axes = int(call.kind[-2])
    kernel, stride, padding, ceil, include, *divisor = call.get("arguments")
    if any(d is not None for d in divisor):
        raise call.refuse("divisor_override has no counterpart", "multiply the result of avg_pool2d")
    settings: dict[str, Any] = {"pads": _sizes(padding, axes) * 2, "ceil_mode": int(bool(ceil))}
    settings["count_include_pad"] = int(bool(include))
    return _pooled(call, "AveragePool", axes, kernel, stride, settings)


def _pooled(call: TracedCall, op: str, axes: int, kernel: Any, stride: Any, settings: dict[str, Any]) -> str:
    shape = _sizes(kernel, axes)
    strides = shape if stride is None else _sizes(stride, axes)
    if settings["ceil_mode"]:
        settings |= _without_late_windows(call, shape, strides, settings)
    return _batched(call, axes + 2, partial(call.node, op, kernel_shape=shape, strides=strides, **settings))


def _without_late_windows(
    call: TracedCall, kernel: list[int], strides: list[int], settings: dict[str, Any]
) -> dict[str, Any]:
    """Settings that replace ceil_mode where ONNX would have more windows than the library; else {}.

    They need sizes of the image that are equal in all runs: for several sizes {} leaves ceil_mode to ONNX.

    Up to version 21 of the operator set, ONNX also counts a last window that begins in the padding after the
    image. Pads after the image that end with the library's last window, without ceil_mode, give the same
    result.
    """
    axes = len(kernel)
    starts = settings["pads"][:axes]
    dilations = settings.get("dilations", [1] * axes)
    ins = call.dims(0)[-axes:]
    outs = call.result_dims()[-axes:]
    if not is_fixed(ins):
        return {}
    ends = []
    late = False
    for n, out, k, step, dilation, start in zip(ins, outs, kernel, strides, dilations, starts, strict=True):
        reach = (k - 1) * dilation + 1  # the elements from the first to the last of a window
        # The library has fewer windows than ONNX counts.
        late |= out < -(-(n + 2 * start - reach) // step) + 1
        ends.append(max(0, (out - 1) * step + reach - n - start))
    # With count_include_pad the divisor counts pads; but of a window that goes beyond the padding (e > p) the
    # library does not count what lies beyond. Such windows cannot be written by larger pads.
    if late and settings.get("count_include_pad") and any(e > p for e, p in zip(ends, starts, strict=True)):
        raise call.refuse(
            "ceil_mode with windows beyond the padding along one axis and none along another has no "
            "counterpart",
            "use count_include_pad=False",
        )
    if late:
        return {"ceil_mode": 0, "pads": [*starts, *ends]}
    return {}


@writes("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d")
def adaptive_pool(call: TracedCall) -> str:
    axes = int(call.kind[-2])
    op = "AveragePool" if "Avg" in call.kind else "MaxPool"
    if op == "MaxPool" and call.get("return_indices"):
        raise call.refuse("return_indices has no counterpart")
    outs: Any = call.result_dims()[-axes:]
    # A global pool fits all sizes of the input; other ways need sizes that do not vary (`size`).
    if is_fixed(outs) and all(n == 1 for n in outs):
        return _batched(call, axes + 2, partial(call.node, f"Global{op}"))
    sizes = [call.size(0, axis) for axis in range(-axes, 0)]
    if all(n % out == 0 for n, out in zip(sizes, outs, strict=True)):
        kernel = [n // out for n, out in zip(sizes, outs, strict=True)]
        return _batched(call, axes + 2, partial(call.node, op, kernel_shape=kernel, strides=kernel))
    if op == "MaxPool":
        raise call.refuse(
            f"windows that divide {sizes} unevenly into {outs} have no counterpart", "use max_pool2d"
        )
    x = call.input(0)
    columns = _means(sizes[-1], outs[-1]).T.astype(call.dtype())
    y = call.node("MatMul", x, call.graph.constant(columns))
    if axes == 1:
        return y
    rows = _means(sizes[0], outs[0]).astype(call.dtype())
    return call.node("MatMul", call.graph.constant(rows), y)


def _means(n: int, out: int) -> Array:
    """(out, n): the share of each element in the mean of each window of an adaptive pool."""
    shares = np.zeros((out, n))
    for o in range(out):
        window = slice(o * n // out, -(-(o + 1) * n // out))
        shares[o, window] = 1 / (window.stop - window.start)
    return shares


@writes("GridSample")
def grid_sample(call: TracedCall) -> str:
    mode, padding, corners, in_pixels = call.get("settings")
    least = 16 if call.ndim() == 4 else 20
    if in_pixels or call.graph.opset < least:
        raise call.refuse("needs a later version of the operator set", f"pass opset_version={least}")
    if call.graph.opset >= 20:  # other names
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return call.node(
        "GridSample", *call.inputs(), mode=mode, padding_mode=padding, align_corners=int(corners)
    )


# --- norms
def _filled(call: TracedCall, i: int, count: int, value: float) -> str:
    """An operand, or a constant vector where it is left out."""
    if call.has(i):
        return call.input(i)
    return call.graph.constant(np.full(count, value, call.dtype()))


@writes("BatchNorm")
def batch_norm(call: TracedCall) -> str:
    # The setting "running" is mean, variance and count of batches: None without running statistics.
    if call.get("training") or call.calls[0].settings["running"][0] is None:
        raise call.refuse("batch statistics have no counterpart", "use a layer with running statistics")
    channels = call.size(0, 1)
    operands = [_filled(call, 1, channels, 1), _filled(call, 2, channels, 0)]
    operands += [call.setting("running", i) for i in (0, 1)]
    # None, for means over all batches, has no counterpart; the file gets a layer's default, for training
    momentum = 0.1 if call.get("momentum") is None else call.get("momentum")
    how: Any = {"epsilon": float(call.get("eps")), "momentum": 1.0 - momentum}
    return call.node("BatchNormalization", call.input(0), *operands, **how)


@writes("GroupNorm")
def group_norm(call: TracedCall) -> str:
    # The setting "part" of GroupNorm is the number of groups, that of LayerNorm the sizes of the last axes.
    groups = call.get("part")
    channels = call.size(0, 1)
    eps = float(call.get("eps"))
    if groups == channels and call.ndim() > 2:
        scale = _filled(call, 1, channels, 1)
        bias = _filled(call, 2, channels, 0)
        return call.node("InstanceNormalization", call.input(0), scale, bias, epsilon=eps)
    if any(same_size(n, 0) for n in call.dims(0)):  # a reshape to -1 would divide by 0
        return call.node("Identity", call.input(0))
    ones = call.graph.constant(np.full(groups, 1, call.dtype()))
    zeros = call.graph.constant(np.full(groups, 0, call.dtype()))
    grouped = call.graph.reshape(call.input(0), 0, groups, -1)
    y = call.node("InstanceNormalization", grouped, ones, zeros, epsilon=eps)
    y = call.node("Reshape", y, call.node("Shape", call.input(0)))
    for i, op in ((1, "Mul"), (2, "Add")):
        if call.has(i):
            y = call.node(op, y, call.graph.reshape(call.input(i), -1, *(1,) * (call.ndim() - 2)))
    return y


@writes("LayerNorm")
def layer_norm(call: TracedCall) -> str:
    inner = tuple(call.get("part"))
    if call.has(1):
        scale = call.input(1)
    else:
        scale = call.graph.constant(np.ones(inner, call.dtype()))
    settings: Any = {"axis": -len(inner), "epsilon": float(call.get("eps"))}
    return call.node("LayerNormalization", call.input(0), scale, call.input(2), **settings)


# --- recurrent
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""For each gate in ONNX's order (LSTM iofc, GRU zrh) its place in the kernel's order (ifgo, rzn)."""


@writes("Recurrent")
def recurrent(call: TracedCall) -> Any:
    """The names of the outputs of all steps and of the last states."""
    w = call.graph
    cell = call.get("cell")
    if call.calls[0].settings["sizes"] is not None:
        raise call.refuse("packed sequences have no counterpart", "pass padded sequences")
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = call.inputs()
    hidden = call.size(4, 1)  # of w_hh (gates, hidden)
    zero = w.ints(0)

    def ordered(name: str) -> str:
        """A matrix or bias with the rows of its gates in ONNX's order."""
        order = _ORDER.get(cell)
        if order is None or not name:
            return name
        rows = np.concatenate([np.arange(hidden) + i * hidden for i in order])
        return w.node("Gather", name, w.constant(rows.astype(np.int64)), axis=0)

    biases = [ordered(b) for b in (b_ih, b_hh) if b]
    if biases:
        bias = w.node("Unsqueeze", w.node("Concat", *biases, axis=0), zero)
    else:
        bias = ""
    matrices = [w.node("Unsqueeze", ordered(m), zero) for m in (w_ih, w_hh)]
    states = []
    for state in (h0, c0):
        if state:
            state = w.node("Unsqueeze", state, zero)
        states.append(state)
    op = "RNN" if cell.startswith("rnn") else cell.upper()
    settings: dict[str, Any] = {"hidden_size": hidden}
    settings["direction"] = "reverse" if call.get("reverse") else "forward"
    if op == "RNN":
        activation = "Relu" if cell.endswith("relu") else "Tanh"
        settings["activations"] = [activation]
    elif op == "GRU":
        settings["linear_before_reset"] = 1
    count = 3 if op == "LSTM" else 2
    y, *last = w.node(op, x, *matrices, bias, "", *states[: count - 1], outputs=count, **settings)
    return (w.node("Squeeze", y, w.ints(1)), *(w.node("Squeeze", state, zero) for state in last))
