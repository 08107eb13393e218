"""The remedy for samples and targets that a model or loss refuses, added to its error."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ranvier.train.form import output_shape

__all__ = ["raise_with_hint"]

Array = npt.NDArray[Any]


def raise_with_hint(
    error: Exception, model: Any, link: str | None, x: Array, y: Array | None = None
) -> NoReturn:
    """Raise the error of a batch, with its remedy where there is one; it keeps its type."""
    remedy = _remedy(str(error), model, link, x, y) if type(error) in (TypeError, ValueError) else ""
    if not remedy:
        raise error
    raise type(error)(f"{error}; {remedy}") from error


def _remedy(text: str, model: Any, link: str | None, x: Array, y: Array | None) -> str:
    if x.ndim == 1 and y is not None:
        if y.ndim > 1:
            return f"x has shape {x.shape} and y {y.shape}: x comes before y"
        return "samples are rows: pass x[:, None] for samples of one feature"
    if y is None:
        return ""
    if link == "softmax":
        if y.dtype.kind == "f" and y.ndim == 1:
            return "class indices are integers: pass y.astype(int)"
        if y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == 1:
            return "class indices have one axis: pass y.ravel()"
        if y.dtype.kind in "iu" and y.ndim == 2 and (np.sort(y, axis=1)[:, :-1] == 0).all():
            return "of one-hot rows pass y.argmax(1), or floats as probabilities"
        return _outside(model, x, y) if y.dtype.kind in "iu" else ""
    if link == "identity" and "[bce] got x with" in text:
        return (
            "BCELoss takes probabilities, and the model gives other numbers: end it with nn.Sigmoid(), or "
            "take 'bce_with_logits'"
        )
    try:
        shape = output_shape(model, x)
    except Exception:  # the model itself raises: the targets are not the cause
        return ""
    if link in ("sigmoid", "identity") and shape == (*y.shape, 2):
        return "a binary loss takes one output for each target, CrossEntropyLoss takes two"
    if link is None and y.ndim == 1 and len(shape) == 2 and shape[1] > 1 and (y == np.rint(y)).all():
        return (
            "y comes to a loss of your own as floats: take 'cross_entropy' for class indices, or give the "
            "loss an attribute link = 'softmax', with which they stay integers"
        )
    if shape == (*y.shape, 1):
        return f"the model gives {shape} and y is {y.shape}: pass y[..., None]"
    if y.shape == (*shape, 1):
        return f"the model gives {shape} and y is {y.shape}: pass y[..., 0]"
    return ""


def _outside(model: Any, x: Array, y: Array) -> str:
    """The remedy for class indices that have no output."""
    low, high = int(y.min()), int(y.max())
    try:
        shape = output_shape(model, x)
    except Exception:  # the model itself raises
        return ""
    if len(shape) < 2 or (low >= 0 and high < shape[1]):
        return ""
    if low >= 1 and high == shape[1]:
        return "labels that count from 1: pass y - 1"
    if np.isin(y, (-1, 1)).all():
        return "labels -1 and 1: pass y > 0"
    if low >= 0 and high < 2 * shape[1] + 8:
        return f"for the classes 0 to {high} the last layer needs {high + 1} outputs"
    return "labels that are names of classes: pass y.astype(str), which numbers them"
