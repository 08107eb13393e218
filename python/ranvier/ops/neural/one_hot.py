"""Class indices as rows of zeros with a single one."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import in_dtype, keep, plain
from ranvier.autograd.recording import is_recording, value_read
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.dtypes import F64, I64

__all__ = ["one_hot"]


def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """y (*x.shape, num_classes) of int64: y[..., c] = 1 where x = c, else 0.

    num_classes: -1 means the greatest class + 1. Raises TypeError for classes that are not integers,
    ValueError for classes outside 0 ... num_classes - 1.

    >>> import ranvier as rv
    >>> rv.nn.functional.one_hot(rv.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    classes = input._array if isinstance(input, Tensor) else np.asarray(plain("one_hot", input))
    if classes.dtype.kind not in "iu":
        raise TypeError(f"[one_hot] got classes of dtype {classes.dtype}; expected integers")
    if not isinstance(num_classes, (int, np.integer)):
        raise TypeError(f"[one_hot] got num_classes {num_classes!r}; expected a whole number")
    if num_classes < -1:
        raise ValueError(f"[one_hot] got num_classes {num_classes}; expected at least 0, or -1")
    if num_classes == -1:
        if classes.size == 0:
            raise ValueError("[one_hot] got no classes; expected num_classes to be given")
        value_read("one_hot without num_classes")
        num_classes = int(classes.max()) + 1
    if classes.size and not _are_inside(classes, num_classes):
        raise ValueError(
            f"[one_hot] got classes from {classes.min()} to {classes.max()}; expected 0 to {num_classes - 1}"
        )
    if is_recording():
        columns = keep(np.arange(num_classes, dtype=F64))
        return wrap(in_dtype(_core.eq(in_dtype(classes[..., None], F64), columns, None), I64))
    return wrap((classes[..., None] == np.arange(num_classes)).astype(np.int64))


def _are_inside(classes: np.ndarray[Any, Any], count: int) -> bool:
    if classes.dtype == np.uint64:  # the core reads int64; from 2^63 on it is below 0
        classes = classes.view(np.int64)
    return bool(_core.inside(classes, 0, count - 1))
