"""What activation layers share. Each names its op, which has the formula and the source."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module


class OfAnyRank(Module):
    def _example(self) -> tuple[Any, ...]:
        return (empty((0,) * 8),)


class Activation(Module):
    """A layer without settings."""

    op: str  # its name in ranvier.ops

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input)


class InPlace(Module):
    """A layer with ``inplace`` as its only argument."""

    op: str

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class WithAlpha(OfAnyRank):
    op: str
    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.alpha, inplace=self.inplace)


class Shrink(OfAnyRank):
    op: str

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class AlongDim(OfAnyRank):
    """dim: None is the dimension that the op chooses."""

    op: str
    _shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def _example(self) -> tuple[Any, ...]:
        return super()._example() if self.dim is not None else (empty(0),)

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.dim)
