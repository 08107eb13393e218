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
from ranvier.ops.elementwise.dtypes import F64, Array
from ranvier.ops.elementwise.row import Row, binary
from ranvier.ops.rows import document
from ranvier.tape.function import OWN
from ranvier.tensors.memory import HALVES, in_dtype, keep, number_in
from ranvier.tensors.tensor import Tensor


def _number(name: str, x: Any, dtype: np.dtype[Any]) -> Any:
    """The number; rounded to a half float, since NumPy takes one beside bfloat16 for float16."""
    if dtype not in HALVES:
        return x
    with np.errstate(all="ignore"):
        return keep(np.array(number_in(name, x, dtype), dtype))


def _comparison(name: str, function: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    kernel = getattr(_core, name)

    def of_integers(a: Any, b: Any) -> Array | None:
        """Those beside a Python int that float64 holds: the kernel finds the result without rounding."""
        exact = type(b) is int and abs(b) < 2**53 and isinstance(a, np.ndarray)
        return kernel(in_dtype(a, F64), float(b), None) if exact else None

    return binary(Row(name, None, kernel, function, dtypes=OWN, number=_number, instead=of_integers))


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
