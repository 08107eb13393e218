"""A function of ``nn.functional``, called by the same code for ranvier and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def functional(
    library: Any, function: str, arrays: dict[str, np.ndarray], gradient: bool, settings: dict[str, Any]
) -> Callable[[], Any]:
    """The call that computes the function; with gradient, forward and backward, giving the gradient of the
    first array. ``dy``, if among the arrays, is what backward starts from."""
    tensors = {name: library.tensor(array) for name, array in arrays.items()}
    dy = tensors.pop("dy", None)
    x, *rest = tensors.values()
    compute = getattr(library.nn.functional, function)

    def forward() -> Any:
        with library.no_grad():
            return compute(x, *rest, **settings)

    def forward_and_backward() -> Any:
        x.grad = None
        compute(x, *rest, **settings).backward(dy)
        return x.grad

    x.requires_grad_(gradient)
    return forward_and_backward if gradient else forward


def bags(
    library: Any,
    index: np.ndarray,
    weight: np.ndarray,
    mode: str,
    gradient: bool,
    dy: np.ndarray | None = None,
) -> Callable[[], Any]:
    """The call of embedding_bag; with gradient, forward and backward, giving the gradient of the table."""
    places, table = library.tensor(index), library.tensor(weight).requires_grad_(gradient)
    compute = library.nn.functional.embedding_bag
    above = None if dy is None else library.tensor(dy)

    def forward_and_backward() -> Any:
        table.grad = None
        compute(places, table, mode=mode).backward(above)
        return table.grad

    return forward_and_backward if gradient else lambda: compute(places, table, mode=mode)
