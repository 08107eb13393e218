"""What OpCase computes with the values of its ops."""

from typing import Any

import numpy as np
from ranvier.autograd import Tensor

Array = np.ndarray[Any, Any]


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array.copy()


def gradient_for(y: Array) -> Array:
    """A dy of varied values in the shape and dtype of y, the same for equal shapes."""
    values = np.random.default_rng(y.size).uniform(-1, 1, y.shape)
    return np.asarray(values + np.sign(values) * 0.25, y.dtype)


def check_views(outs: list[Tensor], arrays: tuple[Array, ...]) -> None:
    """A Function that returns a view has to say so: in-place changes are tracked through it."""
    for y in outs:
        if any(np.shares_memory(y._array, a) for a in arrays) and y.grad_fn is not None:
            maker = getattr(y.grad_fn, "function", y.grad_fn)
            assert maker.is_view, f"{type(maker).__name__} returns a view of its input: set is_view = True"
