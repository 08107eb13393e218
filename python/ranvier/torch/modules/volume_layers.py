"""The layers of `torch.nn` for volumes (N, C, D, H, W), and those for images that `ranvier.nn` lacks.

As all layers they call functions of `torch.nn.functional`, so that those which a program puts there are used.
The base classes in `ranvier.nn` read the class attributes: `_op` is the function's name, `_axes` the number
of spatial axes, `_ranks` the numbers of dimensions that an input may have, `_unbatched` the one without a
batch, `_shown` the settings in repr, `_mode` the mode of `functional.pad`.
"""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as functional
import ranvier.torch.functions.composed as composed
import ranvier.torch.modules.volumes as volumes
from ranvier import Tensor
from ranvier.nn import conv, dropout, norm, pooling, resample
from ranvier.tensors.types import ShapeLike, TensorLike

_VOLUMES = {4: "4 dimensions (C, D, H, W)", 5: "5 (N, C, D, H, W)"}


def _function(name: str) -> Any:
    """The function that a program has put into `torch.nn.functional` under this name, or the own one."""
    replaced = vars(functional).get(name)
    if replaced is None:
        return getattr(volumes, name)
    return replaced


class Conv3d(conv._Conv):
    """nn.Conv3d.

    >>> sorted(Conv3d(1, 2, 3).state_dict())
    ['bias', 'weight']
    """

    _op = "conv3d"
    _axes = 3

    def _conv_forward(self, input: TensorLike, weight: TensorLike, bias: TensorLike | None) -> Any:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = functional.pad(input, self._pad_sizes(), self.padding_mode)
            padding = 0
        return _function("conv3d")(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose3d(conv._ConvTranspose):
    """nn.ConvTranspose3d.

    >>> import ranvier as rv
    >>> ConvTranspose3d(2, 3, 2, 2)(rv.ones(1, 2, 2, 2, 2)).shape
    (1, 3, 4, 4, 4)
    """

    _op = "conv_transpose3d"
    _axes = 3

    def forward(self, input: Tensor, output_size: ShapeLike | None = None) -> Tensor:
        extra = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, self._axes, self.dilation
        )
        settings = self.stride, self.padding, extra, self.groups, self.dilation
        return _function("conv_transpose3d")(input, self.weight, self.bias, *settings)


class MaxPool3d(pooling._MaxPool):
    """nn.MaxPool3d.

    >>> import ranvier as rv
    >>> MaxPool3d(2)(rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 1, 1, 1)
    """

    _op = "max_pool3d"

    def forward(self, input: Tensor) -> Any:
        windows = self.kernel_size, self.stride, self.padding, self.dilation
        settings = {"ceil_mode": self.ceil_mode, "return_indices": self.return_indices}
        return _function("max_pool3d")(input, *windows, **settings)


class AvgPool3d(pooling._AvgPool):
    """nn.AvgPool3d.

    >>> import ranvier as rv
    >>> AvgPool3d(2)(rv.ones(1, 1, 2, 2, 2))
    tensor([[[[[1.]]]]])
    """

    _op = "avg_pool3d"

    def __init__(
        self,
        kernel_size: ShapeLike,
        stride: ShapeLike | None = None,
        padding: ShapeLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Any:
        windows = self.kernel_size, self.stride, self.padding
        settings = self.ceil_mode, self.count_include_pad, self.divisor_override
        return _function("avg_pool3d")(input, *windows, *settings)


class LPPool1d(pooling._Pool):
    """nn.LPPool1d.

    >>> import ranvier as rv
    >>> LPPool1d(2, 2)(rv.tensor([[[3.0, 4.0]]]))
    tensor([[[5.]]])
    """

    _op = "lp_pool1d"
    _shown = ("norm_type", "kernel_size", "stride?", "ceil_mode?")

    def __init__(
        self,
        norm_type: float,
        kernel_size: ShapeLike,
        stride: ShapeLike | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )

    def forward(self, input: Tensor) -> Any:
        pool = vars(functional).get(self._op)
        if pool is None:
            if self._op == "lp_pool1d":
                pool = composed.lp_pool1d
            else:
                pool = volumes.lp_pool3d
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(LPPool1d):
    """nn.LPPool3d.

    >>> import ranvier as rv
    >>> LPPool3d(3, 2)(rv.ones(1, 1, 2, 2, 2))
    tensor([[[[[2.]]]]])
    """

    _op = "lp_pool3d"


class AdaptiveAvgPool3d(pooling._AdaptiveAvg):
    """nn.AdaptiveAvgPool3d.

    >>> import ranvier as rv
    >>> AdaptiveAvgPool3d(1)(rv.ones(1, 1, 2, 2, 2))
    tensor([[[[[1.]]]]])
    """

    _op = "adaptive_avg_pool3d"

    def forward(self, input: Tensor) -> Any:
        return _function("adaptive_avg_pool3d")(input, self.output_size)


class AdaptiveMaxPool3d(pooling._AdaptiveMax):
    """nn.AdaptiveMaxPool3d.

    >>> import ranvier as rv
    >>> AdaptiveMaxPool3d(1)(rv.ones(1, 1, 2, 2, 2))
    tensor([[[[[1.]]]]])
    """

    _op = "adaptive_max_pool3d"

    def forward(self, input: Tensor) -> Any:
        return _function("adaptive_max_pool3d")(input, self.output_size, self.return_indices)


class MaxUnpool3d(pooling._MaxUnpool):
    """nn.MaxUnpool3d.

    >>> MaxUnpool3d(2).kernel_size
    (2, 2, 2)
    """

    _axes = 3

    def forward(self, input: TensorLike, indices: TensorLike, output_size: ShapeLike | None = None) -> Any:
        windows = self.kernel_size, self.stride, self.padding
        return _function("max_unpool3d")(input, indices, *windows, output_size)


class BatchNorm3d(norm._BatchNorm):
    """nn.BatchNorm3d.

    >>> import ranvier as rv
    >>> BatchNorm3d(2)(rv.ones(1, 2, 1, 1, 2)).shape
    (1, 2, 1, 1, 2)
    """

    _ranks = {5: "5 dimensions (N, C, D, H, W)"}  # noqa: RUF012


class InstanceNorm3d(norm._InstanceNorm):
    """nn.InstanceNorm3d.

    >>> import ranvier as rv
    >>> InstanceNorm3d(2)(rv.ones(1, 2, 1, 1, 2)).shape
    (1, 2, 1, 1, 2)
    """

    _ranks = _VOLUMES
    _unbatched = 4


class Dropout3d(dropout._Dropout):
    """nn.Dropout3d.

    >>> import ranvier as rv
    >>> Dropout3d(1.0)(rv.ones(1, 1, 1, 1, 2))
    tensor([[[[[0., 0.]]]]])
    """

    _op = "dropout3d"

    def forward(self, input: Tensor) -> Any:
        return _function("dropout3d")(input, self.p, self.training, self.inplace)


class ConstantPad3d(resample._ValuePad):
    """nn.ConstantPad3d.

    >>> import ranvier as rv
    >>> ConstantPad3d(1, 2.0)(rv.ones(1, 1, 1, 1)).shape
    (1, 3, 3, 3)
    """

    _axes = 3


class ZeroPad3d(resample._ZeroPad, ConstantPad3d):
    """nn.ZeroPad3d.

    >>> import ranvier as rv
    >>> ZeroPad3d(1)(rv.ones(1, 1, 1, 1)).shape
    (1, 3, 3, 3)
    """


class ReflectionPad3d(resample._PaddingOnly, resample._ReflectionPad):
    """nn.ReflectionPad3d.

    >>> import ranvier as rv
    >>> ReflectionPad3d(1)(rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 4, 4, 4)
    """

    _axes = 3


class ReplicationPad3d(resample._PaddingOnly, resample._ReplicationPad):
    """nn.ReplicationPad3d.

    >>> import ranvier as rv
    >>> ReplicationPad3d(1)(rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 4, 4, 4)
    """

    _axes = 3


class CircularPad2d(resample._PaddingOnly):
    """nn.CircularPad2d.

    >>> import ranvier as rv
    >>> CircularPad2d(1)(rv.ones(1, 1, 2, 2)).shape
    (1, 1, 4, 4)
    """

    _axes = 2
    _mode = "circular"


class CircularPad3d(resample._PaddingOnly):
    """nn.CircularPad3d.

    >>> import ranvier as rv
    >>> CircularPad3d(1)(rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 4, 4, 4)
    """

    _axes = 3
    _mode = "circular"
