"""References of the core's convolutions, pools, attention and norms: more of ``core_references``."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from reference import attention, conv2d, conv2d_pool, conv_transpose, interpolate, norm, pad, pooling
from support.core_references import Changed, add, of_activation

Array = np.ndarray[Any, Any]


def pair(value: Any, before: int) -> Any:
    """A setting for both axes; of a signal, `before` along the first."""
    if isinstance(value, str):
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values if len(values) == 2 else (values[0], values[0]) if before < 0 else (before, values[0])


def as_image(x: Any) -> Any:
    return x[:, :, None] if isinstance(x, np.ndarray) and x.ndim == 3 else x


def as_signal(y: Any, axes: int) -> Any:
    if isinstance(y, tuple):
        return tuple(as_signal(part, axes) for part in y)
    return y[:, :, 0] if axes == 1 and y is not None and y.ndim == 4 else y


def needed(c: Any, gradients: Any, *names: str) -> tuple[Any, ...]:
    return tuple(g if c[name] else None for g, name in zip(gradients, names, strict=True))


# --- convolutions and pools; of signals as images of one row
_SETTINGS = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0, "window": 1, "kernel_size": 1}


def _of_images(c: dict[str, Any], axes: int) -> dict[str, Any]:
    wide = {
        name: pair(v, _SETTINGS[name] if axes == 1 else -1) if name in _SETTINGS else v
        for name, v in c.items()
    }
    if "stride" in c and c["stride"] is None:
        wide["stride"] = wide["kernel_size"]
    if axes == 2:
        return wide
    for name in {"x", "w", "dy", "where", "saved"} & wide.keys():
        wide[name] = as_image(wide[name])
    if isinstance(wide.get("padding"), str):
        taps = wide["dilation"][1] * (wide["w"].shape[3] - 1) if wide["padding"] == "same" else 0
        assert taps % 2 == 0, "more padding after a signal than before"
        wide["padding"] = 0, taps // 2
    return wide


_NEEDS = ("need_dx", "need_dw", "need_db")


def _conv(axes: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(**c: Any) -> Any:
        c = _of_images(c, axes)
        return as_signal(of_activation(conv2d.conv2d(**_without(c, "activation")), c["activation"]), axes)

    def backward(**c: Any) -> Any:
        c = _of_images(c, axes)
        return needed(c, as_signal(conv2d.conv2d_backward(**_without(c, *_NEEDS)), axes), *_NEEDS)

    return forward, backward


def _transposed(axes: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(**c: Any) -> Any:
        return as_signal(conv_transpose.conv_transpose2d(**_of_images(c, axes)), axes)

    def backward(**c: Any) -> Any:
        c = _of_images(c, axes)
        return needed(
            c, as_signal(conv_transpose.conv_transpose2d_backward(**_without(c, *_NEEDS)), axes), *_NEEDS
        )

    return forward, backward


def _without(c: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in c.items() if name not in names}


def _pool_backward(axes: int) -> Callable[..., Any]:
    def backward(**c: Any) -> Any:
        c = _of_images(c, axes)
        found = conv2d_pool.conv2d_pool_backward(**_without(c, *_NEEDS))
        return needed(c, as_signal(found, axes), *_NEEDS)

    return backward


def _taps_of_filter(c: Any) -> int:
    """Longer than any sum of a convolution: of outputs, of the gradients of images and of filters."""
    grid = c.get("dy", c["x"])
    return int(c["w"].size + grid.shape[0] * math.prod(max(grid.shape[2:], c["x"].shape[2:])) + 1)


def _pool_taps(c: Any, size: Any) -> tuple[Any, Any]:
    settings = (c["kernel_size"], c["stride"], c["padding"], c.get("dilation", (1, 1)))
    rows, columns = (
        pooling.taps(n, *(setting[i] for setting in settings), c["ceil_mode"]) for i, n in enumerate(size)
    )
    return rows, columns


def _divisors(c: Any, size: Any) -> Array:
    settings = c["kernel_size"], c["stride"], c["padding"]
    counts = [
        pooling.divisors(n, *(setting[i] for setting in settings), c["ceil_mode"], c["count_include_pad"])
        for i, n in enumerate(size)
    ]
    product = np.outer(*counts)
    return np.full_like(product, c["divisor_override"]) if c.get("divisor_override") else product


def _pools(axes: int) -> dict[str, Callable[..., Any]]:
    def size_of(c: Any) -> Any:
        return (1, c["shape"][2]) if axes == 1 else tuple(c["shape"][2:])

    def shape_of(c: Any) -> Any:
        return (*c["shape"][:2], *size_of(c))

    def maximum(**c: Any) -> Any:
        assert not c["return_indices"], "indices of a max pooling"
        c = _of_images(c, axes)
        return as_signal(
            pooling.max_pool2d(c["x"], *_pool_taps(c, c["x"].shape[2:]), c["kernel_size"][1]), axes
        )

    def maximum_backward(**c: Any) -> Any:
        c = _of_images(c, axes)
        found = pooling.max_pool2d_backward(
            c["dy"], c["where"], shape_of(c), *_pool_taps(c, size_of(c)), c["kernel_size"][1]
        )
        return as_signal(found, axes)

    def mean(**c: Any) -> Any:
        c = _of_images(c, axes)
        size = c["x"].shape[2:]
        return as_signal(pooling.avg_pool2d(c["x"], *_pool_taps(c, size), _divisors(c, size)), axes)

    def mean_backward(**c: Any) -> Any:
        c = _of_images(c, axes)
        size = size_of(c)
        found = pooling.avg_pool2d_backward(c["dy"], shape_of(c), *_pool_taps(c, size), _divisors(c, size))
        return as_signal(found, axes)

    def outputs(c: Any) -> Any:
        given = pair(c["output_size"], 1 if axes == 1 else -1)
        return [n if n is not None else c["x"].shape[2 + i] for i, n in enumerate(given)]

    def adaptive(function: Any) -> Any:
        return lambda **c: as_signal(function(as_image(c["x"]), *outputs({**c, "x": as_image(c["x"])})), axes)

    def adaptive_maximum_backward(**c: Any) -> Any:
        found = pooling.adaptive_max_pool2d_backward(as_image(c["dy"]), as_image(c["where"]), shape_of(c))
        return as_signal(found, axes)

    return {
        "max_pool": maximum,
        "max_pool_backward": maximum_backward,
        "avg_pool": mean,
        "avg_pool_backward": mean_backward,
        "adaptive_max_pool": adaptive(pooling.adaptive_max_pool2d),
        "adaptive_max_pool_backward": adaptive_maximum_backward,
        "adaptive_avg_pool": adaptive(pooling.adaptive_avg_pool2d),
        "adaptive_avg_pool_backward": lambda **c: as_signal(
            pooling.adaptive_avg_pool2d_backward(as_image(c["dy"]), shape_of(c)), axes
        ),
    }


def _windows(c: Any) -> int:
    """Elements of an image: no window is larger, and no more windows overlap."""
    return int(math.prod(c["x"].shape[2:] if "x" in c else c["shape"][2:]) + 1)


for _axes in (1, 2):
    for _name, _function in zip(("", "_backward"), _conv(_axes), strict=True):
        add(f"conv{_axes}d{_name}", _function, _taps_of_filter, 2)
    for _name, _function in zip(("", "_backward"), _transposed(_axes), strict=True):
        add(f"conv_transpose{_axes}d{_name}", _function, _taps_of_filter, 2)
    add(f"conv{_axes}d_pool_backward", _pool_backward(_axes), _taps_of_filter, 2)
    for _name, _function in _pools(_axes).items():
        _base, _, _back = _name.partition("_backward")
        add(f"{_base}{_axes}d" + ("_backward" if _name.endswith("_backward") else ""), _function, _windows)


def _matrices(c: Any, sizes: Any) -> Any:
    axes = len(sizes)
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(c["mode"], c["mode"])
    factors, outs = (
        list(v) if isinstance(v, (tuple, list)) else [v] * axes
        for v in (c["scale_factor"], c["dy"].shape[2:] if "dy" in c else c["size"])
    )
    found = []
    for n, out, factor in zip(sizes, outs, factors, strict=True):
        out = int(n * factor) if out is None else out
        scale = None if factor is None else 1 / factor
        found.append(interpolate.weights(n, out, mode, scale, c["align_corners"]))
    return [np.eye(1), *found] if axes == 1 else found


def _interpolate(**c: Any) -> Any:
    axes = c["x"].ndim - 2
    return as_signal(interpolate.interpolate(as_image(c["x"]), *_matrices(c, c["x"].shape[2:])), axes)


def _interpolate_backward(**c: Any) -> Any:
    axes, matrices = c["dy"].ndim - 2, _matrices(c, c["shape"][2:])
    return as_signal(interpolate.interpolate_backward(as_image(c["dy"]), *matrices), axes)


def _pad_backward(dy: Array, pad: Any, mode: str) -> Array:
    grown = [0] * dy.ndim
    for k in range(len(pad) // 2):
        grown[dy.ndim - 1 - k] = pad[2 * k] + pad[2 * k + 1]
    return _pad.pad_backward(dy, tuple(n - g for n, g in zip(dy.shape, grown, strict=True)), pad, mode)


_pad = pad
add("interpolate", _interpolate, 20)
add("interpolate_backward", _interpolate_backward, lambda c: math.prod(c["dy"].shape[2:]) + 4)
add("pad", lambda x, pad, mode, value: _pad.pad(x, pad, mode, value), None)
add("pad_backward", _pad_backward, 16)


# --- attention: weights are in memory as (..., S, L)
def _attention(**c: Any) -> Any:
    q, k, v = c["q"], c["k"], c["v"]
    scores = c["scale"] * np.matmul(q, np.swapaxes(k, -1, -2))
    if c["is_causal"]:
        scores = scores + attention.causal_mask(q.shape[-2] + c["first"], k.shape[-2])[c["first"] :]
    for mask in (c["mask"], c["padding"]):
        if mask is not None and mask.dtype == bool:
            scores = np.where(~mask if c["hides"] else mask, scores, -np.inf)
        elif mask is not None:
            scores = scores + mask
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = e.sum(-1, keepdims=True)
    weights = e / np.where(total == 0, 1, total)
    return None if v is None else np.matmul(weights, v), np.swapaxes(weights, -1, -2) if c["keep"] else None


def _attention_backward(**c: Any) -> Any:
    weights, changed = np.swapaxes(c["weights"], -1, -2), {}
    dw = np.matmul(c["dy"], np.swapaxes(c["v"], -1, -2))
    dscores = c["scale"] * weights * (dw - (dw * weights).sum(-1, keepdims=True))
    found = {
        "dq": np.matmul(dscores, c["k"]),
        "dk": np.matmul(np.swapaxes(dscores, -1, -2), c["q"]),
        "dv": np.matmul(np.swapaxes(weights, -1, -2), c["dy"]),
    }
    for name, gradient in found.items():
        if c[name] is not None:
            changed[name] = gradient + (c[name] if c["adds"] and name != "dq" else 0)
    return Changed(None, changed)


def _attention_cached(**c: Any) -> Any:
    """Keys are in memory as (n, heads, e, room). Sequence by sequence."""
    q, k, v, lengths = (c[name] for name in ("q", "k", "v", "lengths"))
    keys, values, y = c["keys"].copy(), c["values"].copy(), np.empty((*q.shape[:3], v.shape[3]))
    for i, first in enumerate(lengths):
        end = first + q.shape[2]
        keys[i, :, :, first:end], values[i, :, first:end] = np.swapaxes(k[i], -1, -2), v[i]
        mask = attention.causal_mask(end, end)[first:]
        y[i] = attention.attention(
            q[i], np.swapaxes(keys[i, :, :, :end], -1, -2), values[i, :, :end], mask, c["scale"]
        )
    return Changed(y, {"keys": keys, "values": values, "lengths": lengths + c["advance"] * q.shape[2]})


add("attention_cached", _attention_cached, lambda c: c["q"].shape[-1] + c["max_length"] + 8, 2)
add("cache_positions", lambda lengths, count, max_length: lengths[:, None] + np.arange(count), None)
add("attention", _attention, lambda c: c["q"].shape[-1] + sum(c["k"].shape[-2:]) + 8, 2)
add("attention_backward", _attention_backward, lambda c: 8 * sum((*c["q"].shape[-2:], *c["k"].shape[-2:])), 3)


# --- norms: statistics are float64
def _statistics(x: Array, axes: Any, eps: float) -> tuple[Array, Array]:
    return x.mean(axes, keepdims=True), 1 / np.sqrt(x.var(axes, keepdims=True) + eps)


def _batch_norm(**c: Any) -> Any:
    x, axes, changed = c["x"], norm.over_channels(c["x"]), {}
    if not c["training"]:
        mean, rstd = c["running_mean"], 1 / np.sqrt(c["running_var"] + c["eps"])
        y = norm.batch_norm_eval(x, c["weight"], c["bias"], mean, c["running_var"], c["eps"])
        return y, mean, rstd
    y = norm.batch_norm(x, c["weight"], c["bias"], c["eps"])
    if c["batches"] is not None:
        changed["batches"] = c["batches"] + 1
    if c["running_mean"] is not None:
        momentum = 1 / (c["batches"] + 1) if c["momentum"] is None else c["momentum"]
        running = norm.running(c["running_mean"], c["running_var"], x, momentum)
        changed["running_mean"], changed["running_var"] = running
    mean, rstd = _statistics(x, axes, c["eps"])
    return Changed((y, mean.reshape(-1), rstd.reshape(-1)), changed)


_AFFINE = ("need_dx", "need_dweight", "need_dbias")


def _batch_norm_backward(**c: Any) -> Any:
    """From the statistics that the forward call has saved."""
    x, dy, axes = c["x"], c["dy"], norm.over_channels(c["x"])
    mean, rstd, weight = (norm.of_channels(c[name], x, 1) for name in ("mean", "rstd", "weight"))
    xhat, g = (x - mean) * rstd, dy * weight
    dx = norm.normalized_backward(g, xhat, rstd, axes) if c["training"] else g * rstd
    return needed(c, (dx, (dy * xhat).sum(axes), dy.sum(axes)), *_AFFINE)


def _group_norm(x: Array, num_groups: int, weight: Any, bias: Any, eps: float) -> Any:
    mean, rstd = _statistics(norm.grouped(x, num_groups), (2, 3), eps)
    return norm.group_norm(x, num_groups, weight, bias, eps), mean[:, :, 0, 0], rstd[:, :, 0, 0]


def _group_norm_backward(**c: Any) -> Any:
    x, groups = norm.grouped(c["x"], c["num_groups"]), c["num_groups"]
    mean, rstd = c["mean"][:, :, None, None], c["rstd"][:, :, None, None]
    xhat, axes = (x - mean) * rstd, norm.over_channels(c["x"])
    g = norm.grouped(c["dy"] * norm.of_channels(c["weight"], c["x"], 1), groups)
    dx = norm.normalized_backward(g, xhat, rstd, (2, 3)).reshape(c["x"].shape)
    found = dx, (c["dy"] * xhat.reshape(c["x"].shape)).sum(axes), c["dy"].sum(axes)
    return needed(c, found, *_AFFINE)


def _layer_norm(x: Array, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    count, lead = len(normalized_shape), x.shape[: x.ndim - len(normalized_shape)]
    mean, rstd = _statistics(x, norm.last_axes(x, count), eps)
    return norm.layer_norm(x, count, weight, bias, eps), mean.reshape(lead), rstd.reshape(lead)


def _of_lines(c: Any, mean: Any) -> Any:
    x, count = c["x"], len(c["normalized_shape"])
    lead, axes = tuple(range(x.ndim - count)), norm.last_axes(x, count)
    rstd = c["rstd"].reshape(*x.shape[: x.ndim - count], *[1] * count)
    xhat, g = (x - mean) * rstd, c["dy"] * (1 if c["weight"] is None else c["weight"])
    dx = rstd * (g - xhat * (g * xhat).mean(axes, keepdims=True))
    return dx, rstd * g.mean(axes, keepdims=True), (c["dy"] * xhat).sum(lead), c["dy"].sum(lead)


def _layer_norm_backward(**c: Any) -> Any:
    count = len(c["normalized_shape"])
    dx, of_mean, dweight, dbias = _of_lines(
        c, c["mean"].reshape(*c["x"].shape[: c["x"].ndim - count], *[1] * count)
    )
    return needed(c, (dx - of_mean, dweight, dbias), *_AFFINE)


def _rms_norm(x: Array, normalized_shape: Any, weight: Any, eps: float) -> Any:
    count = len(normalized_shape)
    rstd = 1 / np.sqrt(np.square(x).mean(norm.last_axes(x, count)) + eps)
    return norm.rms_norm(x, count, weight, eps), rstd


def _rms_norm_backward(**c: Any) -> Any:
    dx, _, dweight, _ = _of_lines(c, 0)
    return needed(c, (dx, dweight), *_AFFINE[:2])


for _name, _function in (
    *(("batch_norm", _batch_norm), ("batch_norm_backward", _batch_norm_backward)),
    *(("group_norm", _group_norm), ("group_norm_backward", _group_norm_backward)),
    *(("layer_norm", _layer_norm), ("layer_norm_backward", _layer_norm_backward)),
    *(("rms_norm", _rms_norm), ("rms_norm_backward", _rms_norm_backward)),
):
    add(_name, _function, lambda c: c["x"].size + 4, 3)
