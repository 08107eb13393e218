"""eq, ne, lt, le, gt, ge: comparisons, which give bool tensors and carry no gradient.

A comparison with NaN is false (ne: true). NumPy compares integers and bools.

>>> import ranvier as rv
>>> rv.tensor([1.0, float("nan")]) == float("nan")
tensor([False, False])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.failures import OpError
from ranvier.autograd.memory import in_dtype
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.dtypes import F32, F64, as_operand, compared, result_dtype, unlike
from ranvier.ops.rows import document

__all__ = ["eq", "ge", "gt", "le", "lt", "ne"]
METHODS = __all__


def _compare(
    name: str, core: Callable[..., Any], numpy_function: Callable[..., Any], a: Any, b: Any
) -> Tensor:
    a, b = as_operand(name, a), as_operand(name, b)
    dtype = result_dtype(a, b)  # without it NumPy would compare float32 with int64 in float64
    raw = [in_dtype(x._array, dtype) if isinstance(x, Tensor) else x for x in (a, b)]
    if dtype in (F32, F64) and any(isinstance(x, np.ndarray) for x in raw):
        return wrap(core(*raw, None))
    if (y := compared(core, *raw)) is not None:
        return wrap(y)
    try:
        return by_numpy(numpy_function, *raw)
    except ValueError as error:
        raise OpError(unlike(name, *raw)) from error


def _comparison(name: str, function: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    core = getattr(_core, name)
    known = _core._elementwise(core, function, True)

    def op(input: Any, other: Any) -> Tensor:
        y = known(input, other)
        return _compare(name, core, function, input, other) if y is None else y

    return op


eq, ne = _comparison("eq", np.equal), _comparison("ne", np.not_equal)
lt, le = _comparison("lt", np.less), _comparison("le", np.less_equal)
gt, ge = _comparison("gt", np.greater), _comparison("ge", np.greater_equal)
document(
    globals(),
    """
eq: a == b | [1.0, 2.0], [1.0, 3.0] -> [ True, False]
ne: a != b | [1.0, 2.0], [1.0, 3.0] -> [False,  True]
lt: a < b | [0.2, 0.7], 0.5 -> [ True, False]
le: a <= b | [0.2, 0.5], 0.5 -> [True, True]
gt: a > b | [0.2, 0.7], 0.5 -> [False,  True]
ge: a >= b | [0.5, 0.7], 0.5 -> [True, True]
""",
)
