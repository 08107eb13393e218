"""Normalisation: batch norm, group norm, instance norm, layer norm and RMS norm.

    y = (x - mean) rstd weight + bias,   rstd = 1 / sqrt(var + eps),   var the mean of (x - mean)^2

They differ in the axes of the mean. x is of floats, weight and bias of its dtype, or of float32 beside half
floats, or None; the result has x's memory order. Statistics are float64, which keeps the accuracy of data
far from 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import no_grad
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.elementwise.functions import pow
from ranvier.ops.reduction.reduce import mean
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.reduction.variance import var
from ranvier.ops.rows import examples
from ranvier.ops.shape.reshape import reshape
from ranvier.ops.slopes import KERNELS, TENSORS, written_once
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.memory import HALVES, cast
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump


@written_once(x=0, weight=1)
class BatchNorm(Function):
    dtypes = Dtypes(beside=1)

    def __init__(self, running: tuple[Any, Any, Any], training: bool, momentum: Any, eps: float) -> None:
        self.running = running  # mean, var, number of batches: changed by forward, not needed by backward
        self.training, self.momentum, self.eps = training, momentum, eps

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        r_mean, r_var, batches = self.running
        y, mean, rstd = _core.batch_norm(
            x, weight, bias, r_mean, r_var, batches, self.training, self.momentum, self.eps
        )
        del self.running
        self.x, self.weight, self.mean, self.rstd = x, weight, mean, rstd
        return y

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        return f.batch_norm_backward(
            dy, self.x, self.weight, self.mean, self.rstd, self.training, *self.needs
        )


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    num_batches_tracked: Any = None,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with one mean and variance for each channel.

    input: (N, C), (N, C, L), (N, C, H, W) ...; the other arguments (C,), or None. training: mean and variance
    of the batch over all axes but the channels'; the running ones are updated in place,
    r += momentum (batch - r), with the variance over n - 1. Else the running ones are used.
    num_batches_tracked: a count that training increases by one; with momentum None the running statistics are
    the means over all batches.

    Raises ValueError for shapes that do not fit, for a single value per channel when training and for missing
    running statistics when not; TypeError for other dtypes.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift" (2015).

    >>> import ranvier as rv
    >>> mean, var = rv.zeros(2), rv.ones(2)
    >>> rv.nn.functional.batch_norm(rv.tensor([[1.0, 5.0], [3.0, 5.0]]), mean, var, training=True)
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]])
    >>> mean, var
    (tensor([0.2000, 0.5000]), tensor([1.1000, 0.9000]))
    """
    statistics = (running_mean, running_var, num_batches_tracked)
    running = [as_tensor("batch_norm", r) for r in statistics if r is not None]
    wide = [r.float() if r._array.dtype in HALVES else r for r in running]
    arrays = iter([r._array for r in wide])
    mean, var, batches = (None if r is None else next(arrays) for r in statistics)
    y = BatchNorm((mean, var, batches), training, momentum, eps).apply(input, weight, bias)
    if training:
        for r, changed in zip(running, wide, strict=True):
            bump(r) if r is changed else r.copy_(changed)
    return y


@written_once(x=0, weight=1)
class GroupNorm(Function):
    """part: the number of groups"""

    dtypes = Dtypes(beside=1)
    kernel: Any = _core.group_norm

    def __init__(self, part: Any, eps: float) -> None:
        self.part, self.eps = part, eps

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        y, self.mean, self.rstd = self.kernel(x, self.part, weight, bias, self.eps)
        self.x, self.weight = x, weight
        return y

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        return f.group_norm_backward(dy, self.x, self.part, self.weight, self.mean, self.rstd, *self.needs)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with one mean and variance for each sample and group.

    input: (N, C, ...), with C consecutive channels in num_groups groups; weight, bias: (C,) or None.
    One group normalises a whole sample, C groups are instance norm. Raises ValueError where num_groups does
    not divide C, for shapes that do not fit, and where every group has a single value in a single sample.

    Source: Wu and He, "Group Normalization" (2018).
    | rv.nn.functional.group_norm(rv.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    -> tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])"""
    input = as_tensor("group_norm", input)
    if (
        input.ndim >= 2
        and isinstance(num_groups, int)
        and input.shape[1] == num_groups
        and input.shape[0] * math.prod(input.shape[2:]) == 1
    ):
        raise OpError(
            f"[group_norm] got x of shape {input.shape} in {num_groups} groups; expected more than 1 value "
            "per group"
        )
    return GroupNorm(num_groups, eps).apply(input, weight, bias)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with a mean and variance for each sample and channel.

    input: (N, C, ...) with at least two pixels; weight, bias: (C,) or None. Group norm with C groups. Running
    statistics (C,) become (1 - momentum) r + momentum s, where s is the mean over the samples of their means
    or unbiased variances; use_input_stats=False uses them in place of the input's, as batch norm does.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization" (2016).
    | rv.nn.functional.instance_norm(rv.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    -> tensor([[[-1.0000,  1.0000], [-1.0000,  1.0000]]])"""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    input = as_tensor("instance_norm", input)
    if input.ndim < 2 or input.shape[1] == 0 or math.prod(input.shape[2:]) == 1:
        raise misfit(
            "instance_norm",
            {"x": input.shape},
            "(N, C, ...) with a channel, and more than 1 value per channel",
        )
    if running_mean is not None or running_var is not None:
        _update(input, running_mean, running_var, momentum)
    return GroupNorm(input.shape[1], eps).apply(input, weight, bias)


def _update(input: Tensor, running_mean: Any, running_var: Any, momentum: float) -> None:
    """Moves the running statistics of instance norm towards those of the input."""
    channels = (input.shape[1],)
    for running in (running_mean, running_var):
        if not isinstance(running, Tensor) or running.shape != channels:
            raise OpError(
                f"[instance_norm] got a running statistic {getattr(running, 'shape', running)}; expected "
                f"both, of shape {channels}"
            )
    pixels = tuple(range(2, input.ndim))
    with no_grad():
        for running, statistic in ((running_mean, mean), (running_var, var)):
            running.copy_(_moved(running, input, statistic, pixels, momentum))


@in_dtypes()
def _moved(
    running: Tensor, input: Tensor, statistic: Any, pixels: tuple[int, ...], momentum: float
) -> Tensor:
    return (1 - momentum) * running + momentum * mean(statistic(input, pixels), 0)


@written_once(x=0, weight=1)
class LayerNorm(GroupNorm):
    """part: the sizes of the last axes"""

    dtypes = Dtypes("forward", beside=1)
    kernel = _core.layer_norm

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        return f.layer_norm_backward(dy, self.x, self.part, self.weight, self.mean, self.rstd, *self.needs)


def _sizes(normalized_shape: Any) -> Any:
    """A number is the shape of one axis."""
    return normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with mean and variance over the last axes of x.

    normalized_shape: the sizes of those axes; weight, bias: of that shape, or None. Raises ValueError where
    x does not end in normalized_shape, TypeError where the dtypes do not fit.

    Source: Ba, Kiros and Hinton, "Layer Normalization" (2016).
    | rv.nn.functional.layer_norm(rv.tensor([[1.0, 2.0, 3.0], [0.0, 10.0, 20.0]]), (3,))
    -> tensor([[-1.2247,  0.0000,  1.2247], [-1.2247,  0.0000,  1.2247]])"""
    return LayerNorm(_sizes(normalized_shape), eps).apply(input, weight, bias)


@written_once(x=0, weight=1)
class RMSNorm(Function):
    dtypes = Dtypes("forward", beside=1)

    def __init__(self, normalized_shape: tuple[int, ...], eps: float | None) -> None:
        self.normalized_shape, self.eps = normalized_shape, eps

    def forward(self, x: Array, weight: Array | None) -> Array:
        if self.eps is None:  # the core refuses other dtypes
            self.eps = float(np.finfo(np.float64 if x.dtype == np.float64 else np.float32).eps)
        y, self.rstd = _core.rms_norm(x, self.normalized_shape, weight, self.eps)
        self.x, self.weight = x, weight
        return y

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        return f.rms_norm_backward(dy, self.x, self.normalized_shape, self.weight, self.rstd, *self.needs)


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """y = x / sqrt(mean(x^2) + eps) weight, with the mean over the last axes of x.

    normalized_shape and errors as in :func:`layer_norm`; eps: the machine epsilon of x's dtype where it is
    None, of half floats that of float32.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
    | rv.nn.functional.rms_norm(rv.tensor([3.0, 4.0]), (2,)) -> tensor([0.8485, 1.1314])"""
    return RMSNorm(_sizes(normalized_shape), eps).apply(input, weight)


# --- the gradients on Tensors: y = (x - mean) rstd weight + bias


Sizes = tuple[int, ...]
Gradients = tuple[Tensor | None, ...]


def _normalised(x: Tensor, axes: Sizes, rstd: Array, centre: Array | None = None) -> tuple[Tensor, Tensor]:
    """(x - mean) rstd, and rstd, as functions of x. rstd and the centre, the mean, are those of forward,
    which are more exact than sums in float32."""
    shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    scale, away = (reshape(wrap(cast(rstd, x._array.dtype)), shape), x)
    if centre is not None:
        near = x - reshape(wrap(cast(centre, x._array.dtype)), shape)
        away = near - mean(near, axes, keepdim=True)
    unit = away * scale
    squares = mean(unit * unit, axes, keepdim=True)  # var rstd^2
    slope = pow(squares - squares.detach() + 1.0, -0.5)  # 1, with the derivatives of rstd
    return unit * slope, scale * slope


def _of_x(dy: Tensor, x_hat: Tensor, rstd: Tensor, axes: Sizes, centred: bool = True) -> Tensor:
    """The gradient of x, from that of x_hat."""
    along = dy - x_hat * mean(dy * x_hat, axes, keepdim=True)
    return (along - mean(dy, axes, keepdim=True) if centred else along) * rstd


def _parameters(dy: Tensor, x_hat: Tensor, axes: Sizes, of_weight: bool, of_bias: bool) -> tuple[Any, Any]:
    """The gradients of weight and bias: sums over these axes."""
    return _over(dy * x_hat, axes) if of_weight else None, _over(dy, axes) if of_bias else None


def _over(x: Tensor, axes: Sizes) -> Tensor:
    return total(x, axes) if axes else x


def weighted(dy: Tensor, weight: Tensor | None, shape: Sizes) -> Tensor:
    return dy if weight is None else dy * reshape(weight, shape)


def _batch_norm_backward(
    dy: Tensor, x: Tensor, weight: Any, mean: Array, rstd: Array, training: bool, of_x: bool, *of_others: bool
) -> Gradients:
    axes, shape = (0, *range(2, x.ndim)), (1, x.shape[1], *(1,) * (x.ndim - 2))
    if training:
        x_hat, scale = _normalised(x, axes, rstd, mean)
    else:
        mu, scale = (reshape(wrap(cast(s, x.dtype)), shape) for s in (mean, rstd))
        x_hat = (x - mu) * scale
    dx = None
    if of_x:
        dx = weighted(dy, weight, shape)
        dx = _of_x(dx, x_hat, scale, axes) if training else dx * scale
    return dx, *_parameters(dy, x_hat, axes, *of_others)


def _group_norm_backward(
    dy: Tensor, x: Tensor, groups: int, weight: Any, mean: Array, rstd: Array, of_x: bool, *of_others: bool
) -> Gradients:
    shape = (1, x.shape[1], *(1,) * (x.ndim - 2))
    parts = (x.shape[0], groups, math.prod(x.shape[1:]) // groups)
    x_hat, scale = _normalised(reshape(x, parts), (2,), rstd, mean)
    dx = None
    if of_x:
        dx = _of_x(reshape(weighted(dy, weight, shape), parts), x_hat, scale, (2,))
        dx = reshape(dx, x.shape)
    return dx, *_parameters(dy, reshape(x_hat, x.shape), (0, *range(2, x.ndim)), *of_others)


def _layer_norm_backward(
    dy: Tensor, x: Tensor, sizes: Sizes, weight: Any, mean: Any, rstd: Array, of_x: bool, *of_others: bool
) -> Gradients:
    lead = x.ndim - len(sizes)
    axes, shape = tuple(range(lead, x.ndim)), (*(1,) * lead, *x.shape[lead:])
    x_hat, scale = _normalised(x, axes, rstd, mean)
    dx = _of_x(weighted(dy, weight, shape), x_hat, scale, axes, mean is not None) if of_x else None
    return dx, *_parameters(dy, x_hat, tuple(range(lead)), *of_others)


def _rms_norm_backward(
    dy: Tensor, x: Tensor, sizes: Sizes, weight: Any, rstd: Array, of_x: bool, of_weight: bool
) -> Gradients:
    return _layer_norm_backward(dy, x, sizes, weight, None, rstd, of_x, of_weight, False)[:2]


TENSORS.batch_norm_backward, TENSORS.group_norm_backward = _batch_norm_backward, _group_norm_backward
TENSORS.layer_norm_backward, TENSORS.rms_norm_backward = _layer_norm_backward, _rms_norm_backward


examples(globals())
