"""The errors of operations: of the class that Python's conventions ask for, and PyTorch's RuntimeError."""

from __future__ import annotations

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


_core._set_errors(OpError, DtypeError, OpIndexError)
