"""Errors of public functions under their own names, whatever they call; checks of arguments."""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial, wraps
from inspect import signature, unwrap
from numbers import Real
from types import FunctionType, MappingProxyType
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np

from ranvier.tensors.data import refuse_torch
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.failures import OpError, OpIndexError

F = TypeVar("F", bound=Callable[..., Any])
_NAMED = re.compile(r"\[\w+(\.\w+)*\] ")
# These functions call the ops of a step, and may refuse one of them. An error then keeps their name.
_AROUND = tuple(f"[{name}] " for name in ("compile", "jet", "jvp", "laplacian", "vmap"))
_LIBRARY = frozenset({"ranvier", "numpy", "matplotlib", *sys.stdlib_module_names})
_PASSED_ON = (NotImplementedError, RecursionError, OSError, ImportError, Warning, StopIteration)


class TooLarge(MemoryError, OpError):
    """The error for sizes whose result does not fit in memory."""


def own_errors(module: dict[str, Any], names: Iterable[str], left_out: str = "") -> None:
    """Errors of these functions and constructors of a module begin with their names. Functions of other
    modules are replaced there, too: pickles look for them in these.

    left_out: functions of about one microsecond, and what names itself.

    >>> def half(x): return 1 / x
    >>> half.__module__ = "maths"
    >>> module = {"__name__": "maths", "half": half}
    >>> own_errors(module, ["half"]); module["half"]("2")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: [half] got x = '2'; expected arguments as in half(x) that it can work with (TypeError: ...)
    """
    here, skipped = module["__name__"], left_out.split()
    public = [module.get(name) for name in names if name[0] != "_"]
    wrapped = {
        f: own_error(f)
        for f in public
        if isinstance(f, FunctionType)
        and f.__name__ not in skipped
        and f.__code__.co_filename != __file__  # it has its name already
    }
    for space in (module, *(vars(sys.modules[home]) for home in {f.__module__ for f in wrapped} - {here})):
        own = {name: f for name, f in space.items() if isinstance(f, FunctionType)}
        space.update({name: wrapped[f] for name, f in own.items() if f in wrapped})
    for value in public:
        if isinstance(value, type) and "__init__" in vars(value) and value.__name__ not in skipped:
            own_methods(value, "__init__")


def own_methods(cls: Any, methods: str) -> None:
    """Errors of these methods of a public class of the library begin with its name."""
    if cls.__module__.startswith("ranvier.") and cls.__name__[0] != "_":
        for method in methods.split():
            function = getattr(cls, method)
            setattr(cls, method, own_error(getattr(function, "__wrapped__", function), cls.__name__))


def named(function: Any, name: str, about: str) -> Any:
    """The function, under this name and with this description."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = about
    return function


def errors_named(name: str) -> Callable[[F], F]:
    """A decorator: :func:`own_error` with this name."""
    return partial(own_error, name=name)


def own_error(function: F, name: str = "") -> F:
    """The function, whose flags are checked and whose errors begin with its name: one of a function that it
    calls gets this name, one of Python or NumPy becomes a sentence on the arguments, with the cause."""
    name = name or function.__name__
    flags = _flags(function)

    @wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        for place, key, default in flags:
            value = args[place] if place < len(args) else settings.get(key, default)
            if value is not True and value is not False and value is not default:
                flag(name, key, value)
        try:
            return function(*args, **settings)
        except Exception as error:
            if error.__traceback__.tb_next is None:  # type: ignore[union-attr]
                raise  # arguments that do not fit the signature: Python names the function
            better = renamed(error, name, function, args, settings)
            if better is error:
                raise
            raise better from None

    return call  # type: ignore[return-value]


def _flags(function: Any) -> list[tuple[int, str, bool | None]]:
    """Of each parameter of type bool: its place, one that no argument has where it takes a name; its name;
    None where that is allowed, or False."""
    code = getattr(unwrap(function), "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    return [
        (names.index(key) if key in names else sys.maxsize, key, None if kind == "bool | None" else False)
        for key, kind in getattr(function, "__annotations__", {}).items()
        if kind in ("bool", "bool | None") and key != "return"
    ]


def renamed(
    error: Exception, name: str, function: Any = None, args: Any = (), settings: Any = MappingProxyType({})
) -> Exception:
    """The error to raise for one within a call of this name: with the name, and of Python or NumPy a new one.

    In a handler it costs calls that succeed nothing. An error within code of the user stays as it is.
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, _PASSED_ON) or text.startswith((f"[{name}] ", *_AROUND)) or _of_users(error):
        return error
    if isinstance(error, MemoryError) and not text.startswith("["):
        given = _sentence(name, function, args, settings).partition(";")[0]
        return TooLarge(f"[{name}] {given}; expected a result that fits in memory")
    if named := _NAMED.match(text):
        own = named[0][1:-2].rpartition(".")[2]
        # The error has the name already: that of the class (MSELoss for mse_loss), or one with a module. The
        # names of operations in place differ by their last underscore.
        if own.replace("_", "").lower() == name.replace("_", "").lower() and own[-1] != "_" != name[-1]:
            return error
        kind, text = type(error), text[named.end() :]
    else:
        several = "ambiguous" in text  # several elements where True or False is expected
        kind = OpIndexError if isinstance(error, IndexError) else OpError
        kind = TypeError if several or isinstance(error, (TypeError, AttributeError)) else kind
        cause = f"{type(error).__name__}: {str(error)[:300]}".removesuffix(": ")
        try:
            text = f"{_sentence(name, function, args, settings)} ({cause})"
        except TypeError as refused:
            return refused
    return kind(f"[{name}] {text}").with_traceback(error.__traceback__)


def _of_users(error: Exception) -> bool:
    at = error.__traceback__
    while at and at.tb_frame.f_globals.get("__name__", "ranvier").partition(".")[0] in _LIBRARY:
        at = at.tb_next
    return at is not None


def no_dim(name: str, dim: Any, ndim: int, error: Exception) -> Exception:
    """The error for a dimension that a tensor lacks: an IndexError, or a TypeError where it is no number."""
    kind = IndexError if isinstance(error, IndexError) else TypeError
    limits = f"a whole number from {-ndim} to {ndim - 1}"
    return kind(f"[{name}] got dim {dim!r} for {ndim} dimensions; expected {limits}")


def _sentence(name: str, function: Any, args: Any, settings: Any) -> str:
    if function is None:
        return "got arguments that do not fit; expected those of its documentation"
    given = signature(function).bind(*args, **settings)
    shown = ", ".join(f"{key} = {_shown(value)}" for key, value in given.arguments.items() if key != "self")
    names = ", ".join(key for key in given.signature.parameters if key != "self")
    for key, value in given.arguments.items():
        if type(value) is DType and not hasattr(value, "dtype"):
            return f"got {value}; expected a dtype that NumPy has, such as float32 or float16"
        for part in (value, *(value if isinstance(value, (list, tuple)) else ())):
            refuse_torch(name, key, part)
    return f"got {shown or 'no arguments'}; expected arguments as in {name}({names}) that it can work with"


def number(
    name: str, key: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> float:
    """The value of a number, or of a Tensor or an array of one number.

    Raises TypeError for anything else, ValueError unless low <= value <= high, with `above` low < value.

    >>> number("op", "eps", 2), number("op", "p", "2")
    Traceback (most recent call last):
    TypeError: [op] got p '2'; expected a number
    """
    if type(value) is not float and not isinstance(value, Real):
        kind = getattr(getattr(value, "dtype", None), "kind", "O")
        if kind not in "biuf" or not hasattr(value, "item"):
            raise TypeError(f"[{name}] got {key} {_shown(value)}; expected a number")
        if math.prod(value.shape) != 1:
            raise ValueError(f"[{name}] got {key} {_shown(value)}; expected one number")
        value = value.item()
    if low <= value <= high and not (above and value == low):
        return value
    if high < math.inf:
        limits = f"{low:g} {'<' if above else '<='} {key} <= {high:g}"
    elif low > -math.inf:
        limits = f"{'above' if above else 'at least'} {low:g}"
    else:
        limits = "a number, not nan"
    raise OpError(f"[{name}] got {key} {value}; expected {limits}")


def truth(name: str, key: str, value: Any) -> bool:
    """Whether a value counts as true; TypeError for one that does not, such as a Tensor of several elements.

    >>> truth("op", "keepdim", None)
    False
    """
    try:
        return bool(value)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"[{name}] got {key} {_shown(value)}; expected True or False") from None


def index(value: Any) -> int:
    """``operator.index``; a bool, which a program means as a flag, raises TypeError, as in PyTorch.

    >>> index(2)
    2
    """
    if isinstance(value, bool):
        raise TypeError("a bool is no number of a dimension")
    return operator.index(value)


def whole(name: str, key: str, value: Any) -> int:
    """The value of a whole number, or of a Tensor of one. Raises TypeError for anything else.

    >>> whole("op", "dim", -1)
    -1
    """
    if type(value) is int:
        return value
    try:
        if getattr(getattr(value, "dtype", None), "kind", "") != "b":
            return index(value)
    except TypeError:
        pass
    raise TypeError(f"[{name}] got {key} {value!r}; expected a whole number")


def flag(name: str, key: str, value: Any) -> bool:
    """The value of a flag. Raises TypeError for anything else, numbers too, as in PyTorch.

    >>> flag("op", "keepdim", "no")
    Traceback (most recent call last):
    TypeError: [op] got keepdim 'no'; expected True or False
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"[{name}] got {key} {value!r}; expected True or False")


def count(name: str, key: str, value: Any, least: int = 1, most: int = 2**48) -> int:
    """The same, from least to most, or a ValueError.

    >>> count("op", "size", 0)
    Traceback (most recent call last):
    ranvier.tensors.failures.OpError: [op] got size 0; expected at least 1
    """
    value = whole(name, key, value)
    if least <= value <= most:
        return value
    limits = f"at least {least}" if value < least else f"at most {most}"
    raise OpError(f"[{name}] got {key} {value}; expected {limits}")


def one_of(name: str, key: str, value: Any, allowed: Iterable[Any]) -> Any:
    """The value, a string or None, if it is allowed, or a ValueError.

    >>> one_of("op", "mode", "mid", ("min", "max"))
    Traceback (most recent call last):
    ranvier.tensors.failures.OpError: [op] got mode 'mid'; expected 'min' or 'max'
    """
    if any(value is x or (isinstance(value, str) and value == x) for x in allowed):
        return value
    *others, last = map(repr, allowed)
    raise OpError(f"[{name}] got {key} {value!r}; expected {', '.join(others)} or {last}")


def ordered(name: str, values: Iterable[Any], what: str = "parameters") -> list[Any]:
    """The values as a list. Raises TypeError for a set: its order differs from run to run.

    >>> ordered("SGD", {1})
    Traceback (most recent call last):
    TypeError: [SGD] got a set of parameters, which has no order; expected a list
    """
    if isinstance(values, (set, frozenset, WeakSet)):
        raise TypeError(
            f"[{name}] got a {type(values).__name__} of {what}, which has no order; expected a list"
        )
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"[{name}] got {what} of type {type(values).__name__}; expected a list")
    return list(values)


def require_function(name: str, key: str, value: Any) -> Any:
    """The value; TypeError unless it can be called."""
    if not callable(value):
        raise TypeError(f"[{name}] got {key} {_shown(value)}; expected a function")
    return value


def _shown(value: Any) -> str:
    """A short text: kind, dtype and shape of a tensor."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        return f"{type(value).__name__} of {value.dtype} and shape {tuple(shape)}"
    if isinstance(value, (list, tuple)) and any(hasattr(x, "shape") for x in value):
        return f"[{', '.join(map(_shown, value[:4]))}{', ...' * (len(value) > 4)}]"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
