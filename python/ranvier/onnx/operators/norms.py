"""Normalisation and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator
from ranvier.onnx.values import array_of, in_float, raw, shape_of, tensor_of


@operator("BatchNormalization")
def batch_norm(
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    is_test: int = 1,
    spatial: int = 1,
    training: bool = False,
    outputs: int = 1,
    owned: bool = False,
) -> Any:
    """Statistics that are buffers of the module are used and updated as in :class:`ranvier.nn.BatchNorm2d`.

    training_mode, for others: batch statistics; the second and third result are the updated ones.
    """
    if not spatial:
        raise ValueError("[onnx BatchNormalization] got spatial 0; expected 1")
    if training_mode and not owned:
        return _of_batch(x, scale, bias, mean, var, epsilon, momentum)[:outputs]
    if outputs > 1 and owned:
        y = batch_norm(
            x, scale, bias, mean, var, epsilon=epsilon, momentum=momentum, training=training, owned=True
        )
        return (y, *[mean, var, mean, var][: outputs - 1])
    if outputs > 1:
        raise ValueError(f"[onnx BatchNormalization] got {outputs} outputs without training_mode; expected 1")

    def of_tensors(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Any:
        return ops.batch_norm(x, mean, var, scale, bias, training and owned, 1 - momentum, epsilon)

    return in_float(of_tensors, x, scale, bias, mean, var)


def _of_batch(x: Any, scale: Any, bias: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    axes = (0, *range(2, raw(x).ndim))
    found = tensor_of(x)
    means, variances = ops.mean(found, axes, True), ops.var(found, axes, correction=0)
    away = found - means
    rest = ops.mean(away, axes)  # what the rounded mean lacks
    y = ops.batch_norm(away, rest, variances, tensor_of(scale), tensor_of(bias), False, 0.1, eps)
    both = ((mean, means.flatten()), (var, variances))
    updated = [tensor_of(old) * momentum + new * (1 - momentum) for old, new in both]
    return (y, *updated)


@operator("InstanceNormalization")
def instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    return in_float(lambda x, s, b: ops.instance_norm(x, weight=s, bias=b, eps=epsilon), x, scale, bias)


@operator("GroupNormalization", since=21)
def group_norm(
    x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    return in_float(lambda x, s, b: ops.group_norm(x, num_groups, s, b, epsilon), x, scale, bias)


@operator("LayerNormalization")
def layer_norm(
    x: Any,
    scale: Any,
    bias: Any = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Any:
    """Over all axes from this one on; further outputs are the mean and 1 / the standard deviation."""
    shape = shape_of(x)
    at = axis % len(shape)
    inner = shape[at:]

    def of_tensors(x: Tensor, scale: Tensor, bias: Any) -> Any:
        if scale.shape == inner and (bias is None or bias.shape == inner):
            y = ops.layer_norm(x, inner, scale, bias, epsilon)
        else:
            y = ops.layer_norm(x, inner, None, None, epsilon) * scale
            y = y if bias is None else y + bias
        if outputs == 1:
            return y
        axes = tuple(range(at, len(shape)))
        rest = (ops.mean(x, axes, True), 1 / ops.sqrt(ops.var(x, axes, correction=0, keepdim=True) + epsilon))
        return (y, *rest)[:outputs]

    return in_float(of_tensors, x, scale, bias)


@operator("RMSNormalization")
def rms_norm(x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    inner = shape_of(x)[axis % raw(x).ndim :]

    def of_tensors(x: Tensor, scale: Tensor) -> Any:
        if scale.shape == inner:
            return ops.rms_norm(x, inner, scale, epsilon)
        return ops.rms_norm(x, inner, None, epsilon) * scale

    return in_float(of_tensors, x, scale)


@operator("LRN")
def local_response_norm(
    x: Any, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Any:
    """x / (bias + alpha / size * the sum of squares of `size` channels around)^beta"""
    before = (size - 1) // 2

    def of_tensors(x: Tensor) -> Any:
        channels = x.shape[1]
        around = (*(0, 0) * (x.ndim - 2), before, size - 1 - before)
        squares = ops.pad(x * x, around)
        total = sum(ops.narrow(squares, 1, i, channels) for i in range(size))
        return x / ops.pow(total * (alpha / size) + bias, beta)

    return in_float(of_tensors, x)


@operator("MeanVarianceNormalization")
def mean_variance_norm(x: Any, *, axes: Any = (0, 2, 3)) -> Any:
    def of_tensors(x: Tensor) -> Any:
        centred = x - ops.mean(x, tuple(axes), True)
        centred = centred - ops.mean(centred, tuple(axes), True)  # what the rounded mean lacks
        return centred / (ops.sqrt(ops.mean(centred * centred, tuple(axes), True)) + 1e-9)

    return in_float(of_tensors, x)


@operator("Dropout")
def dropout_by_attribute(
    x: Any, *, ratio: float = 0.5, is_test: int = 0, training: bool = False, outputs: int = 1
) -> Any:
    return _dropped(x, ratio, training, outputs)


@operator("Dropout", since=12)
def dropout(
    x: Any,
    ratio: Any = None,
    training_mode: Any = None,
    *,
    seed: int = 0,
    training: bool = False,
    outputs: int = 1,
) -> Any:
    """Active while the module trains. seed is not used: the numbers come from ranvier's generator."""
    p = 0.5 if ratio is None else float(array_of(ratio).reshape(()))
    return _dropped(x, p, training, outputs)


def _dropped(x: Any, p: float, training: bool, outputs: int) -> Any:
    if not training or p == 0:
        return x if outputs == 1 else (x, np.ones(shape_of(x), np.bool_))
    if outputs > 1:
        raise ValueError("[onnx Dropout] got two outputs in training; expected one")
    if not math.isfinite(p) or not 0 <= p <= 1:
        raise ValueError(f"[onnx Dropout] got ratio {p}; expected a probability")
    return in_float(lambda x: ops.dropout(x, p, True), x)
