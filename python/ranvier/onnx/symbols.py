"""Sizes of dynamic axes in the run of a model that is recorded: how they reach it, and what takes them.

While a `recording()` is on, the shape of a tensor has a `Size` for each dynamic axis where code outside of
the library reads it, and the functions of `stand_ins` stand in the place of the library's public ones. A
stand-in computes with the numbers of the present run, and records one call whose settings hold the sizes. A
function without a stand-in asks the Size for its number, which refuses. Outside of a recording nothing is
replaced.
"""

from __future__ import annotations

import builtins
import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CellType, ModuleType
from typing import Any

import numpy as np

import ranvier as rv
import ranvier._core as _core
from ranvier.autograd import Tensor
from ranvier.observe import package
from ranvier.onnx.sizes import FUNCTIONS, Real, Size, function_of_math, greatest, number, smallest

Handler = Callable[..., Any]

HANDLERS: dict[str, Handler] = {}
"""Name of a public function or method -> what stands in its place: handler(trace, call, *args, **settings).

call: `Original`. NotImplemented: the function itself is called.
"""


OF_THE_LIBRARY: list[tuple[Any, Handler]] = []
"""Functions that the library's own code calls, with what stands in their place."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, function))
        return function

    return register


class _Local(threading.local):
    trace: Any = None


_local = _Local()


def active() -> Any:
    """The Trace of this thread's run if it has symbols, and if no stand-in is computing; else None."""
    return _local.trace


@contextmanager
def followed(trace: Any) -> Iterator[None]:
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


# --- arguments
def concrete(value: Any) -> Any:
    """An argument with the numbers of the present run in place of its sizes."""
    if isinstance(value, (Size, Real)):
        return number(value)
    if isinstance(value, slice):
        return slice(concrete(value.start), concrete(value.stop), concrete(value.step))
    if isinstance(value, (tuple, list)):
        items = [concrete(item) for item in value]
        if isinstance(value, tuple):
            return tuple(items)
        return items
    if isinstance(value, dict):
        return {key: concrete(item) for key, item in value.items()}
    return value


def has_size(value: Any) -> bool:
    """True if an argument is, or holds, a size."""
    if isinstance(value, (Size, Real)):
        return True
    if isinstance(value, slice):
        return has_size(value.start) or has_size(value.stop) or has_size(value.step)
    if isinstance(value, (tuple, list)):
        return any(map(has_size, value))
    if isinstance(value, dict):
        return any(map(has_size, value.values()))
    return False


class Original:
    """The function that a stand-in stands for, with its name.

    inside: True if the library's own code calls it, where shapes are plain numbers.
    """

    def __init__(self, name: str, function: Any, inside: bool) -> None:
        self.name = name
        self.function = function
        self.inside = inside

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Calls it with the numbers of the present run; nothing is recorded."""
        trace = active()
        with followed(None), trace.silent():
            return self.function(*concrete(args), **concrete(settings))


def _stand_in(function: Any, name: str, handler: Handler) -> Any:
    @functools.wraps(function, updated=())
    def stand_in(*args: Any, **settings: Any) -> Any:
        trace = active()
        if trace is None or trace.is_silent:
            return function(*args, **settings)
        inside = from_library(1) and not has_size((args, settings))
        call = Original(name, function, inside)
        outer = trace.called
        if not outer:  # errors name what the model itself has called
            trace.called = name
        try:
            result = handler(trace, call, *args, **settings)
        except Exception:
            trace.caught(name)
            raise
        finally:
            trace.called = outer
        if result is NotImplemented:
            return function(*args, **settings)
        return result

    return stand_in


# --- what is replaced
_SHAPE = vars(Tensor)["shape"]


def _shape(tensor: Tensor) -> Any:
    trace = active()
    if trace is None or from_library(1):
        return _SHAPE.__get__(tensor)
    return rv.Size(trace.dims(tensor))


def _nbytes(tensor: Tensor) -> Any:
    trace = active()
    if trace is None or from_library(1):
        return tensor._array.nbytes
    return math.prod(trace.dims(tensor)) * tensor.element_size()


def _len(value: Any, /) -> Any:
    trace = active()
    if trace is None or not isinstance(value, Tensor) or from_library(1) or not value.ndim:
        return _LEN(value)
    return trace.dims(value)[0]


def _min(*values: Any, **settings: Any) -> Any:
    return _chosen(_MIN, smallest, values, settings)


def _max(*values: Any, **settings: Any) -> Any:
    return _chosen(_MAX, greatest, values, settings)


def _of_math(function: Any) -> Any:
    """A function of the module math that takes sizes, too."""

    @functools.wraps(function)
    def stand_in(*operands: Any) -> Any:
        if active() is None or not has_size(operands):
            return function(*operands)
        return function_of_math(function.__name__, *operands)

    return stand_in


def _chosen(function: Any, of_sizes: Any, values: Any, settings: Any) -> Any:
    if active() is None:
        return function(*values, **settings)
    items = list(values[0]) if len(values) == 1 else list(values)
    if settings or not any(isinstance(item, (Size, Real)) for item in items):
        return function(items, **settings)
    if any(isinstance(item, (float, np.floating)) for item in items):  # a Real, too
        return functools.reduce(functools.partial(Real.compute, function.__name__), items)
    return of_sizes(*items)


_LEN = builtins.len
_MIN = builtins.min
_MAX = builtins.max


def _originals() -> dict[int, tuple[Any, str, Handler]]:
    """The functions with a stand-in, by their ids: the function, its name and its handler."""
    found: dict[int, tuple[Any, str, Handler]] = {}
    for name in HANDLERS:
        for space in (rv, rv.nn.functional, Tensor):
            function = getattr(space, name, None)
            if callable(function):
                found[id(function)] = (function, name, HANDLERS[name])
    for function, handler in OF_THE_LIBRARY:
        found[id(function)] = (function, function.__name__, handler)
    return found


@contextmanager
def recording(target: Any = None, parts: Sequence[Any] = ()) -> Iterator[None]:
    """A block in which stand-ins are in the places of public functions, wherever a program holds them.

    These are the modules, the attributes of the layers `parts`, and the variables around the function
    `target`.
    """
    made = {key: _stand_in(*original) for key, original in _originals().items()}
    for name in (*FUNCTIONS, "isqrt"):
        function = getattr(math, name)
        made[id(function)] = _of_math(function)
    rv.ops._rare.cache_clear()  # it holds rare functions, `_originals` has asked for some
    places: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        if isinstance(owner, CellType):
            before = owner.cell_contents
        else:
            if isinstance(owner, dict):
                before = owner[name]
            else:
                before = vars(owner)[name]
        places.append((owner, name, before))
        _set(owner, name, value)

    def put_stand_ins(space: dict[str, Any], stand_ins: dict[int, Any]) -> None:
        for name, value in [*space.items()]:
            found = _stand_in_of(value, stand_ins)
            if found is not None:
                put(space, name, found)

    try:
        for space in _spaces():
            put_stand_ins(space, made)
        held = {**made, id(_LEN): _len, id(_MIN): _min, id(_MAX): _max}
        for part in parts:
            put_stand_ins(vars(part), held)
        for cell in _cells(target):
            found = _stand_in_of(cell.cell_contents, held)
            if found is not None:
                put(cell, "cell_contents", found)
        for name, value in [*vars(Tensor).items()]:
            if id(value) in made:
                put(Tensor, name, made[id(value)])
            elif name in HANDLERS and id(getattr(Tensor, name)) in made:
                put(Tensor, name, made[id(getattr(Tensor, name))])
        put(Tensor, "shape", property(_shape))
        put(Tensor, "nbytes", property(_nbytes))
        for name, value in (("len", _len), ("min", _min), ("max", _max)):
            put(vars(builtins), name, value)
        yield
    finally:
        for owner, name, value in reversed(places):
            _set(owner, name, value)
        _remove(made)
        rv.ops._rare.cache_clear()


def _stand_in_of(value: Any, made: dict[int, Any]) -> Any:
    """What stands in the place of a function, or of a functools.partial of it; None if nothing does."""
    if type(value) is functools.partial:
        function = _stand_in_of(value.func, made)
        if function is None:
            return None
        return functools.partial(function, *value.args, **value.keywords)
    key = id(value)
    if key not in made and type(value) is _core.PublicFunction:
        key = id(getattr(value, "__wrapped__"))  # noqa: B009
    return made.get(key)


def _cells(target: Any) -> list[CellType]:
    """The variables around a function that have a value."""
    cells = getattr(target, "__closure__", None) or ()
    return [cell for cell in cells if cell != CellType()]


def _spaces() -> list[dict[str, Any]]:
    """The names of all modules."""
    return [vars(module) for module in [*sys.modules.values()] if isinstance(module, ModuleType)]


def _remove(made: dict[int, Any]) -> None:
    """Puts the functions back where a module has taken a stand-in meanwhile, by an import."""
    functions = {id(stand_in): stand_in.__wrapped__ for stand_in in made.values()}
    for space in _spaces():
        for name, value in [*space.items()]:
            if id(value) in functions:
                space[name] = functions[id(value)]


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
