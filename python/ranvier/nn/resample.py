"""Layers that pad (see :func:`ranvier.pad`) or change the size (see :func:`ranvier.interpolate`).

The base `Module` reads two attributes of these classes: ``_shown`` are the settings that repr shows, those
with a "*" without their name; and `_example` gives an input without elements, with which a new layer is
called once, so that wrong settings are refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import ranvier.nn.functional as F
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.errors import number
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["resample"]


class _Pad(Module):
    """Base of the padding layers: y = pad(x, padding, _mode, value)."""

    _axes: int  # how many axes are padded: 1 of signals (N, C, L), 2 of images (N, C, H, W)
    _mode: str
    padding: tuple[int, ...]
    value: float | None = None  # what the padding consists of, for the mode "constant"

    def _set_padding(self, padding: int | Sequence[int]) -> None:
        """padding: one number for all sides, or (before, after) for the last axis, then the axis before
        it."""
        if isinstance(padding, (tuple, list)):
            sizes = tuple(padding)
        else:
            sizes = (padding,) * (2 * self._axes)
        are_integers = all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
        if len(sizes) != 2 * self._axes or not are_integers:
            raise ValueError(
                f"[pad] got padding {padding!r}; expected a whole number or {2 * self._axes} of them"
            )
        self.padding = sizes

    def forward(self, input: TensorLike) -> Tensor:
        return F.pad(input, self.padding, self._mode, self.value)


# Programs written for PyTorch ask for the next three classes, to find all layers that pad in this way.
class _ConstantPad(_Pad):
    _mode = "constant"
    _shown: tuple[str, ...] = ("padding", "value")

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value


class _ReflectionPad(_Pad):
    _mode = "reflect"


class _ReplicationPad(_Pad):
    _mode = "replicate"


class _PaddingOnly(_Pad):
    """Base of the layers whose only setting is ``padding``."""

    _shown: tuple[str, ...] = ("*padding",)

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self._set_padding(padding)


class _ValuePad(_ConstantPad):
    """Base of the layers that pad with one value, which take ``padding`` first."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(value)
        self._set_padding(padding)

    def _example(self) -> tuple[Tensor, ...]:
        # Without images it needs no memory, and it is so large that negative padding leaves something of it.
        extent = 2 ** (30 // self._axes)
        return (empty(0, 1, *[extent] * self._axes),)


class ConstantPad1d(_ValuePad):
    """A value before and after the last axis of (N, C, L).

    >>> import ranvier as rv
    >>> rv.nn.ConstantPad1d((1, 2), 7.0)(rv.zeros(1, 1, 2))
    tensor([[[7., 0., 0., 7., 7.]]])
    """

    _axes = 1


class ConstantPad2d(_ValuePad):
    """One value around images: padding a number, or (left, right, top, bottom).

    >>> import ranvier as rv
    >>> rv.nn.ConstantPad2d((1, 0, 0, 1), 7.0)(rv.zeros(1, 1, 1, 2))
    tensor([[[[7., 0., 0.],
              [7., 7., 7.]]]])
    """

    _axes = 2


class _ZeroPad(_ValuePad):
    """Base of the layers that pad with zeros, before ConstantPad1d or ConstantPad2d."""

    _shown = ("*padding",)

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)


class ZeroPad1d(_ZeroPad, ConstantPad1d):
    """Zeros before and after the last axis of (N, C, L).

    >>> import ranvier as rv
    >>> rv.nn.ZeroPad1d(1)(rv.ones(1, 1, 2))
    tensor([[[0., 1., 1., 0.]]])
    """


class ZeroPad2d(_ZeroPad, ConstantPad2d):
    """Zeros around images: padding a number, or (left, right, top, bottom).

    >>> import ranvier as rv
    >>> rv.nn.ZeroPad2d(2)(rv.ones(1, 3, 4, 4)).shape
    (1, 3, 8, 8)
    """


class ReflectionPad1d(_PaddingOnly, _ReflectionPad):
    """Signals mirrored at the ends; the end elements are not repeated.

    >>> import ranvier as rv
    >>> rv.nn.ReflectionPad1d(2)(rv.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[3., 2., 1., 2., 3., 2., 1.]]])
    """

    _axes = 1


class ReflectionPad2d(_PaddingOnly, _ReflectionPad):
    """Images mirrored at the edges; the edge pixels are not repeated. padding as in ConstantPad2d.

    >>> import ranvier as rv
    >>> rv.nn.ReflectionPad2d(1)(rv.ones(1, 3, 4, 4)).shape
    (1, 3, 6, 6)
    """

    _axes = 2


class ReplicationPad1d(_PaddingOnly, _ReplicationPad):
    """The first and last values of signals, repeated.

    >>> import ranvier as rv
    >>> rv.nn.ReplicationPad1d((1, 2))(rv.tensor([[[1.0, 2.0]]]))
    tensor([[[1., 1., 2., 2., 2.]]])
    """

    _axes = 1


class ReplicationPad2d(_PaddingOnly, _ReplicationPad):
    """The edges of images, repeated: padding a number, or (left, right, top, bottom).

    >>> import ranvier as rv
    >>> rv.nn.ReplicationPad2d((1, 1, 0, 0))(rv.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.]]]])
    """

    _axes = 2


class CircularPad1d(_PaddingOnly):
    """Periodic signals: at each end the values of the other end follow.

    >>> import ranvier as rv
    >>> rv.nn.CircularPad1d(1)(rv.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[3., 1., 2., 3., 1.]]])
    """

    _axes = 1
    _mode = "circular"


Size: TypeAlias = int | Sequence[int]
Factor: TypeAlias = float | Sequence[float]


def _factor(factor: Factor | None) -> float | tuple[float, ...] | None:
    """A scale factor, or one for each axis, as floats; one factor of 0 becomes None, as in PyTorch."""
    if factor is None:
        return None
    if isinstance(factor, (tuple, list)):
        return tuple(float(number("interpolate", "scale_factor", f)) for f in factor)
    return float(number("interpolate", "scale_factor", factor)) or None


class Upsample(Module):
    """Signals (N, C, L) or images (N, C, H, W) at another size: either ``size`` or ``scale_factor``.

    mode: 'nearest', 'nearest-exact', 'linear' (signals), 'bilinear', 'bicubic' (images) or 'area'.

    >>> import ranvier as rv
    >>> rv.nn.Upsample(scale_factor=2, mode="bilinear")(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 16, 12)
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Factor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if isinstance(size, list):  # Model files have lists.
            size = tuple(size)
        self.size = size
        self.scale_factor = _factor(scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def _example(self) -> tuple[Tensor, ...]:
        lengths = [len(s) for s in (self.size, self.scale_factor) if isinstance(s, tuple)]
        if self.mode == "linear" or 1 in lengths:
            return (empty(0, 1, 2**15),)  # a signal
        return (empty(0, 1, 2**15, 2**15),)

    def forward(self, input: TensorLike) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        if self.scale_factor is None:
            extent = f"size={self.size!r}"
        else:
            extent = f"scale_factor={self.scale_factor!r}"
        return f"{extent}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images at another size, by repeating pixels.

    >>> import ranvier as rv
    >>> rv.nn.UpsamplingNearest2d(scale_factor=2)(rv.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(self, size: Size | None = None, scale_factor: Factor | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images at another size, bilinear, with the corners aligned.

    >>> import ranvier as rv
    >>> rv.nn.UpsamplingBilinear2d(size=(1, 3))(rv.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(self, size: Size | None = None, scale_factor: Factor | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
