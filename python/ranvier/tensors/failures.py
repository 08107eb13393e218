"""The classes of errors of operations, and functions that make such errors and read their parts.

Each class is that of Python's conventions (ValueError, TypeError, IndexError), and also RuntimeError, which
PyTorch raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

import ranvier._core as _core

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots


class OpError(RuntimeError, ValueError):
    """Shapes that do not fit, values out of range.

    op, got and expected are the parts of the text ``[op] got x; expected y``. shapes: the shapes of arguments
    by their names, if they are known. remedy: advice that a Trainer has added.
    """

    op = got = expected = remedy = ""
    shapes: ClassVar[Mapping[str, tuple[int, ...]]] = {}


class DtypeError(RuntimeError, TypeError):
    """A dtype that an operation does not take, or dtypes that differ."""

    got = expected = ""


class OpIndexError(OpError, IndexError):
    """An index or a class out of range."""


class SeveralElements(OpError, TypeError):
    """A Tensor has several elements where one number is expected. The class is all three that others raise
    then: RuntimeError and ValueError (PyTorch), and TypeError (NumPy), which matplotlib catches."""


class LinAlgError(OpError, np.linalg.LinAlgError):
    """A matrix is singular or not positive definite, or a problem of linear algebra has no solution.

    >>> import ranvier as rv
    >>> try:
    ...     rv.linalg.inv(rv.zeros(2, 2))
    ... except rv.linalg.LinAlgError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


E = TypeVar("E", bound=Exception)


def failure(kind: type[E], op: str, got: str, expected: str) -> E:
    """An error of an op, with the parts of its text as attributes. The core makes its errors in the same way.

    >>> failure(OpError, "dot", "one vector", "two").expected
    'two'
    """
    error = kind(f"[{op}] got {got}; expected {expected}")
    vars(error).update(op=op, got=got, expected=expected)
    return error


def misfit(op: str, shapes: Mapping[str, tuple[int, ...]], expected: object, more: str = "") -> OpError:
    """The error for shapes that do not fit each other. shapes: by the names of the arguments. more: text
    after the last shape.

    >>> misfit("dot", {"x": (2,), "y": (3,)}, "as many elements")
    OpError('[dot] got x of shape (2,) and y of shape (3,); expected as many elements')
    """
    got = " and ".join(f"{name} of shape {shape}" for name, shape in shapes.items())
    error = failure(OpError, op, got + more, str(expected))
    error.shapes = shapes  # type: ignore[misc]
    return error


def broadcast_of(op: str, **shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that these shapes of arguments broadcast to.

    >>> broadcast_of("add", x=(2, 1), y=(3,))
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise misfit(op, shapes, "shapes that broadcast") from None


def text_of(error: BaseException) -> str:
    """The text of an error; ``str`` of a KeyError has quotes around it."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error)


def op_of(error: BaseException) -> str:
    """The public name in an error of the library, "" of any other: its attribute ``op``.

    An error that was raised with a text alone gets the attributes here.

    >>> op_of(TypeError("[dot] got one vector; expected two")), op_of(TypeError("[1 2] is no number"))
    ('dot', '')
    """
    known: str = vars(error).get("op", "")
    op, found, text = text_of(error).partition("] ")
    if known or op[:1] != "[" or not found or not op[1:].replace(".", "_").isidentifier():
        return known
    got, _, expected = text.removeprefix("got ").partition("; expected ")
    vars(error).update(op=op[1:], got=got, expected=expected)
    return op[1:]


def put_name(error: E, name: str) -> E:
    """The same error of the library, with this op's name in its text and attributes instead of its own."""
    text = f"[{name}] {text_of(error)[len(op_of(error)) + 3 :]}"
    error.__init__(text)  # type: ignore[misc]  # NumPy's AxisError has the text twice
    vars(error).update(op=name)
    vars(error).pop("_message", None)  # the former text, which Module.__call__ keeps
    return error


def require_dtype(
    name: str, what: str, x: TensorSlots | np.ndarray[Any, Any], kinds: str, expected: str
) -> None:
    """Raises TypeError for an array or a Tensor whose dtype is of none of these kinds (NumPy's letters).

    >>> require_dtype("one_hot", "classes", np.zeros(2, int), "iu", "integers")
    """
    array: Any = getattr(x, "_array", x)
    dtype = array.dtype
    if dtype.kind not in kinds:
        raise DtypeError(f"[{name}] got {what} of dtype {dtype}; expected {expected}")


_CLASSES = OpError, DtypeError, OpIndexError, np.exceptions.AxisError, IndexError, TypeError
_core._set_errors(_CLASSES)  # in the order of Fault in errors.h
