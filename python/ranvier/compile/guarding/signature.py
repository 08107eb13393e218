"""Arguments and results of steps as structures: nested tuples, lists, dicts and dataclasses.

Dataclasses and OrderedDicts (`records`) count as structures in results only. As arguments they are single
objects, which guards compare.

The core computes the signature, which tells calls apart, from these structures
(cpp/bindings/replay/signature.cpp). The functions here take the same structures apart in Python: they list
the parts, find the arrays, and make copies with other parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count
from operator import is_
from typing import Any

import numpy as np

from ranvier.compile.guarding.equality import BY_VALUE
from ranvier.nn import Module
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor


def is_array(x: object) -> bool:
    """True if an argument may differ in each call: a NumPy array, or a plain Tensor off the tape.

    The core decides it in the same way (`Signature::add_array` in cpp/bindings/replay/signature.cpp).
    """
    if type(x) is Tensor:
        return not (x._requires_grad or x._grad is not None or x.__dict__)
    return type(x) is np.ndarray or isinstance(x, np.memmap)


def array_of(x: object) -> Array:
    """The NumPy array of an argument for which `is_array` is true."""
    return np.asarray(x._array if isinstance(x, Tensor) else x)


def others(x: object, text: str) -> Iterator[tuple[Any, str]]:
    """The arguments that are no arrays and no plain values, each with a text that names it: guards compare
    them.

    Plain values (BY_VALUE) are part of the signature.
    """
    if is_array(x):
        return
    items = parts_of(x, records=False)
    if items is None:
        yield x, text
        return
    if type(x) not in (tuple, list, dict):
        yield type(x), f"the class of {text}"
    elif type(x) is dict:
        yield from [(key, f"a key of {text}") for key in x if type(key) not in BY_VALUE]
    for name, item in zip(x if type(x) is dict else count(), items, strict=False):
        if type(item) not in BY_VALUE:
            yield from others(item, f"{text}[{name!r}]")


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
    # The results of the library transformers are dataclasses and OrderedDicts.
    if new is dict.__new__ or new is OrderedDict.__new__:
        return [*_attributes(x).values(), *OrderedDict.values(x)]
    if new is object.__new__:
        return [*_attributes(x).values()]
    return None


def _attributes(x: object) -> dict[str, Any]:
    """All attributes of an object, in its slots and its `__dict__`, also those that are no dataclass
    fields."""
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
    names = _attributes(x)
    items = x if issubclass(kind, dict) else ()
    if issubclass(kind, dict):
        made = OrderedDict.__new__(kind)
    else:
        made = object.__new__(kind)
    for name, part in zip(names, parts, strict=False):
        object.__setattr__(made, name, part)  # a frozen one, too
    for name, part in zip(items, parts[len(names) :], strict=True):
        OrderedDict.__setitem__(made, name, part)
    return made


def replaced(
    x: object,
    take: Callable[[Any], Any],
    seen: dict[int, Any] | None = None,
    containers: list[tuple[Any, Any]] | None = None,
) -> Any:
    """The arguments with take(x) in the place of each array or Tensor, in the order of `_core._signature`.

    take is called once for an array that occurs several times. Containers in which nothing is replaced stay
    the same objects. seen: the results of take by the id of the array. containers: a list that receives (the
    caller's container, the new one) of each list and dict.
    """
    if seen is None:
        seen = {}
    if is_array(x):
        if id(x) not in seen:
            seen[id(x)] = take(x)
        return seen[id(x)]
    items = parts_of(x, records=False)
    if items is None:
        return x
    new = [i if type(i) in BY_VALUE else replaced(i, take, seen, containers) for i in items]
    changed = x if all(map(is_, new, items)) else with_parts(x, new)
    if containers is not None and type(x) in (list, dict):
        containers.append((x, changed))
    return changed


class Place(int):
    """Stands for a Tensor in a structure; its value is the Tensor's index in a list."""

    __slots__ = ()


def flattened(x: object, tensors: list[Tensor]) -> Any:
    """The structure x with places instead of Tensors; the Tensors are appended to `tensors`, each once."""
    if isinstance(x, Tensor):  # the usual result; the caller's list is empty, so its index is 0
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
    """The structure with Tensors in their places: the inverse of `flattened`."""
    return _mapped(form, Place, tensors.__getitem__)


def _mapped(x: object, leaf: type, change: Callable[[Any], Any]) -> Any:
    """A new structure with change(x) in the place of each leaf."""
    if isinstance(x, leaf):
        return change(x)
    items = parts_of(x)
    if items is None:
        return x
    return with_parts(x, [_mapped(item, leaf, change) for item in items])


def tensors_of(x: object) -> list[Tensor]:
    """The Tensors of a structure, each once."""
    tensors: list[Tensor] = []
    flattened(x, tensors)
    return tensors
