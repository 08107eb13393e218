"""Layers that change only the shape: Flatten and Unflatten; and Identity."""

from __future__ import annotations

from typing import Any

from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["reshape"]


class Flatten(Module):
    """Joins dimensions start_dim ... end_dim: (N, C, H, W) -> (N, C*H*W), in logical order for any layout.

    Raises ValueError if x has fewer dimensions.

    >>> import ranvier as rv
    >>> rv.nn.Flatten()
    Flatten(start_dim=1, end_dim=-1)
    """

    _shown = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = whole("flatten", "start_dim", start_dim)
        self.end_dim = whole("flatten", "end_dim", end_dim)

    def forward(self, input: TensorLike) -> Tensor:
        input = as_tensor("flatten", input)
        start = self.start_dim
        end = self.end_dim
        ndim = input.ndim
        if start < 0:
            start = start + ndim
        if end < 0:
            end = end + ndim
        if not 0 <= start <= end < ndim:
            raise OpError(
                f"[flatten] got x of shape {tuple(input.shape)} for dimensions {self.start_dim} to "
                f"{self.end_dim}; expected at least {max(start, end) + 1} dimensions"
            )
        return input.flatten(start, end)


class Unflatten(Module):
    """Splits dimension ``dim`` into several: the inverse of Flatten.

    >>> import ranvier as rv
    >>> rv.nn.Unflatten(1, (2, 3))
    Unflatten(dim=1, unflattened_size=(2, 3))
    """

    _shown = ("dim", "unflattened_size")

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = whole("unflatten", "dim", dim)
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                f"[unflatten] got unflattened_size {unflattened_size!r}; expected a tuple of sizes"
            )
        self.unflattened_size = tuple(whole("unflatten", "unflattened_size", n) for n in unflattened_size)

    def forward(self, input: TensorLike) -> Tensor:
        input = as_tensor("unflatten", input)
        dim = self.dim + input.ndim if self.dim < 0 else self.dim
        shape = tuple(input.shape)
        return input.reshape((*shape[:dim], *self.unflattened_size, *shape[dim + 1 :]))


class Identity(Module):
    """y = x; all arguments are ignored.

    >>> import ranvier as rv
    >>> rv.nn.Identity()
    Identity()
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: TensorLike) -> Any:
        return input
