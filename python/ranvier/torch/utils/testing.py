"""torch.testing: comparisons of tensors, arrays and numbers, with PyTorch's tolerances."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import ranvier
from ranvier import Tensor
from ranvier.tensors.memory import Array
from ranvier.tensors.types import TensorLike

# dtype (of complex numbers that of their parts) -> relative and absolute tolerance, as in PyTorch
_TOLERANCES: dict[Any, tuple[float, float]] = {
    "bfloat16": (1.6e-2, 1e-5), "float16": (1e-3, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)
}  # fmt: skip

_NUMBERS = (ranvier.Tensor, np.ndarray, np.generic, bool, int, float, complex)

Message: TypeAlias = str | Callable[[str], str] | None
"""What an error says: a text, a function of the usual text, or None for the usual text."""


@dataclass
class _Comparison:
    """How values are compared; the fields are arguments of `assert_close`."""

    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_dtype: bool
    check_stride: bool = False
    allow_subclasses: bool = True
    is_relaxed: bool = False  # for assertEqual: a tensor may equal a number, and other objects are compared


def assert_close(
    actual: object,
    expected: object,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| for all elements.

    The tolerances follow from the dtypes if both are left out: 1.3e-6 and 1e-5 for float32, 1e-7 for float64,
    0 for integers. Sequences and mappings are compared by their items.

    >>> import ranvier as rv
    >>> assert_close(rv.ones(2), rv.ones(2) + 1e-7)
    >>> assert_close(1, 2, msg="another number")
    Traceback (most recent call last):
    AssertionError: another number
    """
    if (rtol is None) != (atol is None):
        raise ValueError("[assert_close] got one of rtol and atol; expected both or none")
    comparison = _Comparison(rtol, atol, equal_nan, check_dtype, check_stride, allow_subclasses)
    fault = _find_difference(actual, expected, comparison)
    if not fault:
        return
    text = msg(fault) if callable(msg) else msg
    if text is None:
        text = fault
    raise AssertionError(text)


def default_tolerances(
    *inputs: TensorLike | ranvier.dtype | np.dtype[Any],
    dtype_precisions: Mapping[Any, tuple[float, float]] | None = None,
) -> tuple[float, float]:
    """(rtol, atol) of tensors or dtypes: the largest of each.

    dtype_precisions: (rtol, atol) of dtypes, by the dtype.

    >>> default_tolerances(ranvier.float16, ranvier.float32)
    (0.001, 1e-05)
    """
    tolerances = dtype_precisions or _TOLERANCES
    by_name = {_dtype_name(dtype): pair for dtype, pair in tolerances.items()}
    pairs = [by_name.get(_dtype_name(getattr(x, "dtype", x)), (0.0, 0.0)) for x in inputs]
    rtol = max(rtol for rtol, _ in pairs)
    atol = max(atol for _, atol in pairs)
    return rtol, atol


def _dtype_name(dtype: object) -> str:
    """The name of a dtype without its module: "float32" for torch.float32."""
    return str(dtype).rpartition(".")[2]


def get_tolerances(
    *inputs: TensorLike | ranvier.dtype | np.dtype[Any],
    rtol: float | None,
    atol: float | None,
    id: tuple[Any, ...] = (),
) -> tuple[float, float]:
    """(rtol, atol) as the arguments say, or the default tolerances of the inputs.

    >>> get_tolerances(ranvier.ones(2), rtol=None, atol=None)
    (1.3e-06, 1e-05)
    """
    if (rtol is None) != (atol is None):
        raise ValueError("[get_tolerances] got one of rtol and atol; expected both or none")
    if rtol is None or atol is None:
        return default_tolerances(*inputs)
    return rtol, atol


def assert_allclose(
    actual: object,
    expected: object,
    rtol: float | None = None,
    atol: float | None = None,
    **settings: Any,
) -> None:
    """assert_close without the comparison of dtypes."""
    assert_close(actual, expected, rtol=rtol, atol=atol, check_dtype=False, equal_nan=True)


class TestCase(unittest.TestCase):
    """The class of `torch.testing._internal.common_utils`.

    assertEqual compares tensors, and containers of them, as assert_close does, and a tensor also with a
    number. Other objects are compared by ==.

    >>> TestCase().assertEqual({"step": ranvier.tensor(2.0), "name": "Adam"}, {"step": 2, "name": "Adam"})
    """

    def assertEqual(
        self,
        first: object,
        second: object,
        msg: Message = None,
        *,
        atol: float | None = None,
        rtol: float | None = None,
        equal_nan: bool = True,
        exact_dtype: bool = True,
        **settings: Any,
    ) -> None:
        comparison = _Comparison(rtol, atol, equal_nan, exact_dtype, is_relaxed=True)
        fault = _find_difference(first, second, comparison)
        if not fault:
            return
        if callable(msg):
            raise self.failureException(msg(fault))
        raise self.failureException(msg or fault)


run_tests = unittest.main


def _find_difference(actual: Any, expected: Any, comparison: _Comparison) -> str:
    """The difference of two objects as text, "" for none; sequences and mappings are compared by items."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            return f"The keys of the mappings do not match: {sorted(actual)} and {sorted(expected)}"
        pairs = [(key, actual[key], expected[key]) for key in actual]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
        pairs = [(i, *pair) for i, pair in enumerate(zip(actual, expected, strict=True))]
    elif actual is None or expected is None:
        if actual is expected:
            return ""
        return f"None mismatch: {actual} is not {expected}"
    elif comparison.is_relaxed and not (isinstance(actual, _NUMBERS) and isinstance(expected, _NUMBERS)):
        if actual == expected:
            return ""
        return f"Object mismatch: {actual} is not equal to {expected}"
    else:
        return _find_difference_of_arrays(actual, expected, comparison)
    for key, a, b in pairs:
        fault = _find_difference(a, b, comparison)
        if fault:
            return f"{fault} (at item {key!r})"
    return ""


def _is_sequence(x: object) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str)


def _find_difference_of_arrays(a: TensorLike, b: TensorLike, comparison: _Comparison) -> str:
    """The text of the error of assert_close for two tensors, arrays or numbers; "" if they are close."""
    if isinstance(a, Tensor):
        a = a.detach()
    if isinstance(b, Tensor):
        b = b.detach()
    a_is_number = isinstance(a, (int, float, bool))
    b_is_number = isinstance(b, (int, float, bool))
    if a_is_number != b_is_number and not comparison.is_relaxed:
        raise TypeError(f"[assert_close] got {type(a).__name__} and {type(b).__name__}; expected the same")
    if not (comparison.allow_subclasses or type(a) is type(b)):
        return f"Except for scalars, type equality is required: {type(a)} and {type(b)}"
    x = _as_array(a)
    y = _as_array(b)
    if x.shape != y.shape:
        return f"The values for attribute 'shape' do not match: {x.shape} != {y.shape}."
    if comparison.check_dtype and x.dtype != y.dtype and not (a_is_number or b_is_number):
        return f"The values for attribute 'dtype' do not match: {x.dtype} != {y.dtype}."
    if comparison.check_stride and x.strides != y.strides:
        return f"The values for attribute 'stride()' do not match: {x.strides} != {y.strides}."
    rtol = comparison.rtol
    atol = comparison.atol
    if rtol is None or atol is None:
        rtol, atol = default_tolerances(x.real.dtype, y.real.dtype)
    x = _in_double(x)
    y = _in_double(y)
    close = np.isclose(x, y, rtol, atol, comparison.equal_nan)
    if close.all():
        return ""
    with np.errstate(invalid="ignore"):
        greatest = np.abs(x - y)[~close].max()
    values = "Scalars" if a_is_number and b_is_number else "Tensor-likes"
    return (
        f"{values} are not close! {close.size - close.sum()} of {close.size} elements differ, the greatest "
        f"difference is {greatest} (allowed: {atol} + {rtol} |expected|)"
    )


def _as_array(x: TensorLike) -> Array:
    if isinstance(x, ranvier.Tensor):
        return np.asarray(x._array)
    return np.asarray(x)


def _in_double(array: Array) -> Array:
    """The numbers in float64 or complex128, in which the differences are computed."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    return array.astype(np.float64)
