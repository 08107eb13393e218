"""Inputs that no call should be given, and what may come of them."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier as rv
from ranvier.autograd import Tensor

Array = np.ndarray[Any, Any]
ERROR_FORMAT = re.compile(r"\[[\w.]+\] (.*got |.*; expected |a leaf Variable)", re.DOTALL)
REFUSALS = (ValueError, TypeError, IndexError, RuntimeError)


def unaligned(x: Array) -> Array:
    """The same values one byte off."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = memory[1:].view(x.dtype).reshape(x.shape) if x.size else x
    view[...] = x
    return view


def swapped(x: Array) -> Array:
    """The same values in the other byte order."""
    return x.astype(x.dtype.newbyteorder())


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def strided(x: Array) -> Array:
    """The same values, every second element of a larger block, backwards in memory."""
    if x.ndim == 0:
        return x
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), x.dtype)
    view = wide[..., : 2 * x.shape[-1] : 2][..., ::-1]
    view[...] = x
    return view


OTHER_DTYPES = "int64 bool complex64 object str float16 longdouble datetime64[s] uint64"
SAME_VALUES: tuple[Callable[[Array], Array], ...] = (unaligned, swapped, read_only, strided)


def wrong_arrays(x: Array) -> list[Any]:
    """x with another dtype, rank, size or value, and things that are no arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong: list[Any] = [x.astype(dtype) for dtype in OTHER_DTYPES.split()]
    wrong += [x[None], x[None, None, None], x.reshape(-1), x.reshape((1,) * (9 - x.ndim) + x.shape)]
    wrong += [x[0], x.reshape(-1)[0].reshape(())] if x.ndim else [x.reshape(1)]
    wrong.append(np.ma.masked_array(x, mask=True))
    for axis, n in enumerate(x.shape):
        wrong.append(np.take(x, range(0), axis))
        wrong.append(np.take(x, [*range(n), 0], axis))
    wrong.append(x.astype("float64" if x.dtype == "float32" else "float32"))
    if x.dtype.kind == "f":
        wrong += [np.full_like(x, value) for value in (np.nan, np.inf, -np.inf, np.finfo(x.dtype).max)]
    elif x.dtype.kind in "iu":
        wrong += [np.full_like(x, value) for value in (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)]
        wrong.append(np.full(x.shape, 2**64 - 1, np.uint64))
    return [*wrong, None, "text", 1.5, 3, 1j, [], [1.0, 2.0], [["a"]], {}, object(), np.float32(2), b"bytes"]


# 2**48 elements are more than any address space; numbers between would be allocated, and touched
WRONG_ATTRIBUTES: tuple[Any, ...] = (
    *(None, -1, 0, 7, -7, 2**48, -(2**48), 2**63, 2**70, 1.5, -0.5, float("nan"), float("inf"), 1j),
    *("foo", "", b"mean", (), (0,), (0, 0), (1, 1), (1, 2, 3), [1], [-1, 1], (0, 99), ("x", "y"), {}),
    *(True, object(), np.array([1, 2]), np.array(1), np.array([]), np.float32(0.5), np.int8(-3)),
)


def never_right(value: Any, right: Any = None, labels: bool = False) -> bool:
    """True if no argument may be this: any result for it is wrong.

    right: a right value of the argument, if known; its type says which others are wrong. A truth value may be
    anything that Python gives one. labels: whether strings are right as labels of classes.
    """
    if isinstance(right, bool):
        return False
    if right is not None and _never_beside(value, right):
        return True
    if isinstance(value, np.ma.MaskedArray):
        return True  # nothing here would respect the mask
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "cMmV" or (value.dtype.kind in "OSU" and not labels)
    if isinstance(value, bytes):
        return not labels
    return isinstance(value, complex) or type(value) is object or value in ("text", "foo", [["a"]])


def _never_beside(value: Any, right: Any) -> bool:
    """True if an argument with this right value may never be that one: another type, or a fraction."""
    if isinstance(right, str):
        return not isinstance(value, (str, type(None)))
    if isinstance(value, (str, bytes, dict)):
        return isinstance(right, (int, float, tuple))
    fraction = isinstance(value, (float, np.floating)) and not float(value).is_integer()
    if isinstance(right, float):
        return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)
    return isinstance(right, (int, tuple)) and fraction


def attempt(call: Callable[[], Any], what: str, standard: bool = True, never: bool = False) -> Any:
    """The result, or None where the call was refused in the standard error format; fails on any other end.

    never: whether the call was given what is never right; then a result is a failure, too.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, on integers and halves
            result = call()
        assert not never, f"{what} was accepted: {describe(result)}"
        return result
    except MemoryError:
        return None
    except REFUSALS as error:
        if standard and not ERROR_FORMAT.match(str(error)):
            raise AssertionError(f"{what}: {type(error).__name__}: {str(error)[:300]}") from error
        return None
    except Exception as error:
        if isinstance(error, DeprecationWarning) and "truth value of an empty array" in str(error):
            return None  # NumPy before 2.2; later ones raise ValueError
        raise AssertionError(f"{what}: {type(error).__name__}: {str(error)[:300]}") from error


def describe(value: Any) -> str:
    if isinstance(value, (np.ndarray, Tensor)):
        array = value._array if isinstance(value, Tensor) else value
        return f"{type(value).__name__} {array.dtype} {array.shape}"
    return repr(value)[:60]


def flat(result: Any) -> list[Array]:
    """The arrays of a result."""
    if isinstance(result, Tensor):
        return [result._array]
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in flat(part)]
    return [] if result is None else [np.asarray(result)]


def leaf(x: Any) -> Any:
    """A floating array as a Tensor that requires a gradient, also inside a list; anything else as it is."""
    if isinstance(x, list):
        return [leaf(part) for part in x]
    if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64):
        return rv.from_numpy(x).requires_grad_()
    return x


def sent_back(result: Any) -> Any:
    """The result of an op, after gradients of ones have gone back through it."""
    for y in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(y, Tensor) and y.requires_grad:
            y.backward(rv.ones_like(y.detach()), retain_graph=True)
    return result
