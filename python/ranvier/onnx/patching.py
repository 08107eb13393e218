"""Replaces public functions while a model is recorded, so that sizes of dynamic axes can be symbols.

While a `recording()` is on, the shape of a tensor has a `Size` (`sizes.py`) for each dynamic axis where code
outside of the library reads it. Functions that take sizes are replaced by wrappers, which call the handlers
of the package `symbolic_functions`. A handler computes with the numbers of the present run, and records one
call whose settings hold the sizes. A function without a handler asks the Size for its number, which refuses.
Outside of a recording nothing is replaced.
"""

from __future__ import annotations

import builtins
import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

import ranvier as rv
import ranvier._core as _core
from ranvier.autograd import Tensor
from ranvier.observe import package
from ranvier.onnx.sizes import (
    FUNCTIONS,
    Dim,
    Real,
    Size,
    SymbolicNumber,
    function_of_math,
    greatest,
    number,
    smallest,
)

if TYPE_CHECKING:
    from ranvier.nn import Module
    from ranvier.onnx.dims import Dims

Function: TypeAlias = Callable[..., Any]
"""A function that is replaced, or the wrapper in its place: it takes any arguments."""

Handler: TypeAlias = Callable[..., Any]
"""handler(trace, original, *args, **settings), with the arguments of the function that it handles.

original: an `Original`. NotImplemented as the result: the function itself is called.
"""

HANDLERS: dict[str, Handler] = {}
"""The handlers of public functions and methods by name; `handles` fills it, `recording` reads it."""

INTERNAL_HANDLERS: list[tuple[Function, Handler]] = []
"""Functions that the library's own code calls, each with its handler; `symbolic_functions/creation.py` adds
them."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Registers a function as the handler of the public functions and methods with these names."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


class Recorder(Protocol):
    """The recorded run that sizes belong to, as far as this file uses it: a `Trace` (`tracing.py`)."""

    called: str
    is_silent: bool

    def dims(self, tensor: Tensor) -> Dims:
        """The shape of a tensor, with a Size for what depends on a dynamic axis."""

    def silent(self) -> AbstractContextManager[None]:
        """A block in which nothing is recorded."""

    def caught(self, name: str) -> None:
        """Notes a function that has raised an error, which the model must not catch."""


class _Local(threading.local):
    trace: Recorder | None = None


_local = _Local()


def active() -> Recorder | None:
    """The trace of this thread's run if it has symbols, and if no handler is computing; else None."""
    return _local.trace


@contextmanager
def followed(trace: Recorder | None) -> Iterator[None]:
    """A block in which sizes are those of the trace; None: they are plain numbers."""
    before = _local.trace
    _local.trace = trace
    try:
        yield
    finally:
        _local.trace = before


_NUMPY = os.path.dirname(np.__file__)


def from_library(depth: int) -> bool:
    """True if the caller's caller, so many frames further up, is the library's own code, or NumPy for it."""
    frame: Any = sys._getframe(depth + 1)
    while frame is not None and frame.f_code.co_filename.startswith(_NUMPY):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(package())


# --- arguments of any function: a number, a tensor, a dtype, or containers of them
def concrete(argument: Any) -> Any:
    """An argument with the numbers of the present run in place of its sizes."""
    if isinstance(argument, (Size, Real)):
        return number(argument)
    if isinstance(argument, slice):
        return slice(concrete(argument.start), concrete(argument.stop), concrete(argument.step))
    if isinstance(argument, tuple):
        return tuple([concrete(item) for item in argument])
    if isinstance(argument, list):
        return [concrete(item) for item in argument]
    if isinstance(argument, dict):
        return {key: concrete(item) for key, item in argument.items()}
    return argument


def has_size(argument: Any) -> bool:
    """True if an argument is, or holds, a size."""
    if isinstance(argument, (Size, Real)):
        return True
    if isinstance(argument, slice):
        return has_size(argument.start) or has_size(argument.stop) or has_size(argument.step)
    if isinstance(argument, (tuple, list)):
        return any(map(has_size, argument))
    if isinstance(argument, dict):
        return any(map(has_size, argument.values()))
    return False


class Original:
    """The function that a handler is called for, with its name.

    inside: True if the library's own code calls it, where shapes are plain numbers: handlers of functions
    that take a shape leave such a call to the rules of `shape_rules.py`.

    A handler that calls the object records one call itself (`common.recorded`). One that calls `function`
    leaves the calls that the function makes to be recorded.
    """

    def __init__(self, name: str, function: Function, inside: bool) -> None:
        self.name = name
        self.function = function
        self.inside = inside

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Calls it with the numbers of the present run; nothing is recorded."""
        trace = active()
        assert trace is not None
        with followed(None), trace.silent():
            return self.function(*concrete(args), **concrete(settings))


class _Handled(NamedTuple):
    """A function that has a handler."""

    function: Function
    name: str
    handler: Handler


def _wrapper(handled: _Handled) -> Function:
    """The function that takes the place of another one while a model is recorded: it calls the handler."""
    function = handled.function
    name = handled.name

    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **settings: Any) -> Any:
        trace = active()
        if trace is None or trace.is_silent:
            return function(*args, **settings)
        inside = from_library(1) and not has_size((args, settings))
        original = Original(name, function, inside)
        outer = trace.called
        if not outer:  # errors name what the model itself has called
            trace.called = name
        try:
            result = handled.handler(trace, original, *args, **settings)
        except Exception:
            trace.caught(name)
            raise
        finally:
            trace.called = outer
        if result is NotImplemented:
            return function(*args, **settings)
        return result

    return wrapper


# --- what takes the place of attributes of Tensor
_SHAPE = vars(Tensor)["shape"]


def _shape(tensor: Tensor) -> Any:
    trace = active()
    if trace is None or from_library(1):
        return _SHAPE.__get__(tensor)
    return rv.Size(trace.dims(tensor))


def _nbytes(tensor: Tensor) -> Dim:
    trace = active()
    if trace is None or from_library(1):
        return int(tensor._array.nbytes)
    count: Dim = math.prod(trace.dims(tensor))
    return count * tensor.element_size()


# --- what takes the place of Python's len, min, max and of functions of math
_LEN = builtins.len
_MIN = builtins.min
_MAX = builtins.max


def _len(value: Any, /) -> Dim:
    trace = active()
    if trace is None or not isinstance(value, Tensor) or from_library(1) or not value.ndim:
        return _LEN(value)
    return trace.dims(value)[0]


def _min(*values: Any, **settings: Any) -> Any:
    return _least_or_greatest(_MIN, smallest, values, settings)


def _max(*values: Any, **settings: Any) -> Any:
    return _least_or_greatest(_MAX, greatest, values, settings)


def _least_or_greatest(
    function: Function, of_sizes: Callable[..., Dim], values: tuple[Any, ...], settings: dict[str, Any]
) -> Any:
    """The result of min or max.

    function: Python's own min or max.
    of_sizes: the same of sizes.
    values, settings: its arguments.
    """
    if active() is None:
        return function(*values, **settings)
    items = list(values)
    if len(values) == 1:  # the one argument is an iterable
        items = list(values[0])
    if settings or not any(isinstance(item, (Size, Real)) for item in items):
        return function(items, **settings)
    if any(isinstance(item, (float, np.floating)) for item in items):  # a Real is a float, too
        return functools.reduce(functools.partial(Real.compute, function.__name__), items)
    return of_sizes(*items)


def _math_wrapper(function: Callable[..., float]) -> Function:
    """A function of the module math that takes sizes, too."""

    @functools.wraps(function)
    def wrapper(*operands: SymbolicNumber) -> Any:
        if active() is None or not has_size(operands):
            return function(*operands)
        return function_of_math(function.__name__, *operands)

    return wrapper


# --- replacing
def _handled_functions() -> list[_Handled]:
    """The functions that have a handler."""
    found: dict[int, _Handled] = {}
    for name in HANDLERS:
        for owner in (rv, rv.nn.functional, Tensor):
            function = getattr(owner, name, None)
            if callable(function):
                found[id(function)] = _Handled(function, name, HANDLERS[name])
    for function, handler in INTERNAL_HANDLERS:
        found[id(function)] = _Handled(function, function.__name__, handler)
    return list(found.values())


Wrappers: TypeAlias = dict[int, Function]
"""The id of a function -> what takes its place."""

Owner: TypeAlias = dict[str, Any] | type | CellType
"""What holds a function: the names of a module or of a layer, a class, or a variable around a function."""


class _Replacements:
    """Puts values into owners, and puts back what was there before."""

    def __init__(self) -> None:
        self._earlier: list[tuple[Owner, str, Any]] = []  # owner, name and value before

    def put(self, owner: Owner, name: str, value: Any) -> None:
        self._earlier.append((owner, name, _get(owner, name)))
        _set(owner, name, value)

    def put_wrappers(self, names: dict[str, Any], wrappers: Wrappers) -> None:
        """Puts wrappers in the place of the functions that a module or a layer holds."""
        for name, value in [*names.items()]:
            wrapper = _wrapper_for(value, wrappers)
            if wrapper is not None:
                self.put(names, name, wrapper)

    def undo(self) -> None:
        for owner, name, value in reversed(self._earlier):
            _set(owner, name, value)


def _get(owner: Owner, name: str) -> Any:
    if isinstance(owner, CellType):
        return owner.cell_contents
    if isinstance(owner, dict):
        return owner[name]
    return vars(owner)[name]


def _set(owner: Owner, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


@contextmanager
def recording(target: Function, layers: Sequence[Module] = ()) -> Iterator[None]:
    """A block in which functions are replaced by their wrappers, wherever a program holds them.

    These are the modules, the attributes of the layers, and the variables around the function `target`.
    """
    wrappers: Wrappers = {id(h.function): _wrapper(h) for h in _handled_functions()}
    for name in (*FUNCTIONS, "isqrt"):
        function = getattr(math, name)
        wrappers[id(function)] = _math_wrapper(function)
    # Python's own functions are replaced where a layer or a variable holds them, and in `builtins`
    with_builtins = {**wrappers, id(_LEN): _len, id(_MIN): _min, id(_MAX): _max}
    rv.ops._rare.cache_clear()  # it holds rare functions, `_handled_functions` has asked for some
    replacements = _Replacements()
    try:
        for names in _names_of_modules():
            replacements.put_wrappers(names, wrappers)
        for layer in layers:
            replacements.put_wrappers(vars(layer), with_builtins)
        for cell in _cells(target):
            wrapper = _wrapper_for(cell.cell_contents, with_builtins)
            if wrapper is not None:
                replacements.put(cell, "cell_contents", wrapper)
        _replace_in_tensor(replacements, wrappers)
        for name, function in (("len", _len), ("min", _min), ("max", _max)):
            replacements.put(vars(builtins), name, function)
        yield
    finally:
        replacements.undo()
        _remove(wrappers)
        rv.ops._rare.cache_clear()


def _replace_in_tensor(replacements: _Replacements, wrappers: Wrappers) -> None:
    """Replaces methods of Tensor, and its attributes that hold sizes."""
    for name, value in [*vars(Tensor).items()]:
        if id(value) in wrappers:
            replacements.put(Tensor, name, wrappers[id(value)])
        elif name in HANDLERS and id(getattr(Tensor, name)) in wrappers:
            replacements.put(Tensor, name, wrappers[id(getattr(Tensor, name))])
    replacements.put(Tensor, "shape", property(_shape))
    replacements.put(Tensor, "nbytes", property(_nbytes))


def _wrapper_for(value: Any, wrappers: Wrappers) -> Function | None:
    """What takes the place of a function, or of a functools.partial of it; None for any other value."""
    if type(value) is functools.partial:
        function = _wrapper_for(value.func, wrappers)
        if function is None:
            return None
        return functools.partial(function, *value.args, **value.keywords)
    key = id(value)
    if key not in wrappers and type(value) is _core.PublicFunction:
        key = id(getattr(value, "__wrapped__"))  # noqa: B009
    return wrappers.get(key)


def _cells(target: Function) -> list[CellType]:
    """The variables around a function that have a value."""
    cells = getattr(target, "__closure__", None) or ()
    return [cell for cell in cells if cell != CellType()]


def _names_of_modules() -> list[dict[str, Any]]:
    """The names of all Python modules, with their values."""
    return [vars(module) for module in [*sys.modules.values()] if isinstance(module, ModuleType)]


def _remove(wrappers: Wrappers) -> None:
    """Puts functions back where a module has taken a wrapper meanwhile, by an import."""
    originals = {id(wrapper): getattr(wrapper, "__wrapped__") for wrapper in wrappers.values()}  # noqa: B009
    for names in _names_of_modules():
        for name, value in [*names.items()]:
            if id(value) in originals:
                names[name] = originals[id(value)]
