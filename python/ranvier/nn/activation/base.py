"""What the layers of activations with settings share."""

from __future__ import annotations

from ranvier.nn.module import Module
from ranvier.ops.making.creation import empty
from ranvier.tensors.tensor import Tensor


class WithSettings(Module):
    """Base of the layers with settings, which their op checks."""

    def _example(self) -> tuple[Tensor, ...] | None:
        return (empty((0,) * 8),)  # 8 dimensions: a setting may be the number of one of them.
