"""``inplace=True``: x itself takes the result, as in PyTorch."""

from __future__ import annotations

from typing import Any

from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import BORROWED, FLAG


def replaced(name: str, x: Any, y: Tensor, inplace: bool) -> Tensor:
    """y; with inplace x, after it took over the values of y. An array of the caller is never changed."""
    if not (inplace and isinstance(x, Tensor)) or x._cell[FLAG] & BORROWED:
        return y
    check_leaf(x, name)
    return assign(x, y, name)
