"""The key by which a call finds its program: shapes and dtypes of arrays, other arguments by value."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count
from operator import is_
from struct import pack
from types import MethodType
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import Array
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import bounds
from ranvier.nn import Module

ndarray = np.ndarray

_MOST_ITEMS = 256  # of a container whose items are looked at in each call
_EXACT = frozenset({int, bool, str, bytes, type(None), type(...)})
_BY_VALUE = _EXACT | {float}


def environment() -> tuple[Any, ...]:
    """What a recorded step depends on besides its arguments."""
    core = _core
    kernels = core.get_num_threads(), core.get_winograd(), core.get_precision(), core.isa()
    products = core.current_precision(), core.bfloat16()
    return *kernels, *products, mode.enabled, mode.inference


class Unfit(ValueError):
    """Why a call cannot be compared with others."""


def is_array(x: Any) -> bool:
    """Whether an argument may differ in each call: a NumPy array, or a plain Tensor off the tape."""
    if type(x) is Tensor:
        return not (x._requires_grad or x._grad is not None or x.__dict__)
    return type(x) is ndarray or isinstance(x, np.memmap)


def array_of(x: Any) -> Array:
    """The array of such an argument."""
    return np.asarray(x._array if isinstance(x, Tensor) else x)


def key_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], list[Array]]:
    """The key of a call, and the arrays among its arguments, those that share memory as one. Raises Unfit.

    Keyword arguments count in the order in which they are given: a function that takes ``**options`` sees it.
    """
    arrays: list[Array] = []
    seen: dict[int, int] = {}
    try:
        parts = [(type(x), x) if type(x) in _EXACT else _key(x, arrays, seen) for x in args]
        if kwargs:
            parts.append(tuple([(name, _key(x, arrays, seen)) for name, x in kwargs.items()]))
    except Unfit:
        raise
    except Exception as error:  # a container that holds itself, an object that raises when it is looked at
        raise Unfit(f"an argument raises {type(error).__name__} when it is compared") from None
    for odd in [a.dtype for a in arrays if not a.dtype.isnative]:
        raise Unfit(f"an array of the arguments is {odd}; pass it as {odd.newbyteorder('=')} (astype)")
    if not all(map(keeps_strides, arrays)):
        raise Unfit("an argument has negative strides or large gaps; pass a contiguous one")
    arrays, places = united(arrays)
    return (tuple(parts), environment(), *places), arrays


def _key(x: Any, arrays: list[Array], seen: dict[int, int]) -> Any:
    kind = type(x)
    if is_array(x):
        if id(x) in seen:
            return "the same", seen[id(x)]
        seen[id(x)] = len(arrays)
        arrays.append(array_of(x))
        return kind, arrays[-1].shape, arrays[-1].strides, arrays[-1].dtype
    if kind in _EXACT:
        return kind, x
    if kind is float:
        return kind, pack("d", x)  # 0.0 and -0.0 are two, and NaN is equal to itself
    items = parts_of(x, records=False)
    if items is not None:
        if len(items) > _MOST_ITEMS:
            raise Unfit(f"an argument with {len(items)} items is too much to be compared in each call")
        names = x if kind is dict else ()
        return (kind, *[_key(item, arrays, seen) for item in (*names, *items)])
    if isinstance(x, np.generic):
        return kind, x.dtype.str, x.tobytes()
    if kind is range or kind is complex:
        return kind, repr(x)
    if kind is MethodType:
        return kind, id(x.__func__), id(x.__self__)
    # Modules, optimizers, parameters: the program keeps them, and its guards compare their contents.
    return kind, id(x)


VALUE, ANY_ARRAY, ARRAY, TENSOR = range(4)  # as `ArgumentRule::Kind` in cpp/bindings/array_program.h
NO_CALL = [(VALUE, object())]
_CONTAINER, _KEYWORDS = object(), object()


def in_row(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call in a row: keywords by name, small lists, tuples and dicts item by item."""
    row: list[Any] = []
    for x in (*args, kwargs) if kwargs else args:
        kind = type(x)
        if kind not in (list, tuple, dict) or len(x) > _MOST_ITEMS:
            row.append(x)
            continue
        row += (_KEYWORDS if x is kwargs else _CONTAINER, kind, len(x))
        row += (part for item in x.items() for part in item) if kind is dict else x
    return tuple(row)


def hint(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """What mostly tells one form of a call from another, and is quickly made: plain values and shapes."""
    return tuple(
        [
            x
            if type(x) in _BY_VALUE
            else x._array.shape
            if type(x) is Tensor
            else x.shape
            if type(x) is ndarray
            else None
            for x in row
        ]
    )


def form(row: tuple[Any, ...], tensors: bool, arguments: int) -> list[tuple[int, Any]]:
    """Arguments `in_row` as the core compares them: the kind of an array, else the value or object itself.

    A call with containers in containers, or with arrays that share memory, has a form that no call fits; it
    is looked up by its signature. arguments: of the program.
    """
    values: list[tuple[int, Any]] = []
    arrays: dict[int, Any] = {}
    for x in row:
        if type(x) in _BY_VALUE:
            values.append((VALUE, x))
        elif is_array(x) and not isinstance(x, np.memmap):
            kind = ANY_ARRAY if tensors else TENSOR if type(x) is Tensor else ARRAY
            values.append((kind, Tensor))
            arrays[id(x)] = x
        elif issubclass(type(x), (tuple, list, dict, ndarray)):
            return NO_CALL
        else:
            values.append((VALUE, x))
    return values if len(arrays) == arguments else NO_CALL


def united(arrays: list[Array]) -> tuple[list[Array], tuple[Any, ...]]:
    """The arrays with the bytes that they cover together in place of those that share memory.

    Second, where the arrays are among these: (its number, the first byte in it) of each.
    """
    if not any(_core.share_memory(arrays[:i], [a]) for i, a in enumerate(arrays) if i):
        return arrays, ()
    ranges = sorted([(*bounds(a), i) for i, a in enumerate(arrays) if a.size])
    covers: list[tuple[int, int, list[int]]] = []  # first byte, end, the arrays there
    for start, end, i in ranges:
        if covers and start < covers[-1][1]:
            first, last, members = covers.pop()
            covers.append((first, max(end, last), [*members, i]))
        else:
            covers.append((start, end, [i]))
    merged: list[Any] = list(arrays)
    places = [(i, 0) for i in range(len(arrays))]
    for first, end, members in covers:
        if len(members) > 1:  # the bytes take the place of the first of them
            number = min(members)
            merged[number] = np.asarray(_Memory(first, end, arrays[number]))
            for i in members:
                merged[i] = merged[i] if i == number else None
                places[i] = number, bounds(arrays[i])[0] - first
    return [a for a in merged if a is not None], tuple(places)


class _Memory:
    """Bytes of an array, and of others that share memory with it, as `np.asarray` takes them."""

    def __init__(self, begin: int, end: int, owner: Array) -> None:
        self.owner = owner
        interface = {"data": (begin, False), "shape": (end - begin,), "typestr": "|u1", "version": 3}
        self.__array_interface__ = interface


def others(x: Any, text: str) -> Iterator[tuple[Any, str]]:
    """The arguments that are no arrays, with a name for each: what guards have to compare."""
    if is_array(x):
        return
    items = parts_of(x, records=False)
    if items is None:
        yield x, text
        return
    if type(x) not in (tuple, list, dict):
        yield type(x), f"the class of {text}"
    for name, item in zip(x if type(x) is dict else count(), items, strict=False):
        if type(item) not in _BY_VALUE:
            yield from others(item, f"{text}[{name!r}]")


def keeps_strides(array: Array) -> bool:
    """Whether a copy of an argument, including its gaps, can have its strides."""
    if array.flags.c_contiguous or array.size == 0:
        return True
    if any(s < 0 or s % array.itemsize for s in array.strides):
        return False
    return reach(array) <= 64 * array.nbytes + (1 << 24)


def reach(array: Array) -> int:
    """Bytes from the first element to the end of the last."""
    start, end = bounds(array)
    return end - start


# --- arguments and results as structures of items
def parts_of(x: Any, records: bool = True) -> list[Any] | None:
    """The items of a tuple, named tuple, list, dict, or (`records`) dataclass; None: x is none of them."""
    kind = type(x)
    if kind is tuple or kind is list:
        return [*x]
    if kind is dict or (kind is OrderedDict and records):
        return [*x.values()]
    if issubclass(kind, tuple) and hasattr(kind, "_fields") and not getattr(x, "__dict__", None):
        return [*x]
    if not (records and hasattr(kind, "__dataclass_fields__")) or issubclass(kind, Module):
        return None
    new = getattr(kind, "__new__", None)
    if new is dict.__new__ or new is OrderedDict.__new__:  # as results of the library transformers are
        return [*_attributes(x).values(), *OrderedDict.values(x)]
    return [*_attributes(x).values()] if new is object.__new__ else None


def _attributes(x: Any) -> dict[str, Any]:
    """What an object of a dataclass has in its slots and in its dict, fields or not."""
    slots = (name for base in type(x).__mro__ for name in vars(base).get("__slots__", ()))
    return {name: getattr(x, name) for name in slots if hasattr(x, name)} | getattr(x, "__dict__", {})


def with_parts(x: Any, parts: list[Any]) -> Any:
    """A container like x with other parts; no ``__new__`` and ``__init__`` of its class run."""
    kind = type(x)
    if kind is list:
        return parts
    if kind is dict or kind is OrderedDict:
        return kind(zip(x, parts, strict=True))
    if issubclass(kind, tuple):
        return tuple.__new__(kind, parts)
    names, items = _attributes(x), x if issubclass(kind, dict) else ()
    made = OrderedDict.__new__(kind) if issubclass(kind, dict) else object.__new__(kind)
    for name, part in zip(names, parts, strict=False):
        object.__setattr__(made, name, part)  # a frozen one, too
    for name, part in zip(items, parts[len(names) :], strict=True):
        OrderedDict.__setitem__(made, name, part)
    return made


def replaced(
    x: Any,
    take: Callable[[Any], Any],
    seen: dict[int, Any] | None = None,
    containers: list[tuple[Any, Any]] | None = None,
) -> Any:
    """The arguments with take(x) in the place of each array or Tensor, in the order of `key_of`.

    One that stands in several places is taken once. Containers in which nothing is replaced stay what they
    are. containers: gets (the caller's, the new one) of each list and dict.
    """
    seen = {} if seen is None else seen
    if is_array(x):
        if id(x) not in seen:
            seen[id(x)] = take(x)
        return seen[id(x)]
    items = parts_of(x, records=False)
    if items is None:
        return x
    new = [i if type(i) in _BY_VALUE else replaced(i, take, seen, containers) for i in items]
    changed = x if all(map(is_, new, items)) else with_parts(x, new)
    if containers is not None and type(x) in (list, dict):
        containers.append((x, changed))
    return changed


class Place(int):
    """Stands for a Tensor in a structure: its number."""

    __slots__ = ()


def flattened(x: Any, tensors: list[Tensor]) -> Any:
    """A structure with the places of its Tensors in `tensors`, to which they are appended, each once."""
    if isinstance(x, Tensor):
        tensors.append(x)
        return Place(0)
    places: dict[int, int] = {}

    def place_of(t: Tensor) -> Place:
        if id(t) not in places:
            places[id(t)] = len(tensors)
            tensors.append(t)
        return Place(places[id(t)])

    return _mapped(x, Tensor, place_of)


def filled(form: Any, tensors: list[Tensor]) -> Any:
    """The structure with Tensors in their places."""
    return _mapped(form, Place, tensors.__getitem__)


def _mapped(x: Any, leaf: type, change: Callable[[Any], Any]) -> Any:
    """A new structure with change(x) in the place of each leaf."""
    if isinstance(x, leaf):
        return change(x)
    items = parts_of(x)
    return x if items is None else with_parts(x, [_mapped(item, leaf, change) for item in items])


def tensors_of(x: Any) -> list[Tensor]:
    """The Tensors of a structure, each once."""
    tensors: list[Tensor] = []
    flattened(x, tensors)
    return tensors
