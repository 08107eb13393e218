"""The errors of operations: of the class that Python's conventions ask for, and PyTorch's RuntimeError."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core


class OpError(RuntimeError, ValueError):
    """Shapes that do not fit, values out of range."""


class DtypeError(RuntimeError, TypeError):
    """A dtype that an operation does not take, or dtypes that differ."""


class OpIndexError(OpError, IndexError):
    """An index or a class out of range."""


class SeveralElements(OpError, TypeError):
    """A Tensor is not one number: PyTorch raises RuntimeError or ValueError, NumPy TypeError, which
    matplotlib catches."""


class LinAlgError(OpError, np.linalg.LinAlgError):
    """A matrix that is singular, or not positive definite, and what else has no solution.

    >>> import ranvier as rv
    >>> try:
    ...     rv.linalg.inv(rv.zeros(2, 2))
    ... except rv.linalg.LinAlgError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


def require_dtype(name: str, what: str, x: Any, kinds: str, expected: str) -> None:
    """Raises TypeError for an array or a Tensor whose dtype is of none of these kinds (NumPy's letters).

    >>> require_dtype("one_hot", "classes", np.zeros(2, int), "iu", "integers")
    """
    dtype = getattr(x, "_array", x).dtype
    if dtype.kind not in kinds:
        raise DtypeError(f"[{name}] got {what} of dtype {dtype}; expected {expected}")


_core._set_errors(OpError, DtypeError, OpIndexError)
