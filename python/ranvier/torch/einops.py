"""The package einops on Tensors: `from ranvier.utils.einops import rearrange, Rearrange`.

The functions are einops' own. Importing this module makes Tensors known to them, so that functions imported
from einops take Tensors, too. The layers are those of ``einops.layers.torch``.
"""

from __future__ import annotations

from typing import Any

try:
    import einops as _einops
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("[einops] expected the package einops: pip install einops") from error

from einops import EinopsError, asnumpy, einsum, pack, parse_shape, rearrange, reduce, repeat, unpack
from einops._backends import AbstractBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import ranvier.nn as nn
import ranvier.ops as ops
from ranvier import Tensor, arange, from_numpy, zeros

__version__ = _einops.__version__
__all__ = [
    "EinMix", "EinopsError", "Rearrange", "Reduce", "asnumpy", "einsum", "pack", "parse_shape", "rearrange",
    "reduce", "repeat", "unpack",
]  # fmt: skip


class Backend(AbstractBackend):
    """What einops calls for Tensors; it finds the class among the subclasses."""

    framework_name = "ranvier"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: Any) -> Tensor:
        return from_numpy(x)

    def to_numpy(self, x: Tensor) -> Any:
        return x.detach().numpy()

    def arange(self, start: int, stop: int) -> Tensor:
        return arange(start, stop)

    def reduce(self, x: Tensor, operation: str, axes: Any) -> Tensor:
        if operation in ("any", "all", "prod"):  # one dimension at a time
            for axis in sorted(axes)[::-1]:
                x = getattr(ops, operation)(x, axis)
            return x
        return getattr(ops, {"min": "amin", "max": "amax"}.get(operation, operation))(x, tuple(axes))

    def transpose(self, x: Tensor, axes: Any) -> Tensor:
        return ops.permute(x, tuple(axes))

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
        return ops.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return ops.unsqueeze(x, new_position)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Tensor:
        sizes = [-1] * n_axes
        for position, length in pos2len.items():
            x = ops.unsqueeze(x, position)
            sizes[position] = length
        return ops.expand(x, sizes)

    def tile(self, x: Tensor, repeats: Any) -> Tensor:
        return ops.tile(x, tuple(repeats))

    def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
        return ops.cat(tensors, axis)

    def is_float_type(self, x: Tensor) -> bool:
        return x.dtype.kind == "f"

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        return ops.einsum(pattern, *x)


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
        self.pre_rearrange = None if before is None else Rearrange(before, **before_lengths)
        self.post_rearrange = None if after is None else Rearrange(after, **after_lengths)

    def forward(self, input: Tensor) -> Any:
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        y = ops.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return y if self.post_rearrange is None else self.post_rearrange(y)
