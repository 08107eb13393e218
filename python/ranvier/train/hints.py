"""The remedy for samples and targets that a model or loss refuses, added to its error."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ranvier.autograd import borrowed, no_grad, random

__all__ = ["raise_with_hint"]

Array = npt.NDArray[Any]


def raise_with_hint(
    error: Exception, model: Any, link: str | None, x: Array, y: Array | None = None
) -> NoReturn:
    """Raise the error of a batch, with its remedy where there is one; it keeps its type."""
    remedy = _remedy(model, link, x, y) if type(error) in (TypeError, ValueError) else ""
    if not remedy:
        raise error
    raise type(error)(f"{error}; {remedy}") from error


def _remedy(model: Any, link: str | None, x: Array, y: Array | None) -> str:
    dtype = next((np.dtype(p.dtype) for p in model.parameters()), None)
    whole = x.dtype.kind in "iub" and dtype is not None
    if whole and _raises(model, x) and not _raises(model, x.astype(dtype)):
        return f"the model takes floats and x is {x.dtype}: pass x.astype(np.{dtype})"
    if y is None:
        return ""
    if link == "softmax":
        if y.dtype.kind == "f" and y.ndim == 1:
            return "class indices are integers: pass y.astype(int)"
        if y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == 1:
            return "class indices have one axis: pass y.ravel()"
        if y.dtype.kind in "iu" and y.ndim == 2 and (np.sort(y, axis=1)[:, :-1] == 0).all():
            return "of one-hot rows pass y.argmax(1), or floats as probabilities"
        return ""
    try:
        shape = _shape(model, x)
    except Exception:  # the model itself raises: the targets are not the cause
        return ""
    if shape == (*y.shape, 1):
        return f"the model gives {shape} and y is {y.shape}: pass y[..., None]"
    if y.shape == (*shape, 1):
        return f"the model gives {shape} and y is {y.shape}: pass y[..., 0]"
    return ""


def _shape(model: Any, x: Array) -> tuple[int, ...]:
    """Of the output, by a pass that leaves the random numbers as they are."""
    state = random.get_rng_state()
    try:
        with no_grad():
            return tuple(model(borrowed(x)).shape)
    finally:
        random.set_rng_state(state)


def _raises(model: Any, x: Array) -> bool:
    try:
        _shape(model, x)
    except Exception:
        return True
    return False
