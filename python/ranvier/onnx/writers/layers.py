"""Writes linear layers, convolutions, pooling, norms and recurrent layers.

A writer gets a `site.Site` (s), which is one call of a Function in the model, adds nodes, and returns the
result's name, or a tuple of names if the Function has several results. The model is traced in several runs
with other values and other sizes of its dynamic axes; a Site has this call in each run. `dims` and
`result_dims` give shapes in which dynamic sizes are symbols, `get` a setting that is equal in all runs.
The settings "geometry" and "arguments" are tuples of the op's arguments in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.onnx.dims import is_fixed, same_size
from ranvier.onnx.registry import writes
from ranvier.onnx.site import Array, Site


@writes("Linear")
def linear(s: Site) -> str:
    x, weight, bias = s.inputs()
    if s.ndim() == 2:
        return s.node("Gemm", x, weight, bias, transB=1)
    y: str = s.node("MatMul", x, s.node("Transpose", weight, perm=[1, 0]))
    if bias:
        return s.node("Add", y, bias)
    return y


def _sizes(value: Any, axes: int) -> list[int]:
    """A setting as a number for each axis of the image."""
    if isinstance(value, (tuple, list)):
        sizes = [int(n) for n in value]
    else:
        sizes = [int(value)]
    if len(sizes) == 1:
        return sizes * axes
    return sizes


def _kernel(s: Site) -> list[int]:
    """The sizes of a filter."""
    return [s.size(1, axis) for axis in range(2, s.ndim(1))]


def _batched(s: Site, dimensions: int, write: Callable[[str], str]) -> str:
    """The name of write(x). An input without the batch axis, which has one dimension less, gets this axis."""
    x = s.input(0)
    if s.ndim() == dimensions:
        return write(x)
    zero = s.w.ints(0)
    return s.node("Squeeze", write(s.node("Unsqueeze", x, zero)), zero)


@writes("Conv1d", "Conv2d")
def conv(s: Site) -> str:
    axes = int(s.kind[-2])
    stride, padding, dilation, groups = s.get("geometry")
    kernel = _kernel(s)
    settings: dict[str, Any] = {"strides": _sizes(stride, axes), "dilations": _sizes(dilation, axes)}
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(settings["dilations"], kernel, strict=True)]
        settings["pads"] = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    else:
        settings["pads"] = _sizes(0 if padding == "valid" else padding, axes) * 2
    return _convolved(s, "Conv", axes, groups, settings)


def _convolved(s: Site, op: str, axes: int, groups: Any, settings: dict[str, Any]) -> str:
    settings |= {"group": int(groups), "kernel_shape": _kernel(s)}

    def convolved(x: str) -> str:
        return s.node(op, x, s.input(1), s.input(2), **settings)

    return _batched(s, axes + 2, convolved)


@writes("ConvTranspose1d", "ConvTranspose2d")
def conv_transpose(s: Site) -> str:
    axes = int(s.kind[-2])
    stride, padding, output_padding, groups, dilation = s.get("geometry")
    settings: dict[str, Any] = {"strides": _sizes(stride, axes), "pads": _sizes(padding, axes) * 2}
    settings |= {"output_padding": _sizes(output_padding, axes), "dilations": _sizes(dilation, axes)}
    return _convolved(s, "ConvTranspose", axes, groups, settings)


@writes("MaxPool1d", "MaxPool2d")
def max_pool(s: Site) -> str:
    if s.get("return_indices"):
        raise s.refuse("return_indices has no counterpart: ONNX counts places in the whole batch")
    axes = int(s.kind[-2])
    kernel, stride, padding, dilation, ceil = s.get("arguments")
    settings: dict[str, Any] = {"pads": _sizes(padding, axes) * 2, "dilations": _sizes(dilation, axes)}
    settings["ceil_mode"] = int(bool(ceil))
    return _pooled(s, "MaxPool", axes, kernel, stride, settings)


@writes("AvgPool1d", "AvgPool2d")
def avg_pool(s: Site) -> str:
    axes = int(s.kind[-2])
    kernel, stride, padding, ceil, include, *divisor = s.get("arguments")
    if any(d is not None for d in divisor):
        raise s.refuse("divisor_override has no counterpart", "multiply the result of avg_pool2d")
    settings: dict[str, Any] = {"pads": _sizes(padding, axes) * 2, "ceil_mode": int(bool(ceil))}
    settings["count_include_pad"] = int(bool(include))
    return _pooled(s, "AveragePool", axes, kernel, stride, settings)


def _pooled(s: Site, op: str, axes: int, kernel: Any, stride: Any, settings: dict[str, Any]) -> str:
    shape = _sizes(kernel, axes)
    strides = shape if stride is None else _sizes(stride, axes)
    if settings["ceil_mode"]:
        settings |= _without_late_windows(s, shape, strides, settings)
    return _batched(s, axes + 2, partial(s.node, op, kernel_shape=shape, strides=strides, **settings))


def _without_late_windows(
    s: Site, kernel: list[int], strides: list[int], settings: dict[str, Any]
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
    ins = s.dims(0)[-axes:]
    outs = s.result_dims()[-axes:]
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
        raise s.refuse(
            "ceil_mode with windows beyond the padding along one axis and none along another has no "
            "counterpart",
            "use count_include_pad=False",
        )
    if late:
        return {"ceil_mode": 0, "pads": [*starts, *ends]}
    return {}


@writes("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d")
def adaptive_pool(s: Site) -> str:
    axes = int(s.kind[-2])
    op = "AveragePool" if "Avg" in s.kind else "MaxPool"
    if op == "MaxPool" and s.get("return_indices"):
        raise s.refuse("return_indices has no counterpart")
    outs: Any = s.result_dims()[-axes:]
    # A global pool fits all sizes of the input; other ways need sizes that do not vary (`size`).
    if is_fixed(outs) and all(n == 1 for n in outs):
        return _batched(s, axes + 2, partial(s.node, f"Global{op}"))
    sizes = [s.size(0, axis) for axis in range(-axes, 0)]
    if all(n % out == 0 for n, out in zip(sizes, outs, strict=True)):
        kernel = [n // out for n, out in zip(sizes, outs, strict=True)]
        return _batched(s, axes + 2, partial(s.node, op, kernel_shape=kernel, strides=kernel))
    if op == "MaxPool":
        raise s.refuse(
            f"windows that divide {sizes} unevenly into {outs} have no counterpart", "use max_pool2d"
        )
    x = s.input(0)
    columns = _means(sizes[-1], outs[-1]).T.astype(s.dtype())
    y = s.node("MatMul", x, s.w.constant(columns))
    if axes == 1:
        return y
    rows = _means(sizes[0], outs[0]).astype(s.dtype())
    return s.node("MatMul", s.w.constant(rows), y)


def _means(n: int, out: int) -> Array:
    """(out, n): the share of each element in the mean of each window of an adaptive pool."""
    shares = np.zeros((out, n))
    for o in range(out):
        window = slice(o * n // out, -(-(o + 1) * n // out))
        shares[o, window] = 1 / (window.stop - window.start)
    return shares


@writes("GridSample")
def grid_sample(s: Site) -> str:
    mode, padding, corners, in_pixels = s.get("settings")
    least = 16 if s.ndim() == 4 else 20
    if in_pixels or s.w.opset < least:
        raise s.refuse("needs a later version of the operator set", f"pass opset_version={least}")
    if s.w.opset >= 20:  # other names
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return s.node("GridSample", *s.inputs(), mode=mode, padding_mode=padding, align_corners=int(corners))


# --- norms
def _filled(s: Site, i: int, count: int, value: float) -> str:
    """An operand, or a constant vector where it is left out."""
    if s.has(i):
        return s.input(i)
    return s.w.constant(np.full(count, value, s.dtype()))


@writes("BatchNorm")
def batch_norm(s: Site) -> str:
    # The setting "running" is mean, variance and count of batches: None without running statistics.
    if s.get("training") or s.calls[0].settings["running"][0] is None:
        raise s.refuse("batch statistics have no counterpart", "use a layer with running statistics")
    channels = s.size(0, 1)
    operands = [_filled(s, 1, channels, 1), _filled(s, 2, channels, 0)]
    operands += [s.setting("running", i) for i in (0, 1)]
    momentum = 0.1 if s.get("momentum") is None else s.get("momentum")
    how: Any = {"epsilon": float(s.get("eps")), "momentum": 1.0 - momentum}
    return s.node("BatchNormalization", s.input(0), *operands, **how)


@writes("GroupNorm")
def group_norm(s: Site) -> str:
    # The setting "part" of GroupNorm is the number of groups, that of LayerNorm the sizes of the last axes.
    groups = s.get("part")
    channels = s.size(0, 1)
    eps = float(s.get("eps"))
    if groups == channels and s.ndim() > 2:
        scale = _filled(s, 1, channels, 1)
        bias = _filled(s, 2, channels, 0)
        return s.node("InstanceNormalization", s.input(0), scale, bias, epsilon=eps)
    if any(same_size(n, 0) for n in s.dims(0)):  # a reshape to -1 would divide by 0
        return s.node("Identity", s.input(0))
    ones = s.w.constant(np.full(groups, 1, s.dtype()))
    zeros = s.w.constant(np.full(groups, 0, s.dtype()))
    grouped = s.w.reshape(s.input(0), 0, groups, -1)
    y = s.node("InstanceNormalization", grouped, ones, zeros, epsilon=eps)
    y = s.node("Reshape", y, s.node("Shape", s.input(0)))
    for i, op in ((1, "Mul"), (2, "Add")):
        if s.has(i):
            y = s.node(op, y, s.w.reshape(s.input(i), -1, *(1,) * (s.ndim() - 2)))
    return y


@writes("LayerNorm")
def layer_norm(s: Site) -> str:
    inner = tuple(s.get("part"))
    if s.has(1):
        scale = s.input(1)
    else:
        scale = s.w.constant(np.ones(inner, s.dtype()))
    settings: Any = {"axis": -len(inner), "epsilon": float(s.get("eps"))}
    return s.node("LayerNormalization", s.input(0), scale, s.input(2), **settings)


# --- recurrent
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""For each gate in ONNX's order (LSTM iofc, GRU zrh) its place in the kernel's order (ifgo, rzn)."""


@writes("Recurrent")
def recurrent(s: Site) -> Any:
    """The names of the outputs of all steps and of the last states."""
    w = s.w
    cell = s.get("cell")
    if s.calls[0].settings["sizes"] is not None:
        raise s.refuse("packed sequences have no counterpart", "pass padded sequences")
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = s.inputs()
    hidden = s.size(4, 1)
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
    states = [w.node("Unsqueeze", state, zero) if state else "" for state in (h0, c0)]
    op = "RNN" if cell.startswith("rnn") else cell.upper()
    settings: dict[str, Any] = {"hidden_size": hidden}
    settings["direction"] = "reverse" if s.get("reverse") else "forward"
    if op == "RNN":
        settings["activations"] = ["Relu" if cell.endswith("relu") else "Tanh"]
    elif op == "GRU":
        settings["linear_before_reset"] = 1
    count = 3 if op == "LSTM" else 2
    y, *last = w.node(op, x, *matrices, bias, "", *states[: count - 1], outputs=count, **settings)
    return (w.node("Squeeze", y, w.ints(1)), *(w.node("Squeeze", state, zero) for state in last))
