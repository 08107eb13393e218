"""Gives errors of public functions the function's own name, and checks arguments.

`own_errors` and `own_error` wrap functions: an error that comes from within begins with the public name,
``[name] got ...; expected ...``, instead of the name of an inner function (`renamed`). `number`, `whole`,
`count`, `one_of` and others return the value of an argument, or raise such an error.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature, unwrap
from numbers import Real
from types import FunctionType, MappingProxyType
from typing import Any, TypeAlias, TypeVar
from weakref import WeakSet

import numpy as np

import ranvier._core as _core
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.failures import OpError, OpIndexError, failure, op_of, put_name
from ranvier.tensors.spellings import is_respelled, respelled

F = TypeVar("F", bound=Callable[..., Any])
# These functions run a function of the user's, and may refuse an op in it. Such an error keeps their name,
# although it comes from within the op.
_AROUND = ("compile", "jet", "jvp", "laplacian", "vmap")
# Packages whose code is not the user's.
_LIBRARY = frozenset({"ranvier", "numpy", "matplotlib", *sys.stdlib_module_names})
# Errors that stay as they are.
_PASSED_ON = (NotImplementedError, RecursionError, OSError, ImportError, Warning, StopIteration)


class TooLarge(MemoryError, OpError):
    """The error for sizes whose result does not fit in memory."""


def own_errors(where: Any, names: Iterable[str], left_out: str = "") -> None:
    """Wraps public functions and classes of a module by `own_error`, so that their errors begin with their
    names.

    where: the ``globals()`` of the module. Or a public class of the library, whose name the errors get.
    names: of the module's functions and classes; of a class, the constructor is wrapped. Or of the class's
        methods.
    left_out: names that are not wrapped: functions of about one microsecond, and those that name themselves.

    A function that another module defines is replaced in that module, too, where pickle looks for it.

    >>> def half(x): return 1 / x
    >>> half.__module__ = "maths"
    >>> module = {"__name__": "maths", "half": half}
    >>> own_errors(module, ["half"]); module["half"]("2")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: [half] got x = '2'; expected arguments as in half(x) that it can work with (TypeError: ...)
    """
    if isinstance(where, type):
        _own_errors_of_methods(where, names)
        return
    skipped = left_out.split()
    wrapped: dict[FunctionType, Callable[..., Any]] = {}
    for name in names:
        value = where.get(name)
        if name.startswith("_") or getattr(value, "__name__", "") in skipped:
            continue
        if isinstance(value, type):
            if "__init__" in vars(value):
                _own_errors_of_methods(value, ["__init__"])
        elif isinstance(value, FunctionType) and value.__code__.co_filename != __file__:  # not wrapped yet
            wrapped[value] = own_error(value)
    spaces = {id(where): where}
    for function in wrapped:
        if function.__module__ != where["__name__"]:
            home = vars(sys.modules[function.__module__])
            spaces[id(home)] = home
    for space in spaces.values():
        # A function may have several names in a module.
        replaced = {name: wrapped[f] for name, f in space.items() if type(f) is FunctionType and f in wrapped}
        space.update(replaced)


def _own_errors_of_methods(owner: type, names: Iterable[str]) -> None:
    """Wraps methods of a public class of the library by `own_error`; their errors get the class's name."""
    if not owner.__module__.startswith("ranvier.") or owner.__name__.startswith("_"):
        return
    for name in names:
        method = getattr(owner, name)
        setattr(owner, name, own_error(getattr(method, "__wrapped__", method), owner.__name__))


def named(function: Callable[..., Any], name: str, about: str) -> Any:
    """Returns the function itself, with this name and docstring."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = about
    return function


def own_error(function: F, name: str = "") -> F:
    """The function wrapped so that its errors begin with its name, or with `name`. (The name of ``_div`` is
    div.)

    An error of a library function that it calls gets this name. An error of Python or NumPy is replaced by
    one that describes the arguments and the cause. Parameters of type bool accept True and False only, as in
    PyTorch.
    """
    name = name or function.__name__.lstrip("_")
    flags = _flags(function)
    first = min((place for place, _, _ in flags), default=0)  # calls with fewer arguments have no flag
    takes_spellings = is_respelled(function)

    @wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        if flags and (settings or len(args) > first):
            for place, key, default in flags:
                if place < len(args):
                    value = args[place]
                else:
                    value = settings.get(key, default)
                if value is not True and value is not False and value is not default:
                    flag(name, key, value)
        try:
            return function(*args, **settings)
        except Exception as error:
            may_help = takes_spellings and settings and isinstance(error, TypeError)
            own = respelled(function, settings) if may_help else None
            if own is None:
                if error.__traceback__.tb_next is None:  # type: ignore[union-attr]
                    raise  # The arguments do not fit the signature. Python's error names the function.
                better = renamed(error, name, function, args, settings)
                if better is error:
                    raise
                raise better from None
        return call(*args, **own)

    call.takes_spellings = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


# A parameter of type bool: its position, sys.maxsize if it is keyword-only; its name; None if None is
# allowed, else False.
_Flag: TypeAlias = tuple[int, str, bool | None]


def _flags(function: Callable[..., Any]) -> list[_Flag]:
    """The parameters of type bool, except `inplace`, for which PyTorch accepts any value.

    Annotations are texts, since modules with functions begin with ``from __future__ import annotations``."""
    function = unwrap(function)
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    flags = []
    for name, annotation in getattr(function, "__annotations__", {}).items():
        if annotation not in ("bool", "bool | None") or name in ("return", "inplace"):
            continue
        place = names.index(name) if name in names else sys.maxsize
        default = None if annotation == "bool | None" else False
        flags.append((place, name, default))
    return flags


def renamed(
    error: Exception, name: str, function: Any = None, args: Any = (), settings: Any = MappingProxyType({})
) -> Exception:
    """The error to raise in place of one that was raised within a call of the function `name`.

    An error of the library gets the name; one of Python or NumPy is replaced by a new error. An error within
    code of the user's stays as it is. Called in an exception handler, so that calls that succeed cost nothing
    more. The core calls it, too, for ops that have a name (`bindings/tape/untaped.cpp`).
    """
    own = op_of(error)
    if isinstance(error, _PASSED_ON) or own in (name, *_AROUND) or _of_users(error):
        return error
    if own:
        # The error may have the name already: as the class's (MSELoss for mse_loss), or with a module before
        # it. The op in place has another name, with an underscore at the end.
        own = own.rpartition(".")[2]
        is_same = own.replace("_", "").lower() == name.replace("_", "").lower() and own[-1] != "_" != name[-1]
        if is_same:
            return error
        return put_name(error, name)
    try:
        got, expected = _sentence(name, function, args, settings)
    except TypeError as refused:
        return refused
    if isinstance(error, MemoryError):
        return failure(TooLarge, name, got, "a result that fits in memory")
    several = "ambiguous" in str(error)  # NumPy's error for an array of several elements as a condition
    kind: type[Exception] = OpIndexError if isinstance(error, IndexError) else OpError
    if several or isinstance(error, (TypeError, AttributeError)):
        kind = TypeError
    cause = f"{type(error).__name__}: {str(error)[:300]}".removesuffix(": ")
    return failure(kind, name, got, f"{expected} ({cause})").with_traceback(error.__traceback__)


def _of_users(error: Exception) -> bool:
    """True if the error was raised in code of the user's, or passed through it."""
    at = error.__traceback__
    while at and at.tb_frame.f_globals.get("__name__", "ranvier").partition(".")[0] in _LIBRARY:
        at = at.tb_next
    return at is not None


def no_dim(name: str, dim: int | None, ndim: int, error: Exception) -> Exception:
    """The error for a dimension `dim` that a tensor does not have: IndexError; TypeError if it is no
    number."""
    kind = IndexError if isinstance(error, IndexError) else TypeError
    limits = f"a whole number from {-ndim} to {ndim - 1}"
    return kind(f"[{name}] got dim {dim!r} for {ndim} dimensions; expected {limits}")


def _sentence(name: str, function: Any, args: Any, settings: Any) -> tuple[str, str]:
    """Returns what a call got and what it expected, as texts. Raises TypeError for tensors of PyTorch."""
    if function is None:
        return "arguments that do not fit", "those of its documentation"
    given = signature(function).bind(*args, **settings)
    shown = ", ".join(f"{key} = {_shown(value)}" for key, value in given.arguments.items() if key != "self")
    names = ", ".join(key for key in given.signature.parameters if key != "self")
    for key, value in given.arguments.items():
        if type(value) is DType and not hasattr(value, "dtype"):
            return str(value), "a dtype that NumPy has, such as float32 or float16"
        refuse_torch(name, key, value)
        if isinstance(value, (list, tuple)):
            for item in value:
                refuse_torch(name, key, item)
    kinds = getattr(unwrap(function), "__annotations__", {})
    for key, value in given.arguments.items():
        expected = _expected(str(kinds.get(key, "")), value)
        if not expected and value is not None and key in _BY_NAME:
            is_one, text = _BY_NAME[key]
            if not is_one(value):
                expected = text
        if expected:
            return f"{key} {_shown(value)}", expected
    return shown or "no arguments", f"arguments as in {name}({names}) that it can work with"


def _is_number(value: Any) -> bool:
    """True for a number, and for a Tensor or an array of one number."""
    if isinstance(value, Real):
        return True
    is_one = getattr(value, "shape", None) is not None and math.prod(value.shape) == 1
    return is_one and getattr(getattr(value, "dtype", None), "kind", "O") in "biuf"


def _is_whole(value: Any) -> bool:
    """True for a whole number, and for a Tensor or an array of one."""
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _is_tensor(value: object) -> bool:
    """True for a Tensor, and for an array."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _is_dtype(value: Any) -> bool:
    """True for a dtype, and for what NumPy makes one of."""
    try:
        np.dtype(value)
    except (TypeError, ValueError):
        return False
    return True


def _has_length(value: object) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


def _have_lengths(value: Any) -> bool:
    return _has_length(value) and all(_has_length(part) for part in value)


def _is_sizes(value: object) -> bool:
    """True for a whole number, and for a list of whole numbers."""
    if isinstance(value, (list, tuple)):
        return all(_is_whole(part) for part in value)
    return _is_whole(value)


def _is_numbers(value: object) -> bool:
    """True for a Tensor, an array, and a list of numbers."""
    if isinstance(value, (list, tuple)):
        return all(_is_number(part) for part in value)
    return _is_tensor(value)


def _is_module(value: object) -> bool:
    return callable(getattr(value, "named_parameters", None))


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_device(value: object) -> bool:
    return not hasattr(value, "shape")


def _is_generator(value: object) -> bool:
    return hasattr(value, "manual_seed")


def _is_input(value: object) -> bool:
    return _is_tensor(value) or _is_number(value)


# {annotation of a parameter: (whether a value is one, its description)}, for errors.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Tensor": (_is_tensor, "a Tensor"),
    "float": (_is_number, "a number"),
    "int": (_is_whole, "a whole number"),
    "str": (_is_string, "a string"),
    "Module": (_is_module, "a module"),
    "M": (_is_module, "a module"),
}
# The same for parameters of these names, which have no precise annotation in most functions.
_BY_NAME: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dataset": (_has_length, "a data set, which has a length"),
    "data_source": (_has_length, "a data set, which has a length"),
    "datasets": (_have_lengths, "a list of data sets, which have a length"),
    "batch": (_has_length, "a list of samples"),
    "start": (_is_number, "a number"),
    "end": (_is_number, "a number"),
    "fill_value": (_is_number, "a number"),
    "size": (_is_sizes, "whole numbers, the sizes of the dimensions"),
    "kernel_size": (_is_sizes, "a whole number, or one for each dimension"),
    "stride": (_is_sizes, "a whole number, or one for each dimension"),
    "padding": (_is_sizes, "a whole number, or one for each dimension"),
    "dilation": (_is_sizes, "a whole number, or one for each dimension"),
    "weights": (_is_numbers, "a list of numbers"),
    "indices": (_has_length, "a list of indices"),
    "theta": (_is_tensor, "a Tensor"),
    "x1": (_is_tensor, "a Tensor"),
    "x2": (_is_tensor, "a Tensor"),
    "dtype": (_is_dtype, "a dtype, such as float32"),
    "device": (_is_device, "a device, such as 'cpu'"),
    "generator": (_is_generator, "a Generator"),
    "input": (_is_input, "a Tensor, a NumPy array or a number"),
}
_LISTS = ("Sequence[", "Iterable[", "list[")


def _expected(annotation: str, value: object) -> str:
    """What a parameter with this annotation takes, if the value is something else; "" if it may be right, or
    if the annotation is not among those of `_KINDS` and lists of them."""
    wanted = []
    for kind in _alternatives(annotation):
        if kind == "None":
            if value is None:
                return ""
            wanted.append("None")
        elif kind.startswith(_LISTS):
            wrong = _wrong_list(kind.partition("[")[2].removesuffix("]"), value)
            if not wrong:
                return ""
            wanted.append(wrong)
        elif kind.startswith(("Mapping[", "dict[")):
            if hasattr(value, "keys"):
                return ""
            wanted.append("a dict")
        elif kind in _KINDS:
            is_one, text = _KINDS[kind]
            if is_one(value):
                return ""
            wanted.append(text)
        else:
            return ""
    return " or ".join(wanted)


def _wrong_list(of_parts: str, value: object) -> str:
    """As :func:`_expected` for a list whose parts have an annotation."""
    is_list = isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) != 0
    if not is_list:
        return "a list"
    if not isinstance(value, (list, tuple)):  # an iterator may be at its end
        return ""
    for part in value:
        expected = _expected(of_parts, part)
        if expected:
            return f"a list, every element {expected}"
    return ""


def _alternatives(annotation: str) -> list[str]:
    """The parts of a union: ["Sequence[float | int]", "None"] of "Sequence[float | int] | None"."""
    parts = [""]
    depth = 0
    for letter in annotation.replace(" ", ""):
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


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
            raise failure(TypeError, name, f"{key} {_shown(value)}", "a number")
        if math.prod(value.shape) != 1:
            raise failure(ValueError, name, f"{key} {_shown(value)}", "one number")
        value = value.item()
    if low <= value <= high and not (above and value == low):
        return value
    if high < math.inf:
        sign = "<" if above else "<="
        limits = f"{low:g} {sign} {key} <= {high:g}"
    elif low > -math.inf:
        word = "above" if above else "at least"
        limits = f"{word} {low:g}"
    else:
        limits = "a number, not nan"
    raise failure(OpError, name, f"{key} {value}", limits)


def truth(name: str, key: str, value: object) -> bool:
    """The truth value of a setting; TypeError for a value without one, such as a Tensor of several elements.

    >>> truth("op", "keepdim", None)
    False
    """
    try:
        return bool(value)
    except (RuntimeError, TypeError, ValueError):
        raise failure(TypeError, name, f"{key} {_shown(value)}", "True or False") from None


def index(value: Any) -> int:
    """``operator.index(value)``, but a bool raises TypeError, as in PyTorch.

    >>> index(2)
    2
    """
    if isinstance(value, bool):
        raise TypeError("a bool is no number of a dimension")
    return operator.index(value)


def whole(name: str, key: str, value: object) -> int:
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
    raise failure(TypeError, name, f"{key} {value!r}", "a whole number")


def flag(name: str, key: str, value: object) -> bool:
    """The value of a flag. Raises TypeError for anything else, numbers too, as in PyTorch.

    >>> flag("op", "keepdim", "no")
    Traceback (most recent call last):
    TypeError: [op] got keepdim 'no'; expected True or False
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise failure(TypeError, name, f"{key} {value!r}", "True or False")


def count(name: str, key: str, value: object, least: int = 1, most: int = 2**48) -> int:
    """As :func:`whole`; raises ValueError unless least <= value <= most, by default more than a memory holds.

    >>> count("op", "size", 0)
    Traceback (most recent call last):
    ranvier.tensors.failures.OpError: [op] got size 0; expected at least 1
    """
    value = whole(name, key, value)
    if least <= value <= most:
        return value
    limits = f"at least {least}" if value < least else f"at most {most}"
    raise failure(OpError, name, f"{key} {value}", limits)


def one_of(name: str, key: str, value: object, allowed: Iterable[Any]) -> Any:
    """The value, a string or None. Raises ValueError unless it is one of the allowed values.

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
        raise failure(TypeError, name, f"{what} of type {type(values).__name__}", "a list")
    return list(values)


def require_function(name: str, key: str, value: object) -> Any:
    """The value; TypeError unless it can be called."""
    if not callable(value):
        raise failure(TypeError, name, f"{key} {_shown(value)}", "a function")
    return value


def _shown(value: object) -> str:
    """A short text of a value for errors; of a tensor its class, dtype and shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        return f"{type(value).__name__} of {value.dtype} and shape {tuple(shape)}"
    if isinstance(value, (list, tuple)) and any(hasattr(x, "shape") for x in value):
        return f"[{', '.join(map(_shown, value[:4]))}{', ...' * (len(value) > 4)}]"
    text = repr(value)
    if len(text) <= 60:
        return text
    return f"{text[:57]}..."


_core._set_renamed(renamed)
