"""Checks of the arguments of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.tensors.failures import require_dtype
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    import numpy.typing as npt

Floats = np.ndarray[Any, np.dtype[np.float64]]


def targets(name: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Array, Array]:
    """Both as arrays. name: the metric, for errors. Raises TypeError for masked arrays."""
    return np.asarray(plain(name, y_true)), np.asarray(plain(name, y_pred))


def same_shape(name: str, true: Array, pred: Array) -> None:
    """Raises ValueError for different shapes or no samples; TypeError for dates and complex numbers."""
    for argument, array in (("y_true", true), ("y_pred", pred)):
        if array.dtype.kind in "cmMV" or (array.dtype.kind == "O" and array.ndim == 0):
            raise TypeError(
                f"[{name}] got {argument} of dtype {array.dtype}; expected real numbers or labels"
            )
    if true.shape != pred.shape:
        raise ValueError(f"[{name}] got y_true of shape {true.shape} and y_pred of shape {pred.shape}")
    if true.size == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")


def label_arrays(name: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Array, Array]:
    """Labels as two arrays (n,) of numbers, strings or booleans.

    Columns (n, 1) become (n,); of targets that are probabilities (n, classes) the largest gives the label.
    Floats must be whole numbers.
    """
    true, pred = targets(name, y_true, y_pred)
    if true.ndim == 2 and true.shape[1] > 1 and true.dtype.kind == "f" and pred.ndim == 1:
        true = true.argmax(axis=1)
    same_shape(name, true, pred)
    if true.ndim != 1 and true.size != len(true):
        raise ValueError(f"[{name}] got labels of shape {true.shape}; expected (n,)")
    for argument, array in (("y_true", true), ("y_pred", pred)):
        require_dtype(name, argument, array, "biufUSO", "labels")
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise ValueError(f"[{name}] got {argument} that is no label; expected whole numbers")
    if (true.dtype.kind in "USO") != (pred.dtype.kind in "USO"):
        raise ValueError(
            f"[{name}] got labels of dtype {true.dtype} and {pred.dtype}; expected the same kind"
        )
    return true.reshape(-1), pred.reshape(-1)


def distinct(name: str, *arrays: npt.ArrayLike) -> Array:
    """The sorted distinct labels of several arrays."""
    try:
        return np.unique(np.concatenate([np.asarray(a).reshape(-1) for a in arrays]))
    except TypeError:
        raise TypeError(f"[{name}] got labels of mixed types; expected numbers or strings") from None
