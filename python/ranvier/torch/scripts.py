"""torch.jit beside `script`: what programs call that run as Python, too."""

from __future__ import annotations

import contextlib
import importlib
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any, NamedTuple

from ranvier.torch.futures import Future as Future


class Attribute(NamedTuple):
    """A value and its type."""

    value: Any
    type: Any


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether an object, with what is in it, is of a type.

    >>> isinstance([1], list[int]), isinstance({"a": 1}, dict[str, float]), isinstance(None, int | None)
    (True, False, True)
    """
    inner, kind = typing.get_args(target_type), typing.get_origin(target_type)
    if type(target_type) is tuple or kind in (typing.Union, UnionType):
        return any(isinstance(obj, one) for one in inner or target_type)
    if target_type is Any or target_type is None:
        return target_type is Any or obj is None
    if not _is(obj, kind or target_type):
        return False
    if kind is tuple and inner[-1:] != (...,):
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    if kind is dict:
        return all(isinstance(k, inner[0]) and isinstance(v, inner[1]) for k, v in obj.items())
    return kind not in (list, tuple) or all(isinstance(x, inner[0]) for x in obj)


_is = importlib.import_module("builtins").isinstance


def fork(func: Any, *args: Any, **settings: Any) -> Future:
    """A future with what the call gives, which runs at once."""
    future: Future = Future()
    future.set_result(func(*args, **settings))
    return future


def wait(future: Future) -> Any:
    return future.wait()


@contextlib.contextmanager
def optimized_execution(*args: Any, **settings: Any) -> Iterator[None]:
    """A block without effect."""
    yield


fuser = strict_fusion = optimized_execution


def set_fusion_strategy(strategy: Any) -> list[Any]:
    """Nothing is fused: it had no strategy."""
    return []
