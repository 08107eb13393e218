"""Pooling layers: the maximum, mean or norm of windows, for windows of one size (MaxPool1d ...) or windows
that divide the input (AdaptiveAvgPool1d ...); MaxUnpool1d and MaxUnpool2d."""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
from ranvier.nn.layer import Layer
from ranvier.nn.module import Module
from ranvier.nn.registry import counts
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["pooling"]
_SIZES = ("kernel_size", "stride", "padding", "dilation", "output_size")


class _Pool(Layer):
    # The layer is tried on empty images of this height and width, in which all windows in use fit.
    _extent = 2**20

    def _set(self, settings: dict[str, Any]) -> None:
        """Makes tuples of lists, which model files have. stride = None becomes kernel_size."""
        if settings.get("stride", 0) is None and "norm_type" not in settings:
            settings["stride"] = settings["kernel_size"]
        sizes = {name: tuple(x) for name, x in settings.items() if name in _SIZES and isinstance(x, list)}
        super()._set({**settings, **sizes})

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1, 2**20) if self._op.endswith("1d") else empty(0, 1, self._extent, self._extent),)


class _MaxPool(_Pool):
    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


class MaxPool1d(_MaxPool):
    """The largest element of each window of signals (N, C, L); see :func:`ranvier.max_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.MaxPool1d(2)(rv.zeros(1, 3, 8)).shape
    (1, 3, 4)
    """

    _op = "max_pool1d"


class MaxPool2d(_MaxPool):
    """The largest element of each window; see :func:`ranvier.max_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.MaxPool2d(2)(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 4, 3)
    """

    _op = "max_pool2d"


class _AvgPool(_Pool):
    _shown = ("kernel_size", "stride", "padding")
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


class AvgPool1d(_AvgPool):
    """The mean of each window of signals (N, C, L); see :func:`ranvier.avg_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.AvgPool1d(2)(rv.zeros(1, 3, 8)).shape
    (1, 3, 4)
    """

    _op = "avg_pool1d"

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings)
        for name in self._shown:  # These become tuples of one number, as in PyTorch.
            size = getattr(self, name)
            setattr(self, name, size if isinstance(size, tuple) else (size,))


class AvgPool2d(_AvgPool):
    """The mean of each window; see :func:`ranvier.avg_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.AvgPool2d(2)(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 4, 3)
    """

    _op = "avg_pool2d"
    _shown = _AvgPool._shown
    divisor_override: int | None = None


class LPPool2d(_Pool):
    """The norm_type-norm of each window of images; see :func:`ranvier.nn.functional.lp_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.LPPool2d(2, 2)(rv.ones(1, 1, 2, 2))
    tensor([[[[2.]]]])
    """

    _op = "lp_pool2d"
    norm_type: float
    kernel_size: Any
    stride: Any = None
    ceil_mode: bool = False


class _AdaptiveAvg(_Pool):
    _extent = 2**15  # smaller than `_Pool._extent`, since one window may be the whole image
    output_size: Any


class AdaptiveAvgPool1d(_AdaptiveAvg):
    """The mean of windows that divide signals (N, C, L) into output_size; see
    :func:`ranvier.adaptive_avg_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveAvgPool1d(1)(rv.zeros(1, 3, 8)).shape
    (1, 3, 1)
    """

    _op = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_AdaptiveAvg):
    """The mean of windows that divide images into output_size; see :func:`ranvier.adaptive_avg_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveAvgPool2d(1)(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 1, 1)
    """

    _op = "adaptive_avg_pool2d"


class _AdaptiveMax(_Pool):
    _extent = 2**15
    _shown = ("output_size",)
    output_size: Any
    return_indices: bool = False


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The maximum of windows that divide signals (N, C, L) into output_size; see
    :func:`ranvier.adaptive_max_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveMaxPool1d(1)(rv.zeros(1, 3, 8)).shape
    (1, 3, 1)
    """

    _op = "adaptive_max_pool1d"


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The maximum of windows that divide images into output_size; see :func:`ranvier.adaptive_max_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveMaxPool2d((2, None))(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 2, 6)
    """

    _op = "adaptive_max_pool2d"


class _MaxUnpool(Module):
    _shown = ("kernel_size", "stride", "padding")
    _axes: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        if stride is None:
            stride = kernel_size
        settings = {"kernel_size": (kernel_size, 1), "stride": (stride, 1), "padding": (padding, 0)}
        counts(type(self).__name__, self._axes, **settings)
        for name, (value, _) in settings.items():
            setattr(self, name, tuple(value) if isinstance(value, (tuple, list)) else (value,) * self._axes)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Tensor:
        unpool = F.max_unpool1d if self._axes == 1 else F.max_unpool2d
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Puts maxima back to their places in the input: see :func:`ranvier.nn.functional.max_unpool1d`.

    >>> import ranvier as rv
    >>> y, at = rv.nn.MaxPool1d(2, return_indices=True)(rv.tensor([[[1.0, 2.0]]]))
    >>> rv.nn.MaxUnpool1d(2)(y, at)
    tensor([[[0., 2.]]])
    """

    _axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts maxima back to their places in the input: see :func:`ranvier.nn.functional.max_unpool2d`.

    >>> import ranvier as rv
    >>> y, at = rv.nn.MaxPool2d(2, return_indices=True)(rv.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    >>> rv.nn.MaxUnpool2d(2)(y, at)
    tensor([[[[0., 0.],
              [0., 4.]]]])
    """

    _axes = 2
