"""The key by which a call finds its program: shapes and dtypes of arrays, other arguments by value."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.mode import mode
from ranvier.autograd.size import Size
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.nn import Module

Array = np.ndarray[Any, Any]
ndarray = np.ndarray

_EXACT = frozenset({int, bool, str, bytes, type(None), type(...)})
_BY_VALUE = _EXACT | {float}


def environment() -> tuple[Any, ...]:
    """What a recorded step depends on besides its arguments."""
    kernels = _core.get_winograd(), _core.get_flush_denormal(), _core.isa()
    return _core.get_num_threads(), *kernels, mode.enabled


class Same:
    """An object as a part of a key: equal to itself only, and alive as long as the key."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.thing is self.thing

    def __repr__(self) -> str:
        return f"a {type(self.thing).__name__}"


def is_array(x: Any) -> bool:
    """Whether an argument may differ in each call: a NumPy array, or a Tensor that requires no gradient."""
    return type(x) is ndarray or (isinstance(x, Tensor) and not x.requires_grad) or isinstance(x, np.memmap)


def array_of(x: Any) -> Array:
    """The array of such an argument."""
    return np.asarray(x._array if isinstance(x, Tensor) else x)


def signature(args: tuple[Any, ...], kwargs: dict[str, Any], arrays: list[Array]) -> tuple[Any, ...]:
    """A key for a call; the arrays found on the way are appended to `arrays`, in order.

    Keyword arguments count in the order in which they are given: a function that takes ``**options`` sees it.
    """
    seen: dict[int, int] = {}
    key = [_key(x, arrays, seen) for x in args]
    if kwargs:
        key.append(tuple([(name, _key(x, arrays, seen)) for name, x in kwargs.items()]))
    return tuple(key)


def _key(x: Any, arrays: list[Array], seen: dict[int, int]) -> Any:
    kind = type(x)
    if kind is ndarray or (isinstance(x, Tensor) and not x.requires_grad):
        array = x if kind is ndarray else x._array
        if id(x) in seen:
            return "the same", seen[id(x)]
        seen[id(x)] = len(arrays)
        arrays.append(array)
        return array.shape, array.strides, array.dtype
    if kind in _EXACT:
        return kind, x
    if kind is float or kind is complex:
        return kind, repr(x)  # 0.0 and -0.0 are two, and NaN is one
    if kind is tuple or kind is list:
        return (kind, *[_key(item, arrays, seen) for item in x])
    if kind is dict:
        return (kind, *[(_key(name, arrays, seen), _key(item, arrays, seen)) for name, item in x.items()])
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return (kind, *[_key(item, arrays, seen) for item in x])
    if isinstance(x, np.generic):
        return kind, x.dtype.str, x.tobytes()
    if isinstance(x, ndarray):
        return _subclass_key(x, arrays)
    if kind is range:
        return kind, x.start, x.stop, x.step
    if kind is slice:
        return kind, _key(x.start, arrays, seen), _key(x.stop, arrays, seen), _key(x.step, arrays, seen)
    if kind is MethodType:
        return kind, Same(x.__func__), Same(x.__self__)
    return Same(x)  # modules, optimizers, parameters: by identity; guards compare their contents


def _subclass_key(x: Any, arrays: list[Array]) -> Any:
    if isinstance(x, np.memmap):
        arrays.append(np.asarray(x))
        return arrays[-1].shape, arrays[-1].strides, arrays[-1].dtype
    raise TypeError(
        f"[compile] got an argument of type {type(x).__name__}; expected a Tensor or a plain NumPy array "
        "(np.asarray(x), or for a masked array x.filled(value))"
    )


def form(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Positional arguments as the core compares them: None for an array, else the value or the object itself.

    A call with keywords or containers has a form that no call fits; it is looked up by its signature.
    """
    values: list[Any] = []
    for x in args:
        if is_array(x) and not isinstance(x, np.memmap):
            values.append(None)
        elif x is None or issubclass(type(x), (tuple, list, dict, ndarray)):
            return [_NO_CALL]
        else:
            values.append(x)
    return [_NO_CALL] if kwargs else values


_NO_CALL = object()


def others(x: Any, text: str) -> Iterator[tuple[Any, str]]:
    """The arguments that are no arrays, with a name for each: what guards have to compare."""
    if is_array(x):
        return
    if issubclass(type(x), (tuple, list)):
        for i, item in enumerate(x):
            yield from others(item, f"{text}[{i}]")
    elif type(x) is dict:
        for name, item in x.items():
            yield from others(item, f"{text}[{name!r}]")
    else:
        yield x, text


def changed_argument(a: Any, b: Any) -> str:
    """Which argument makes two keys differ, in words."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return f"argument {i}"
    return "the number of arguments"


def replaced(
    x: Any,
    take: Callable[[Array], Tensor],
    seen: dict[int, Tensor] | None = None,
    containers: list[tuple[Any, Any]] | None = None,
) -> Any:
    """The arguments with take(array) in the place of each array, in the order of `signature`.

    An array that stands in several places is taken once. Lists and dicts without arrays stay what they are.
    containers: gets (the caller's, the new one) of each list and dict.
    """
    kind = type(x)
    seen = {} if seen is None else seen
    if is_array(x):
        if id(x) not in seen:
            seen[id(x)] = take(array_of(x))
        return seen[id(x)]
    if kind is tuple:
        return tuple([replaced(item, take, seen, containers) for item in x])
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return kind(*[replaced(item, take, seen, containers) for item in x])
    if kind is not list and kind is not dict:
        return x
    made: Any
    if kind is list:
        made = [replaced(item, take, seen, containers) for item in x]
    else:
        made = {name: replaced(item, take, seen, containers) for name, item in x.items()}
    if containers is not None:
        containers.append((x, made))
    return made


def flattened(x: Any, tensors: list[Tensor]) -> Any:
    """A structure with the places of its Tensors in `tensors`, to which they are appended."""
    kind = type(x)
    if isinstance(x, Tensor):
        tensors.append(x)
        return Place(len(tensors) - 1)
    if kind is tuple or kind is list:
        return kind(flattened(item, tensors) for item in x)
    if kind is Size:
        return x
    if issubclass(kind, tuple):  # a named tuple
        return kind(*[flattened(item, tensors) for item in x])
    if kind is dict or kind is OrderedDict:
        return kind((name, flattened(item, tensors)) for name, item in x.items())
    if is_record(x):
        before = len(tensors)
        fields = {name: flattened(getattr(x, name), tensors) for name in kind.__dataclass_fields__}
        return x if len(tensors) == before else Record(x, fields)
    return x


def is_record(x: Any) -> bool:
    """Whether x is an object of a dataclass, and nothing else that holds values."""
    return hasattr(type(x), "__dataclass_fields__") and not isinstance(x, (dict, list, tuple, Module))


class Record:
    """Stands for an object of a dataclass with Tensors in its fields."""

    __slots__ = ("fields", "form")

    def __init__(self, form: Any, fields: dict[str, Any]) -> None:
        self.form, self.fields = copy.copy(form), fields
        for name, item in fields.items():  # no Tensors are kept
            object.__setattr__(self.form, name, item)

    def filled(self, tensors: list[Tensor]) -> Any:
        """A new object with Tensors in its fields; ``__init__`` does not run."""
        made = copy.copy(self.form)
        for name, item in self.fields.items():
            object.__setattr__(made, name, filled(item, tensors))
        return made


class Place:
    """Stands for a Tensor in a structure."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


def filled(form: Any, tensors: list[Tensor]) -> Any:
    """The structure with Tensors in their places."""
    kind = type(form)
    if kind is Place:
        return tensors[form.index]
    if kind is tuple or kind is list:
        return kind(filled(item, tensors) for item in form)
    if kind is Size:
        return form
    if isinstance(form, tuple):
        return kind(*[filled(item, tensors) for item in form])
    if kind is dict or kind is OrderedDict:
        return kind((name, filled(item, tensors)) for name, item in form.items())
    return form.filled(tensors) if kind is Record else form


__all__ = ["environment", "filled", "flattened", "replaced", "signature", "wrap"]
