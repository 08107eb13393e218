"""torch.testing: comparisons of tensors, arrays and numbers, with PyTorch's tolerances."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import ranvier
from ranvier import Tensor
from ranvier.tensors.memory import Array
from ranvier.tensors.types import TensorLike

# dtype (of complex numbers that of their parts) -> relative and absolute tolerance, as in PyTorch
_TOLERANCES = {
    "bfloat16": (1.6e-2, 1e-5), "float16": (1e-3, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)
}  # fmt: skip

_NUMBERS = ranvier.Tensor, np.ndarray, np.generic, bool, int, float, complex


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Raises AssertionError unless |actual - expected| <= atol + rtol |expected| for all elements.

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
    settings = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan, "check_dtype": check_dtype}
    settings |= {"check_stride": check_stride, "allow_subclasses": allow_subclasses}
    fault = _difference(actual, expected, **settings)
    if fault:
        text = msg(fault) if callable(msg) else msg
        raise AssertionError(fault if text is None else text)


def default_tolerances(*inputs: Any, dtype_precisions: Any = None) -> tuple[float, float]:
    """(rtol, atol) of tensors or dtypes: the largest of each.

    dtype_precisions: (rtol, atol) of dtypes, by the dtype.

    >>> default_tolerances(ranvier.float16, ranvier.float32)
    (0.001, 1e-05)
    """
    known = {str(dtype).rpartition(".")[2]: pair for dtype, pair in (dtype_precisions or _TOLERANCES).items()}
    names = [str(getattr(x, "dtype", x)).rpartition(".")[2] for x in inputs]
    pairs = [known.get(name, (0.0, 0.0)) for name in names]
    return max(rtol for rtol, _ in pairs), max(atol for _, atol in pairs)


def get_tolerances(*inputs: Any, rtol: float | None, atol: float | None, id: Any = ()) -> tuple[float, float]:
    """(rtol, atol) as they are given, or the default tolerances of the inputs.

    >>> get_tolerances(ranvier.ones(2), rtol=None, atol=None)
    (1.3e-06, 1e-05)
    """
    if (rtol is None) != (atol is None):
        raise ValueError("[get_tolerances] got one of rtol and atol; expected both or none")
    if rtol is None or atol is None:
        return default_tolerances(*inputs)
    return rtol, atol


def assert_allclose(actual: Any, expected: Any, rtol: Any = None, atol: Any = None, **settings: Any) -> None:
    """assert_close without the comparison of dtypes."""
    assert_close(actual, expected, rtol=rtol, atol=atol, check_dtype=False, equal_nan=True)


class TestCase(unittest.TestCase):
    """The class of `torch.testing._internal.common_utils`. assertEqual compares tensors, and containers of
    them, as assert_close does, and a tensor also with a number. Other objects are compared by ==.

    >>> TestCase().assertEqual({"step": ranvier.tensor(2.0), "name": "Adam"}, {"step": 2, "name": "Adam"})
    """

    def assertEqual(
        self,
        first: Any,
        second: Any,
        msg: Any = None,
        *,
        atol: float | None = None,
        rtol: float | None = None,
        equal_nan: bool = True,
        exact_dtype: bool = True,
        **settings: Any,
    ) -> None:
        settings = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan, "check_dtype": exact_dtype}
        settings |= {"check_stride": False, "allow_subclasses": True, "relaxed": True}
        fault = _difference(first, second, **settings)
        if not fault:
            return
        if callable(msg):
            raise self.failureException(msg(fault))
        raise self.failureException(msg or fault)


run_tests = unittest.main


def _difference(actual: Any, expected: Any, **settings: Any) -> str:
    """The difference as text; "" for none."""
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
    elif "relaxed" in settings and not all(isinstance(x, _NUMBERS) for x in (actual, expected)):
        if actual == expected:
            return ""
        return f"Object mismatch: {actual} is not equal to {expected}"
    else:
        return _difference_of_arrays(actual, expected, **settings)
    faults = ((key, _difference(a, b, **settings)) for key, a, b in pairs)
    return next((f"{fault} (at item {key!r})" for key, fault in faults if fault), "")


def _is_sequence(x: Tensor) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str)


def _difference_of_arrays(actual: Any, expected: Any, **settings: Any) -> str:
    """The text of the error of assert_close for two tensors, arrays or numbers; "" if they are close."""
    a = actual.detach() if isinstance(actual, ranvier.Tensor) else actual
    b = expected.detach() if isinstance(expected, ranvier.Tensor) else expected
    plain = [isinstance(x, (int, float, bool)) for x in (a, b)]
    if any(plain) != all(plain) and "relaxed" not in settings:
        raise TypeError(f"[assert_close] got {type(a).__name__} and {type(b).__name__}; expected the same")
    if not (settings["allow_subclasses"] or type(a) is type(b)):
        return f"Except for scalars, type equality is required: {type(a)} and {type(b)}"
    x = _as_array(a)
    y = _as_array(b)
    if x.shape != y.shape:
        return f"The values for attribute 'shape' do not match: {x.shape} != {y.shape}."
    if settings["check_dtype"] and x.dtype != y.dtype and not any(plain):
        return f"The values for attribute 'dtype' do not match: {x.dtype} != {y.dtype}."
    if settings["check_stride"] and x.strides != y.strides:
        return f"The values for attribute 'stride()' do not match: {x.strides} != {y.strides}."
    rtol = settings["rtol"]
    atol = settings["atol"]
    if rtol is None:
        rtol, atol = default_tolerances(x.real.dtype, y.real.dtype)
    x = _in_double(x)
    y = _in_double(y)
    close = np.isclose(x, y, rtol, atol, settings["equal_nan"])
    if close.all():
        return ""
    with np.errstate(invalid="ignore"):
        greatest = np.abs(x - y)[~close].max()
    kind = "Scalars" if all(plain) else "Tensor-likes"
    return (
        f"{kind} are not close! {close.size - close.sum()} of {close.size} elements differ, the greatest "
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
