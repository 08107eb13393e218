"""Upsample and its two special cases: see :func:`ranvier.interpolate`."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    """Signals (N, C, L) or images (N, C, H, W) at another size: either ``size`` or ``scale_factor``.

    mode: 'nearest', 'nearest-exact', 'linear' (signals), 'bilinear', 'bicubic' (images) or 'area'.

    >>> import ranvier as rv
    >>> rv.nn.Upsample(scale_factor=2, mode="bilinear")(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 16, 12)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = tuple(size) if isinstance(size, list) else size  # model files have lists
        if isinstance(scale_factor, (tuple, list)):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def _example(self) -> tuple[Any, ...]:
        one = self.mode == "linear" or 1 in (
            len(s) for s in (self.size, self.scale_factor) if isinstance(s, tuple)
        )
        return (empty(0, 1, *(2**15,) * (1 if one else 2)),)

    def forward(self, input: Any) -> Tensor:
        return ops.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        what = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{what}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images at another size, by repeating pixels.

    >>> import ranvier as rv
    >>> rv.nn.UpsamplingNearest2d(scale_factor=2)(rv.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images at another size, bilinear, with the corners aligned.

    >>> import ranvier as rv
    >>> rv.nn.UpsamplingBilinear2d(size=(1, 3))(rv.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
