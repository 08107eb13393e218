"""The row of an element-wise op, and the one way from operands to its result.

Most calls are answered in the core (`bindings/tape/untaped.cpp`): float32 and float64 by the row's kernel,
other dtypes by the inner loop of a ufunc of NumPy, and by the node where a gradient is needed. `compute` does
the rest: other objects, operands of several dtypes, half floats, what a recorded step has to see, all errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
import ranvier.ops.rules as rules
from ranvier.observe import computed, is_recording, observers
from ranvier.ops.elementwise.dtypes import (
    F32,
    F64,
    Array,
    as_number,
    as_operand,
    cast,
    of_right_side,
    result_dtype,
    unlike,
)
from ranvier.tape.function import Dtypes, Function, rounded
from ranvier.tensors.dtypes import default
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import HALVES, in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy, wrap

FLOATS, KEPT = Dtypes(integers="floats"), Dtypes()
DIVIDES = ("floor_divide", "remainder", "fmod")  # integers: by 0 is an error


class Row(NamedTuple):
    """What computes an op; it is named in errors.

    node: makes the Function of float32 and float64, with_number and of_number those of f(x, 2.0) and
    f(2.0, x). Without a node the result has no gradient. kernel: computes floats where no gradient is needed.
    numpy: NumPy's function of other dtypes; if it is a ufunc, the core runs its inner loops, else those of
    `ufunc`, if there is one.
    dtypes: of the op; halves that are not "own" are computed in float32.
    check(name, dtype, *operands): raises for a common dtype that the op lacks.
    number(name, x, dtype): what `numpy` gets for a number.
    instead(*operands): what a recorded step computes by kernels in place of `numpy`, or None.
    """

    name: str
    node: Callable[[], Function] | None = None
    kernel: Any = None
    numpy: Any = None
    with_number: Callable[[float], Function] | None = None
    of_number: Callable[[float], Function] | None = None
    ufunc: Any = None
    dtypes: Dtypes = KEPT
    check: Callable[..., None] | None = None
    number: Callable[[str, Any, np.dtype[Any]], Any] = as_number
    instead: Callable[..., Array | None] | None = None


ROWS: dict[str, Row] = {}
"""The rows by the names of their ops."""


def ufunc_of(row: Row) -> Any:
    """The ufunc whose inner loops compute dtypes without a kernel as they are; None: there is none."""
    keeps = row.dtypes.integers == "kept"
    return row.numpy if isinstance(row.numpy, np.ufunc) and keeps else row.ufunc


def elementwise(row: Row) -> Callable[..., Tensor]:
    """The function of a row."""
    ROWS.setdefault(row.name, row)
    kernels = row.kernel, ufunc_of(row), row.node is None, row.name in DIVIDES
    nodes = row.node, row.with_number, row.of_number
    return _core._elementwise(partial(compute, row), *kernels, *nodes, row.name)


def unary(row: Row) -> Callable[[Any], Tensor]:
    """The public function of a row of one operand; `document` (ops/rows.py) writes its docstring."""
    computed = elementwise(row)

    def op(input: Any) -> Tensor:
        return computed(input)

    return op


def binary(row: Row) -> Callable[[Any, Any], Tensor]:
    """The public function of a row of two operands."""
    computed = elementwise(row)

    def op(input: Any, other: Any) -> Tensor:
        return computed(input, other)

    return op


def of_kernel(
    kernel: Any, gradient: Any = None, *, numpy: Any = None, ufunc: Any = None, **settings: Any
) -> Callable[[Any], Tensor]:
    """The public function y = f(x) of a kernel: gradient and settings as in `row` of ops/rules.py.

    numpy: the function of integers and bools, which stay as they are; without it they are computed in floats.
    """
    node = rules.row(kernel, gradient, **settings)
    dtypes = FLOATS if numpy is None else KEPT
    return unary(Row(kernel.__name__, node, kernel, numpy, ufunc=ufunc, dtypes=dtypes))


def compute(row: Row, *given: Any) -> Tensor:
    y = _result(row, *given)
    if not observers:
        return y
    return computed(row.numpy.__name__ if row.name == "clip" else row.name, given, y)


def _result(row: Row, *given: Any) -> Tensor:
    """The op of Tensors, arrays and numbers, which broadcast, by PyTorch's promotion of dtypes."""
    try:
        operands = [as_operand(row.name, x) for x in given]
    except TypeError:
        if len(given) == 2 and (answer := of_right_side(row.name, *given)) is not NotImplemented:
            return answer
        raise
    dtype = result_dtype(*operands)
    if row.dtypes.integers == "floats" and dtype.kind in "biu":
        dtype = default.dtype
    if dtype in HALVES and row.dtypes.halves != "own":
        operands = [x.to(dtype) if isinstance(x, Tensor) and x.ndim else x for x in operands]
        wide = [cast(x, F32) if isinstance(x, Tensor) else x for x in operands]
        if not any(isinstance(x, Tensor) for x in wide):
            wide[0] = cast(wide[0], F32)
        return rounded(_result(row, *wide), dtype)  # a number may be beyond the range of halves
    if dtype.kind == "f" and row.node is not None:
        return row.node().apply(*(cast(x, dtype) for x in operands))
    if dtype in (F32, F64) and row.kernel is not None and any(isinstance(x, Tensor) for x in operands):
        return wrap(row.kernel(*(_raw(row, x, dtype) for x in operands), None))
    if row.check is not None:
        row.check(row.name, dtype, *operands)
    raw = [_raw(row, x, dtype) for x in operands]
    if row.instead is not None and is_recording() and (y := row.instead(*raw)) is not None:
        return wrap(y)
    return by_numpy(_values, row, dtype, *raw)


def _raw(row: Row, x: Any, dtype: np.dtype[Any]) -> Any:
    """The operand of NumPy's function."""
    return in_dtype(x._array, dtype) if isinstance(x, Tensor) else row.number(row.name, x, dtype)


def _values(row: Row, dtype: np.dtype[Any], *raw: Any) -> Array:
    if row.name in DIVIDES and dtype.kind in "iu" and not np.all(raw[1]):
        raise OpError(f"[{row.name}] got integers divided by 0; expected other divisors")
    try:
        with np.errstate(all="ignore"):
            return np.asarray(row.numpy(*raw))
    except ValueError as error:
        raise OpError(unlike(row.name, *raw)) from error
