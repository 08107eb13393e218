"""Normalisation: batch norm, group norm, instance norm, layer norm and RMS norm.

    y = (x - mean) rstd weight + bias,   rstd = 1 / sqrt(var + eps),   var the mean of (x - mean)^2

The norms differ in the axes over which mean and variance are taken. x has floats. weight and bias have the
dtype of x, or float32 beside half floats, or are None. The result has x's memory order. Statistics are
float64, so that data far from 0 keep their accuracy.

Each norm is a kernel of the core for forward and one for backward. forward saves x, weight, and mean and rstd
as the kernel has computed them. `formula` is the norm by other ops, which create_graph differentiates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import no_grad
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.elementwise.functions import pow
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.layout import zeros
from ranvier.ops.reduction.reduce import mean
from ranvier.ops.reduction.variance import var
from ranvier.ops.shape.reshape import reshape
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.dtypes import finfo
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.memory import HALVES, cast
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ShapeLike, TensorLike
from ranvier.tensors.views import bump


class Running(NamedTuple):
    """The running statistics of batch norm, arrays that the kernel changes; None for missing ones."""

    mean: Array | None = None  # (C,)
    var: Array | None = None  # (C,)
    batches: Array | None = None  # the number of batches so far, ()


class BatchNorm(Function):
    """Batch norm: one mean and variance for each channel, of the batch or the running ones."""

    # half floats are computed in float32; the inputs after x may be float32 beside them
    dtypes = Dtypes(beside=1)

    def __init__(self, running: Running, training: bool, momentum: float | None, eps: float) -> None:
        self.running = running  # forward changes these arrays; backward does not need them
        self.training = training
        self.momentum = momentum
        self.eps = eps

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        y, mean, rstd = _core.batch_norm(
            x, weight, bias, *self.running, self.training, self.momentum, self.eps
        )
        del self.running
        self.x = x
        self.weight = weight
        self.mean = mean
        self.rstd = rstd
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return _core.batch_norm_backward(
            dy, self.x, self.weight, self.mean, self.rstd, self.training, *self.needs
        )

    def formula(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        shape = _channel_shape(x)
        if self.training:
            axes = (0, *range(2, x.ndim))
            return _affine(_normalised(self, x, axes), weight, bias, shape)
        mu = reshape(wrap(cast(self.mean, x.dtype)), shape)
        rstd = reshape(wrap(cast(self.rstd, x.dtype)), shape)
        return _affine((x - mu) * rstd, weight, bias, shape)


def batch_norm(
    input: TensorLike,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    num_batches_tracked: Tensor | None = None,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with one mean and variance for each channel.

    input: (N, C), (N, C, L), (N, C, H, W) ...; the other arguments (C,), or None. training: mean and variance
    are those of the batch, over all axes except the channels; the running statistics are updated in place,
    r += momentum (batch - r), where the batch's variance is divided by n - 1. Without training the running
    statistics are used. num_batches_tracked: a count that training increases by one; with momentum None the
    running statistics are the means over all batches.

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
    statistics: list[Tensor] = []  # those that exist
    in_float: list[Tensor] = []  # the same in a dtype that the kernel takes
    arrays: list[Array | None] = []
    for statistic in (running_mean, running_var, num_batches_tracked):
        if statistic is None:
            arrays.append(None)
            continue
        statistic = as_tensor("batch_norm", statistic)
        changed = statistic
        if statistic._array.dtype in HALVES:
            changed = statistic.float()
        statistics.append(statistic)
        in_float.append(changed)
        arrays.append(changed._array)
    y = BatchNorm(Running(*arrays), training, momentum, eps).apply(input, weight, bias)
    if training:
        for statistic, changed in zip(statistics, in_float, strict=True):
            if statistic is changed:
                bump(statistic)  # it has been changed in place
            else:
                statistic.copy_(changed)
    return y


class GroupNorm(Function):
    """Group norm; and the base class of LayerNorm.

    part: the number of groups; of LayerNorm the sizes of the normalised last axes.
    """

    # half floats are computed in float32; the inputs after x may be float32 beside them
    dtypes = Dtypes(beside=1)
    kernel: Any = _core.group_norm
    part: Any

    def __init__(self, part: int | Sequence[int], eps: float) -> None:
        self.part = part
        self.eps = eps

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        y, self.mean, self.rstd = self.kernel(x, self.part, weight, bias, self.eps)
        self.x = x
        self.weight = weight
        return y

    def formula(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        grouped = reshape(x, (x.shape[0], self.part, math.prod(x.shape[1:]) // self.part))
        y = reshape(_normalised(self, grouped, (2,)), x.shape)
        return _affine(y, weight, bias, _channel_shape(x))

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return _core.group_norm_backward(
            dy, self.x, self.part, self.weight, self.mean, self.rstd, *self.needs
        )


def group_norm(
    input: TensorLike,
    num_groups: int,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with one mean and variance for each sample and group.

    input: (N, C, ...), with C consecutive channels in num_groups groups; weight, bias: (C,) or None.
    One group normalises a whole sample, C groups are instance norm. Raises ValueError where num_groups does
    not divide C, for shapes that do not fit, and where every group has a single value in a single sample.

    Source: Wu and He, "Group Normalization" (2018).

    >>> import ranvier as rv
    >>> rv.nn.functional.group_norm(rv.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
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
    input: TensorLike,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with a mean and variance for each sample and channel.

    input: (N, C, ...) with at least two pixels; weight, bias: (C,) or None. Group norm with C groups. Running
    statistics (C,) become (1 - momentum) r + momentum s, where s is the mean over the samples of their means
    or unbiased variances; use_input_stats=False uses them in place of the input's, as batch norm does.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization" (2016).

    >>> import ranvier as rv
    >>> rv.nn.functional.instance_norm(rv.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """
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


def _update(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float) -> None:
    """Moves the running statistics of instance norm towards those of the input."""
    channels = (input.shape[1],)
    pixels = tuple(range(2, input.ndim))
    moves = []
    for running, statistic in ((running_mean, mean), (running_var, var)):
        if not isinstance(running, Tensor) or running.shape != channels:
            raise OpError(
                f"[instance_norm] got a running statistic {getattr(running, 'shape', running)}; expected "
                f"both, of shape {channels}"
            )
        moves.append((running, statistic))
    with no_grad():
        for running, statistic in moves:
            running.copy_(_moved(running, input, statistic, pixels, momentum))


@in_dtypes()
def _moved(
    running: Tensor, input: Tensor, statistic: Callable[..., Tensor], pixels: tuple[int, ...], momentum: float
) -> Tensor:
    return (1 - momentum) * running + momentum * mean(statistic(input, pixels), 0)


class LayerNorm(GroupNorm):
    """Layer norm: one mean and variance for the last axes, of the sizes `part`."""

    # Half floats are computed as they are, but in float32 where a gradient is needed. The inputs after x may
    # be float32 beside them.
    dtypes = Dtypes(halves="forward", beside=1)
    kernel = _core.layer_norm

    def formula(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        sizes = tuple(self.part)
        axes = tuple(range(x.ndim - len(sizes), x.ndim))
        return _affine(_normalised(self, x, axes), weight, bias, sizes)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return _core.layer_norm_backward(
            dy, self.x, self.part, self.weight, self.mean, self.rstd, *self.needs
        )


def _sizes(normalized_shape: Any) -> Sequence[int]:
    """normalized_shape as a tuple or list; a number is the size of one axis."""
    if isinstance(normalized_shape, (tuple, list)):
        return normalized_shape
    return (normalized_shape,)


def layer_norm(
    input: TensorLike,
    normalized_shape: ShapeLike,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) weight + bias, with mean and variance over the last axes of x.

    normalized_shape: the sizes of those axes; weight, bias: of that shape, or None. Raises ValueError where
    x does not end in normalized_shape, TypeError where the dtypes do not fit.

    Source: Ba, Kiros and Hinton, "Layer Normalization" (2016).

    >>> import ranvier as rv
    >>> rv.nn.functional.layer_norm(rv.tensor([[1.0, 2.0, 3.0], [0.0, 10.0, 20.0]]), (3,))
    tensor([[-1.2247,  0.0000,  1.2247],
            [-1.2247,  0.0000,  1.2247]])
    """
    return LayerNorm(_sizes(normalized_shape), eps).apply(input, weight, bias)


class RMSNorm(Function):
    """RMS norm: x over the root of the mean square of the last axes."""

    # Half floats are computed as they are, but in float32 where a gradient is needed. The inputs after x may
    # be float32 beside them.
    dtypes = Dtypes(halves="forward", beside=1)

    def __init__(self, normalized_shape: Sequence[int], eps: float | None) -> None:
        self.normalized_shape = normalized_shape
        self.eps = eps

    def forward(self, x: Array, weight: Array | None) -> Array:
        if self.eps is None:  # for other dtypes than floats the core raises the error
            dtype = np.float64 if x.dtype == np.float64 else np.float32
            self.eps = float(np.finfo(dtype).eps)
        y, self.rstd = _core.rms_norm(x, self.normalized_shape, weight, self.eps)
        self.x = x
        self.weight = weight
        return y

    def formula(self, x: Tensor, weight: Tensor | None) -> Tensor:
        sizes = tuple(self.normalized_shape)
        axes = tuple(range(x.ndim - len(sizes), x.ndim))
        return _affine(_normalised(self, x, axes, centred=False), weight, None, sizes)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return _core.rms_norm_backward(dy, self.x, self.normalized_shape, self.weight, self.rstd, *self.needs)


def rms_norm(
    input: TensorLike, normalized_shape: ShapeLike, weight: TensorLike | None = None, eps: float | None = None
) -> Tensor:
    """y = x / sqrt(mean(x^2) + eps) weight, with the mean over the last axes of x.

    normalized_shape and errors as in :func:`layer_norm`. eps None: the machine epsilon of x's dtype; for half
    floats that of float32.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).

    >>> import ranvier as rv
    >>> rv.nn.functional.rms_norm(rv.tensor([3.0, 4.0]), (2,))
    tensor([0.8485, 1.1314])
    """
    return RMSNorm(_sizes(normalized_shape), eps).apply(input, weight)


# --- what the formulas have in common


def _normalised(node: Any, x: Tensor, axes: tuple[int, ...], centred: bool = True) -> Tensor:
    """(x - mean) rstd over the axes, by differentiable ops. centred: False: x rstd, for RMS norm.

    Mean and rstd are those that forward has computed, which are more exact than sums in float32.
    """
    if not hasattr(node, "rstd"):  # forward has not run: the model is written to a file
        return _normalised_anew(node, x, axes, centred)
    shape = _reduced_shape(x, axes)
    deviation = x
    if centred:
        # The mean in float64 is rounded here, so that a small mean remains, which is subtracted, too.
        nearly_centred = x - reshape(wrap(cast(node.mean, x._array.dtype)), shape)
        deviation = nearly_centred - mean(nearly_centred, axes, keepdim=True)
    y = deviation * reshape(wrap(cast(node.rstd, x._array.dtype)), shape)
    squares = mean(y * y, axes, keepdim=True)  # var rstd^2
    # rstd is a constant above. This factor is 1, and has the derivatives of rstd.
    return y * pow(squares - squares.detach() + 1.0, -0.5)


def _normalised_anew(node: Any, x: Tensor, axes: tuple[int, ...], centred: bool) -> Tensor:
    """As `_normalised`, with mean and variance computed by ops."""
    deviation = x
    if centred:
        deviation = x - mean(x, axes, keepdim=True)
    eps = node.eps
    if eps is None:
        eps = finfo(x.dtype).eps
    return deviation / (mean(deviation * deviation, axes, keepdim=True) + eps).sqrt()


def _reduced_shape(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x with sizes of 1 in place of the axes."""
    shape = list(x.shape)
    for axis in axes:
        shape[axis] = 1
    return tuple(shape)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """x weight + bias, with weight and bias in this shape."""
    y = x
    if weight is not None:
        y = y * reshape(weight, shape)
    if bias is not None:
        y = y + reshape(bias, shape)
    return y


def _channel_shape(x: Tensor) -> tuple[int, ...]:
    """(1, C, 1, ...): the shape in which an array (C,) broadcasts to x (N, C, ...)."""
    return (1, x.shape[1], *(1,) * (x.ndim - 2))


def _saved_inputs(node: BatchNorm | GroupNorm) -> list[Array | None]:
    """The inputs that forward has saved, and zeros for the bias, whose values do not matter."""
    if not node.needs[2]:
        return [node.x, node.weight, None]
    if isinstance(node, LayerNorm):
        sizes = tuple(node.part)
    else:
        sizes = (node.x.shape[1],)
    return [node.x, node.weight, zeros(sizes, node.x.dtype)]


@recomputed(kinds=(BatchNorm, GroupNorm, LayerNorm), saved=_saved_inputs)
def _formula(node: BatchNorm | GroupNorm, *inputs: Any) -> Tensor:
    """create_graph computes the norm again by its formula, and differentiates that."""
    return node.formula(*inputs)


recomputed("x", "weight", kinds=(RMSNorm,))(RMSNorm.formula)
