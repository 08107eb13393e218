"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.function import Function, as_inputs
from ranvier.autograd.random import next_key
from ranvier.autograd.tensor import Tensor


def fresh_key() -> np.ndarray[Any, Any]:
    """The buffer (key, number of the call) from which a random kernel draws; it follows ``rv.manual_seed``.

    ``_core.dropout(x, p, key, out)``, ``_core.random_uniform(shape, dtype, low, high, key)`` and
    ``_core.random_normal(shape, dtype, mean, std, key)`` give the same values for the same key. A step that
    is run again with the second number counted up draws new ones.
    """
    return np.array([next_key(), 0], np.uint64).view(np.int64)


class Dropout(Function):
    def __init__(self, p: float, key: np.ndarray[Any, Any]) -> None:
        self.p = p
        self.key = key

    def forward(self, x: Any) -> Any:
        return _core.dropout(x, self.p, self.key, None)

    def backward(self, dy: Any) -> Any:
        return _core.dropout(dy, self.p, self.key, None)  # the mask is made again, not kept


def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability p, divides the others by 1 - p; x itself if training is False.

    The mask depends on the seed, the number of draws before and the element's place only: it is the same for
    any number of threads and any memory layout. A dropped element is 0, also where x is Inf or NaN. inplace
    is accepted for PyTorch's sake; the result is a new tensor all the same.

    x: float32 or float64 of any shape, else TypeError. p outside [0, 1] raises ValueError.
    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).

    >>> import ranvier as rv
    >>> x = rv.ones(1000)
    >>> sorted(set(rv.dropout(x, 0.5).numpy().tolist()))
    [0.0, 2.0]
    >>> rv.dropout(x, 0.5, training=False) is x
    True
    """
    if not 0 <= p <= 1:
        raise ValueError(f"[dropout] got p {p}; expected a probability, 0 <= p <= 1")
    if not training or p == 0:
        return x if isinstance(x, Tensor) else as_inputs((x,), "dropout")[0]
    return Dropout(p, fresh_key()).apply(x)
