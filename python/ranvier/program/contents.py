"""What built-in containers hold, and which kinds of objects cannot be inspected: see `guards.py`."""

from __future__ import annotations

import array
import collections
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.program.objects import pairs_of, with_article

Compared = list[tuple[Callable[[], Any], str]]
Parts = list[tuple[Any, str]]

_VIEWS: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()))
# Kinds made in C whose contents are compared here, that never change, or that are pure functions.
_KNOWN = frozenset(
    {
        "builtins", "types", "typing", "collections", "functools", "operator", "array", "decimal", "datetime",
        "re", "enum", "_thread", "weakref", "_json",
    }
)  # fmt: skip
_IN_C = (
    "__call__", "__getitem__", "__iter__", "__len__", "__contains__", "__bool__", "__int__", "__float__",
    "__index__", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__lt__",
)  # fmt: skip
_CYTHON = ("cython_function_or_method", "fused_cython_function")


def compared(x: Any) -> Compared:
    """Functions whose results are compared before each replay, with what they give, in words."""
    kind = type(x)  # not isinstance, which an object can influence
    if issubclass(kind, functools.partial):
        return [(functools.partial(_parts_of_partial, x), "the contents")]
    if issubclass(kind, set):
        return [(functools.partial(_items_of_set, x), "the contents")]
    if issubclass(kind, collections.deque) or (issubclass(kind, list) and kind is not list):
        return [(functools.partial(tuple, x), "the contents")]
    if issubclass(kind, collections.OrderedDict):  # its order is not that of the dict
        return [(functools.partial(tuple, x), "the order")]
    if issubclass(kind, (bytearray, memoryview)):
        return [(functools.partial(bytes, x), "the contents")]
    if issubclass(kind, types.MappingProxyType):
        return [(functools.partial(pairs_of, x), "the contents")]
    if issubclass(kind, array.array):
        return [(x.tobytes, "the contents")]
    return []


def parts(x: Any) -> Parts:
    """What x leads to, with a form for the name of each."""
    kind = type(x)
    if issubclass(kind, (staticmethod, classmethod)):
        return [(x.__func__, "{}")]
    if issubclass(kind, property):
        return [(f, "{}") for f in (x.fget, x.fset) if f is not None]
    if issubclass(kind, functools.partial):
        return [(x.func, "{}"), (x.args, "{}"), (x.keywords, "{}")]
    if issubclass(kind, (dict, types.MappingProxyType)):
        pairs = pairs_of(x)
        found: Parts = [(key, "a key of {}") for key in pairs[::2]]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            found.append((value, f"{{}}[{_escaped(key)}]"))
        return found
    if issubclass(kind, _VIEWS):
        return [(x.mapping, "{}")]
    if issubclass(kind, (list, tuple, collections.deque)):
        return [(item, f"{{}}[{i}]") for i, item in enumerate(x)]
    if issubclass(kind, (set, frozenset)):
        return [(item, "an item of {}") for item in x]
    return []


def _escaped(key: Any) -> str:
    return repr(key).replace("{", "{{").replace("}", "}}")


def unknown(x: Any, text: str, names: set[str]) -> str:
    """Why x cannot be guarded, or "": its class is made in C, so that its state and calls cannot be seen."""
    for base in type(x).__mro__:
        module = str(base.__module__)
        if module in _KNOWN or module.split(".")[0] in ("numpy", "ranvier"):
            continue
        own = vars(base)
        in_c = next((name for name in _IN_C if _is_own_wrapper(own.get(name), base)), "")
        cython = next((name for name in names & own.keys() if type(own[name]).__name__ in _CYTHON), "")
        if in_c or cython:
            return (
                f"the step depends on {text}, {with_article(type(x).__name__)}, which is made in C, so that "
                "its state and its calls cannot be seen; use it outside the step and pass what it gives as "
                "an argument"
            )
    return ""


def _is_own_wrapper(value: Any, kind: type) -> bool:
    return isinstance(value, types.WrapperDescriptorType) and value.__objclass__ is kind


def _parts_of_partial(x: functools.partial[Any]) -> tuple[Any, ...]:
    return x.func, x.args, tuple(x.keywords.items())


def _items_of_set(x: set[Any]) -> tuple[Any, ...]:
    return tuple(x)


# --- settings of the interpreter and of NumPy that arithmetic and texts depend on
def is_decimal(kind: type) -> bool:
    """Whether a class is decimal.Decimal, or made from it: its arithmetic reads the thread's context."""
    return any(base.__module__ in ("decimal", "_pydecimal") for base in kind.__mro__)


def decimal_context() -> tuple[Any, ...]:
    """All that the thread's decimal context decides."""
    context = sys.modules["decimal"].getcontext()
    traps = tuple(bool(on) for on in context.traps.values())
    return (
        context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps,
    )  # fmt: skip


# By the file of NumPy whose functions the step has entered.
NUMPY_SETTINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "_ufunc_config.py": (lambda: (*np.geterr().values(), np.getbufsize()), "np.geterr()"),
    "arrayprint.py": (lambda: tuple(np.get_printoptions().values()), "np.get_printoptions()"),
}


def _error_handling() -> Callable[[], Any]:
    """What tells in tens of nanoseconds whether np.seterr or np.errstate has been used."""
    umath = sys.modules.get("numpy._core.umath")
    variable = getattr(umath, "_extobj_contextvar", None)  # which gets a new value each time
    return variable.get if variable is not None else lambda: tuple(np.geterr().values())


error_handling = _error_handling()


def layout_of(x: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """What can change of an array besides its elements."""
    return x.strides, x.flags.num
