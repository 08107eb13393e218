"""The errors of operations: of the class that Python's conventions ask for, and PyTorch's RuntimeError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core


class OpError(RuntimeError, ValueError):
    """Shapes that do not fit, values out of range.

    Of an error that :func:`misfit` made, the attributes are the parts of its text. A Trainer adds a remedy,
    which it makes of them.
    """

    op = expected = remedy = ""
    got: ClassVar[Mapping[str, tuple[int, ...]]] = {}


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


def misfit(op: str, got: Mapping[str, tuple[int, ...]], expected: str) -> OpError:
    """The error for shapes, those of arguments by their names, that do not fit.

    >>> misfit("dot", {"x": (2,), "y": (3,)}, "as many elements")
    OpError('[dot] got x of shape (2,) and y of shape (3,); expected as many elements')
    """
    shapes = " and ".join(f"{name} of shape {shape}" for name, shape in got.items())
    error = OpError(f"[{op}] got {shapes}; expected {expected}")
    vars(error).update(op=op, got=got, expected=expected)
    return error


def require_dtype(name: str, what: str, x: Any, kinds: str, expected: str) -> None:
    """Raises TypeError for an array or a Tensor whose dtype is of none of these kinds (NumPy's letters).

    >>> require_dtype("one_hot", "classes", np.zeros(2, int), "iu", "integers")
    """
    dtype = getattr(x, "_array", x).dtype
    if dtype.kind not in kinds:
        raise DtypeError(f"[{name}] got {what} of dtype {dtype}; expected {expected}")


_core._set_errors(OpError, DtypeError, OpIndexError)
