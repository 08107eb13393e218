"""What decides which program serves a call: shapes and dtypes of arrays, everything else by value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor, wrap

Array = np.ndarray[Any, Any]
ndarray = np.ndarray

_BY_VALUE = frozenset({int, float, bool, str, bytes, type(None), type(...)})


def environment() -> tuple[Any, ...]:
    """What a recorded step depends on besides its arguments."""
    return _core.get_num_threads(), _core.get_winograd(), _core.isa(), mode.enabled


def signature(args: tuple[Any, ...], kwargs: dict[str, Any], arrays: list[Array]) -> tuple[Any, ...]:
    """A key for a call; the arrays found on the way are appended to `arrays`, in order."""
    key = [_key(x, arrays) for x in args]
    if kwargs:
        key.append(tuple([(name, _key(kwargs[name], arrays)) for name in sorted(kwargs)]))
    return tuple(key)


def _key(x: Any, arrays: list[Array]) -> Any:
    kind = type(x)
    if kind is ndarray or (isinstance(x, Tensor) and not x.requires_grad):
        array = x if kind is ndarray else x._array
        arrays.append(array)
        return array.shape, array.dtype
    if kind in _BY_VALUE:
        return kind, x
    if kind is tuple or kind is list:
        return (kind, *[_key(item, arrays) for item in x])
    if kind is dict:
        return (kind, *[(name, _key(item, arrays)) for name, item in x.items()])
    return kind, id(x)  # modules, optimizers, parameters: the thing itself


def form(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Positional arguments as the core compares them: None for an array, else the value.

    A call of another kind (keywords, containers) has a form that no call fits, and goes by its signature.
    """
    values: list[Any] = []
    for x in args:
        if type(x) is ndarray or (isinstance(x, Tensor) and not x.requires_grad):
            values.append(None)
        elif type(x) in _BY_VALUE and x is not None:
            values.append(x)
        else:
            return [_NO_CALL]
    return [_NO_CALL] if kwargs else values


_NO_CALL = object()


def replaced(x: Any, take: Callable[[Array], Tensor]) -> Any:
    """The arguments with take(array) in the place of each array, in the order of `signature`."""
    kind = type(x)
    if kind is ndarray or (isinstance(x, Tensor) and not x.requires_grad):
        return take(x if kind is ndarray else x._array)
    if kind is tuple or kind is list:
        return kind(replaced(item, take) for item in x)
    if kind is dict:
        return {name: replaced(item, take) for name, item in x.items()}
    return x


def flattened(x: Any, tensors: list[Tensor]) -> Any:
    """A structure with the places of its Tensors in `tensors`, to which they are appended."""
    kind = type(x)
    if isinstance(x, Tensor):
        tensors.append(x)
        return Place(len(tensors) - 1)
    if kind is tuple or kind is list:
        return kind(flattened(item, tensors) for item in x)
    if isinstance(x, tuple):  # a named tuple
        return kind(*[flattened(item, tensors) for item in x])
    if kind is dict:
        return {name: flattened(item, tensors) for name, item in x.items()}
    return x


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
    if isinstance(form, tuple):
        return kind(*[filled(item, tensors) for item in form])
    if kind is dict:
        return {name: filled(item, tensors) for name, item in form.items()}
    return form


__all__ = ["environment", "filled", "flattened", "replaced", "signature", "wrap"]
