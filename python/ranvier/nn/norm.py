"""Layers that normalise: BatchNorm, InstanceNorm, GroupNorm, LayerNorm, RMSNorm.

Each computes y = (x - mean) / sqrt(var + eps) weight + bias; they differ in the axes over which mean and var
are taken. (RMSNorm has neither mean nor bias.) weight is initialised to 1, bias to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty, zeros
from ranvier.tensors.errors import count, number, whole
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.memory import in_float
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, ShapeLike, TensorLike

__all__ = LAYERS["norm"]


class _Norm(Module):
    """Base of all norms: weight and bias, which have the same shape or are None."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(
        self, shape: tuple[int, ...], affine: bool, bias: bool, dtype: DtypeLike | None
    ) -> None:
        weight_parameter = Parameter(empty(*shape, dtype=dtype)) if affine else None
        bias_parameter = Parameter(empty(*shape, dtype=dtype)) if affine and bias else None
        self.register_parameter("weight", weight_parameter)
        self.register_parameter("bias", bias_parameter)
        self.reset_parameters()

    def _empty(self, *shape: int) -> tuple[Tensor]:
        """What `_example` returns (see Module): an input without samples, in the dtype of the layer."""
        dtype: DtypeLike | None = None
        for tensor in chain(self.parameters(), self.buffers()):
            dtype = tensor.dtype
            break
        return (empty(0, *shape, dtype=dtype),)

    def reset_parameters(self) -> None:
        """Resets weight to 1, and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _ChannelNorm(_Norm):
    """Base of batch norm and instance norm."""

    _name = "batch_norm"
    _ranks: ClassVar[dict[int, str]] = {}  # the numbers of dimensions that x may have, with their description
    _shown = ("*num_features", "eps", "momentum", "affine", "bias", "track_running_stats")
    # the number of dimensions of an input without a batch; 0: the batch is required; nn/lazy.py reads it, too
    _unbatched = 0

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DtypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features = count(self._name, "num_features", num_features, 0)
        self.eps = eps
        if momentum is None:
            self.momentum = momentum
        else:
            self.momentum = number(self._name, "momentum", momentum)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.register_buffer("running_mean", empty(num_features, dtype=dtype))
            self.register_buffer("running_var", empty(num_features, dtype=dtype))
            self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64))
        else:
            self.register_buffer("running_mean", None)
            self.register_buffer("running_var", None)
            self.register_buffer("num_batches_tracked", None)
        self._make_parameters((num_features,), affine, bias, dtype)

    def _rv_cast(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Casts arrays to the dtype of the statistics where there are no parameters."""
        if self.weight is None and self.running_mean is not None:
            dtype = self.running_mean.dtype
            cast = list(args)
            for place, arg in enumerate(args):
                if isinstance(arg, np.ndarray):
                    cast[place] = in_float(arg, dtype)
            args = tuple(cast)
        return super()._rv_cast(args)

    def reset_running_stats(self) -> None:
        """Resets the running statistics: mean 0, variance 1, no batches."""
        if self.running_mean is not None and self.running_var is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
        if self.num_batches_tracked is not None:
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Resets weight to 1, bias to 0, and the running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _example(self) -> tuple[Any, ...]:
        most_dimensions = max(self._ranks, default=2)
        spatial = (2,) * (most_dimensions - 2)
        return self._empty(self.num_features, *spatial)

    def _check_input_dim(self, input: TensorLike) -> None:
        if not self._ranks:
            raise NotImplementedError(f"[{type(self).__name__}] expected a method _check_input_dim")
        shape = np.shape(input)
        if len(shape) not in self._ranks:
            expected = " or ".join(self._ranks.values())
            raise misfit(self._name, {"x": shape}, expected)
        channel_axis = 0 if len(shape) == self._unbatched else 1
        channels = shape[channel_axis]
        if channels != self.num_features and (self.affine or self.track_running_stats):
            raise OpError(
                f"[{self._name}] got x with {channels} channels; expected num_features, {self.num_features}"
            )


class _BatchNorm(_ChannelNorm):
    _name = "batch_norm"
    _version = 2  # the version of the state dict, as in PyTorch; it has num_batches_tracked since version 2

    def forward(self, input: TensorLike) -> Tensor:
        self._check_input_dim(input)
        use_batch = self.training or self.running_mean is None  # the statistics of the batch
        mean = self.running_mean
        var = self.running_var
        batches = self.num_batches_tracked
        weight = self.weight
        bias = self.bias
        if self.training and not self.track_running_stats:
            mean = None
            var = None
            batches = None
        # The op counts the batch, in its last argument. PyTorch's function does not: for one that a program
        # has put in its place, the layer counts.
        if F.batch_norm is not F._OWN["batch_norm"]:
            momentum = self._count_batch(batches if self.training else None)
            return F.batch_norm(input, mean, var, weight, bias, use_batch, momentum, self.eps)
        return ops.batch_norm(input, mean, var, weight, bias, use_batch, self.momentum, self.eps, batches)

    def _count_batch(self, batches: Tensor | None) -> float:
        """Adds 1 to the count of batches, and returns the share of the next batch in the running statistics.

        batches: num_batches_tracked; None where there is nothing to count.
        """
        if batches is not None:
            batches.add_(1)
        if self.momentum is not None:
            return self.momentum
        if batches is None:
            return 0.0
        return 1.0 / float(batches)


class BatchNorm1d(_BatchNorm):
    """Each channel with mean 0 and variance 1 over the batch: x and y (N, C) or (N, C, L).

    In training mode mean and variance are those of the batch, and update running_mean and running_var:
    r = (1 - momentum) r + momentum batch (momentum=None: the mean over all batches). In evaluation mode
    running_mean and running_var are used. With track_running_stats=False mean and variance are always those
    of the batch. See :func:`ranvier.nn.functional.batch_norm`.

    Raises ValueError for other shapes, and in training for a single value per channel.

    >>> import ranvier as rv
    >>> sorted(rv.nn.BatchNorm1d(3).state_dict())
    ['bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight']
    """

    _ranks = {2: "2 dimensions (N, C)", 3: "3 (N, C, L)"}  # noqa: RUF012


class BatchNorm2d(_BatchNorm):
    """Each channel of images with mean 0 and variance 1 over the batch: x and y (N, C, H, W).

    As :class:`BatchNorm1d`. It is fastest on channels-last images, which convolutions return.

    >>> import ranvier as rv
    >>> rv.nn.Sequential(rv.nn.Conv2d(1, 8, 3, bias=False), rv.nn.BatchNorm2d(8), rv.nn.ReLU())[1]
    BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    _ranks = {4: "4 dimensions (N, C, H, W)"}  # noqa: RUF012


class _InstanceNorm(_ChannelNorm):
    _name = "instance_norm"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: DtypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, input: TensorLike) -> Tensor:
        input = as_tensor("instance_norm", input)
        self._check_input_dim(input)
        if input.ndim == self._get_no_batch_dim():
            return self._handle_no_batch_input(input)
        return self._apply_instance_norm(input)

    # Names of PyTorch, since subclasses call and override them.
    def _get_no_batch_dim(self) -> int:
        """The number of dimensions of an input without a batch."""
        return self._unbatched

    def _handle_no_batch_input(self, input: Tensor) -> Tensor:
        return self._apply_instance_norm(input[None])[0]

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        tensors = (self.running_mean, self.running_var, self.weight, self.bias)
        use_sample = self.training or not self.track_running_stats  # the statistics of each sample
        momentum = self.momentum or 0.0
        return F.instance_norm(input, *tensors, use_sample, momentum, self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample with mean 0 and variance 1: x and y (N, C, L) or (C, L).

    With track_running_stats=True the statistics of each batch, averaged over its samples, update running_mean
    and running_var, which are used in evaluation mode; momentum=None does not change them, as in PyTorch. See
    :func:`ranvier.nn.functional.instance_norm`.

    >>> import ranvier as rv
    >>> rv.nn.InstanceNorm1d(2)(rv.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """

    _ranks = {2: "2 dimensions (C, L)", 3: "3 (N, C, L)"}  # noqa: RUF012
    _unbatched = 2


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each image with mean 0 and variance 1: x and y (N, C, H, W) or (C, H, W).

    As :class:`InstanceNorm1d`.

    >>> import ranvier as rv
    >>> rv.nn.InstanceNorm2d(8, affine=True)
    InstanceNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)
    """

    _ranks = {3: "3 dimensions (C, H, W)", 4: "4 (N, C, H, W)"}  # noqa: RUF012
    _unbatched = 3


class GroupNorm(_Norm):
    """Each group of channels of each sample with mean 0 and variance 1: x and y (N, num_channels, ...).

    The channels are in num_groups groups of consecutive ones. See
    :func:`ranvier.nn.functional.group_norm`. Raises ValueError where num_groups does not divide num_channels.

    >>> import ranvier as rv
    >>> rv.nn.GroupNorm(2, 8)
    GroupNorm(2, 8, eps=1e-05, affine=True, bias=True)
    """

    _shown = ("*num_groups", "*num_channels", "eps", "affine", "bias")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DtypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        groups = whole("group_norm", "num_groups", num_groups)
        if groups < 1 or whole("group_norm", "num_channels", num_channels) % groups:
            raise OpError(
                f"[group_norm] got {num_groups} num_groups and {num_channels} num_channels; expected a "
                "divisor of the channels"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, bias, dtype)

    def _example(self) -> tuple[Any, ...]:
        return self._empty(self.num_channels)

    def forward(self, input: TensorLike) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class _LastAxesNorm(_Norm):
    """Base of layer norm and RMS norm."""

    _shown: tuple[str, ...] = ("*normalized_shape", "eps", "elementwise_affine")
    eps: Any  # a number; None in RMSNorm only

    def _set(
        self, name: str, normalized_shape: ShapeLike, eps: float | None, elementwise_affine: bool
    ) -> None:
        """Checks and stores the settings. name: of the op, for errors."""
        shape: tuple[Any, ...] = (normalized_shape,)
        if isinstance(normalized_shape, (tuple, list)):
            shape = tuple(normalized_shape)
        if not shape or not all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape):
            raise OpError(f"[{name}] got normalized_shape {normalized_shape!r}; expected sizes of at least 0")
        self.normalized_shape = tuple(int(n) for n in shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine

    def _example(self) -> tuple[Any, ...]:
        return self._empty(*self.normalized_shape)


class LayerNorm(_LastAxesNorm):
    """The last axes of x with mean 0 and variance 1: x and y (..., *normalized_shape).

    weight and bias have the shape normalized_shape. See :func:`ranvier.nn.functional.layer_norm`. Raises
    ValueError where x does not end in normalized_shape.

    >>> import ranvier as rv
    >>> rv.nn.LayerNorm(64)
    LayerNorm((64,), eps=1e-05, elementwise_affine=True, bias=True)
    """

    _shown = (*_LastAxesNorm._shown, "bias")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set("layer_norm", normalized_shape, eps, elementwise_affine)
        self._make_parameters(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, input: TensorLike) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(_LastAxesNorm):
    """The last axes of x divided by their root mean square: x and y (..., *normalized_shape).

    weight has the shape normalized_shape; eps=None is the machine epsilon of x's dtype. See
    :func:`ranvier.nn.functional.rms_norm`. Raises ValueError where x does not end in normalized_shape.

    >>> import ranvier as rv
    >>> rv.nn.RMSNorm(64)
    RMSNorm((64,), eps=None, elementwise_affine=True)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set("rms_norm", normalized_shape, eps, elementwise_affine)
        if elementwise_affine:
            weight = Parameter(empty(*self.normalized_shape, dtype=dtype))
        else:
            weight = None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: TensorLike) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)
