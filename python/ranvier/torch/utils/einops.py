"""The package einops for Tensors: `from ranvier.utils.einops import rearrange, Rearrange`.

The functions are those of einops. After this module was imported, functions imported from einops itself also
take Tensors. The layers have the names of ``einops.layers.torch``.
"""

from __future__ import annotations

from typing import Any

try:
    import einops as _einops
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("[einops] expected the package einops: pip install einops") from error

from einops import EinopsError, asnumpy, einsum, pack, parse_shape, rearrange, reduce, repeat, unpack
from einops._backends import TorchBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import ranvier
import ranvier.nn as nn
from ranvier import Tensor, zeros

__version__ = _einops.__version__
__all__ = [
    "EinMix", "EinopsError", "Rearrange", "Reduce", "asnumpy", "einsum", "pack", "parse_shape", "rearrange",
    "reduce", "repeat", "unpack",
]  # fmt: skip


class Backend(TorchBackend):
    """The backend that einops uses for Tensors. einops finds it among the subclasses of its own backends."""

    framework_name = "ranvier"

    def __init__(self) -> None:
        self.torch = ranvier

    def from_numpy(self, x: Tensor) -> Tensor:
        return ranvier.from_numpy(x)


class _Recipe(nn.Module):
    def forward(self, input: Tensor) -> Any:
        return self._apply_recipe(input)  # type: ignore[attr-defined]


class Rearrange(RearrangeMixin, _Recipe):
    """rearrange as a layer.

    >>> import ranvier as rv
    >>> from ranvier.utils.einops import Rearrange
    >>> Rearrange("b c (h s) -> b (c s) h", s=2)(rv.zeros(2, 3, 8)).shape
    (2, 6, 4)
    """


class Reduce(ReduceMixin, _Recipe):
    """reduce as a layer.

    >>> import ranvier as rv
    >>> from ranvier.utils.einops import Reduce
    >>> Reduce("b c h -> b c", "mean")(rv.zeros(2, 3, 8)).shape
    (2, 3)
    """


class EinMix(_EinmixMixin, nn.Module):
    """An einsum of the input and a weight, with a bias, by names of axes.

    >>> import ranvier as rv
    >>> from ranvier.utils.einops import EinMix
    >>> EinMix("b c -> b d", weight_shape="c d", bias_shape="d", c=3, d=5)(rv.zeros(2, 3)).shape
    (2, 5)
    """

    def _create_parameters(
        self, weight_shape: Any, weight_bound: float, bias_shape: Any, bias_bound: float
    ) -> None:
        self.weight = nn.Parameter(zeros(weight_shape).uniform_(-weight_bound, weight_bound))
        self.bias = None
        if bias_shape is not None:
            self.bias = nn.Parameter(zeros(bias_shape).uniform_(-bias_bound, bias_bound))

    def _create_rearrange_layers(
        self, before: str | None, before_lengths: Any, after: str | None, after_lengths: Any
    ) -> None:
        if before is None:
            self.pre_rearrange = None
        else:
            self.pre_rearrange = Rearrange(before, **before_lengths)
        self.post_rearrange = None if after is None else Rearrange(after, **after_lengths)

    def forward(self, input: Tensor) -> Any:
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        y = ranvier.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            y = y + self.bias
        if self.post_rearrange is None:
            return y
        return self.post_rearrange(y)
