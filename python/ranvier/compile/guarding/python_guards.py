"""Makes the guards on objects of Python's own library and NumPy, other than containers and functions.

Each function here handles one kind of value, and the table `_FOLLOW` in `walk.py` calls it by the value's
class. It adds guards to the walk, or denies the step. text: names the value in messages.
"""

from __future__ import annotations

import enum
import gc
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.compile.guarding.capturable import CACHED, MOST, GuardKind, is_listed, is_numpy_function
from ranvier.compile.guarding.equality import PLAIN
from ranvier.compile.guarding.guards import Guards
from ranvier.tensors.dtypes import dtype as DType

if TYPE_CHECKING:
    import logging


def guard_set(walk: Guards, x: set[Any], text: str) -> None:
    """Guards the items of a set and their order, in which a loop over the set goes."""
    if len(x) > MOST:
        walk.deny(text, f"a set of {len(x)} items, too many to be compared before each replay")
        return
    walk.call(f"the items of {text}", tuple, x)
    walk.stack += [(item, text) for item in x if type(item) not in PLAIN]


def guard_field(walk: Guards, x: object, text: str) -> None:
    """Guards a field of a dataclass."""
    for name in ("name", "default", "default_factory", "_field_type"):
        walk.add((GuardKind.SLOT, x, name, getattr(x, name), text))


def guard_logger(walk: Guards, x: logging.Logger, text: str) -> None:
    """Guards the attributes of a logger that the code names. A step that logs was refused before."""
    walk.items(vars(x), walk.names & vars(x).keys(), f"{text}.", follow=False)
    if not walk.names.isdisjoint(("handlers", "filters", "manager")):
        walk.deny(text, "a logger, of which lists may be read")


def guard_namespace(walk: Guards, x: types.SimpleNamespace, text: str) -> None:
    """Guards all attributes: C code that makes the text of a namespace, or compares it, reads them all."""
    walk.users = True
    walk.whole(vars(x), (f"{text}.", ""))
    walk.stack += [(value, f"{text}.{name}") for name, value in vars(x).items()]


def guard_scalar(walk: Guards, x: object, text: str) -> None:
    """Guards np.errstate beside a scalar of NumPy, whose own value the guard on its place compares."""
    walk.numpy()
    if isinstance(x, np.void):  # a row of a structured array, which can be written to
        walk.deny(text, "a row of a table of NumPy")


def guard_array(walk: Guards, x: object, text: str) -> None:
    remedy = "make it a Tensor outside the step (rv.tensor), which a replay reads as it is"
    walk.deny(text, "an array of NumPy, whose elements are not compared", remedy)


def guard_numpy(walk: Guards, x: object, text: str) -> None:
    walk.numpy()
    if not (isinstance(x, np.dtype) or is_numpy_function(x)):
        walk.deny(text, "a function of NumPy that is not listed")


def guard_wrapper(walk: Guards, x: Any, text: str) -> None:
    if not is_listed(x):
        walk.deny(text, "which is made in C")


def guard_cached(walk: Guards, x: Any, text: str) -> None:
    """Guards keys and results of a function with a cache (functools.lru_cache), in the order of their use.

    While that is the same, a call whose key is there returns the recorded result, at whatever time and from
    whatever values it was computed; and it leaves the cache as it is. A call whose key is not there runs the
    function, which is followed like any other.
    """
    function = vars(x).get("__wrapped__")
    held = gc.get_referents(x)
    if type(function) is not types.FunctionType or not any(part is function for part in held):
        walk.deny(text, "a cache of what is no function of Python")
        return
    info = CACHED.cache_info(x)
    keys = _keys_of(x, held, info.currsize)
    if keys is None or len(keys) > MOST:
        walk.deny(text, f"a cache of {info.currsize} results, which cannot be compared before each replay")
        return
    if not all(map(_is_found_again, keys)):
        remedy = "call the function outside the step, or with numbers and texts"
        walk.deny(text, "a cache with a key that is found by more than its value", remedy)
        return
    walk.items(vars(x), walk.names, f"{text}.")
    walk.stack.append((function, text))
    if info.maxsize is None:
        walk.container(keys, f"the cache of {text}", dict)
        return

    def held_now() -> tuple[Any, ...]:
        return tuple(gc.get_referents(x))

    # No functools.partial, so that the guard is the same in all steps of a form (`GuardForm`).
    walk.add((GuardKind.CALL, held_now, "", held_now(), f"the cache of {text}"))
    for part in held:
        if part is not keys and part is not vars(x) and not _is_of_functools(part):
            walk.stack.append((part, f"the cache of {text}"))


def _keys_of(x: Any, held: list[Any], count: int) -> dict[Any, Any] | None:
    """The dict of a cache, whose keys are those of the results; None if it is not known which one that is.

    held: what the cache holds. Of a cache without a limit the values of the dict are the results; of any
    other they are objects of functools.
    """
    found = []
    for part in held:
        if type(part) is not dict or part is vars(x) or len(part) != count:
            continue
        is_bounded = CACHED.cache_info(x).maxsize is not None
        if is_bounded and not all(type(value).__name__ == "_lru_list_elem" for value in part.values()):
            continue
        found.append(part)
    if len(found) != 1:
        return None
    return found[0]


def _is_of_functools(part: object) -> bool:
    """True for a class of functools, and for the object that stands between the arguments in a key."""
    return type(part) is object or (isinstance(part, type) and part.__module__ == "functools")


def _is_found_again(key: Any) -> bool:
    """True if a key is found by values and objects that guards compare.

    A Tensor is not: the step may get another one at each call.
    """
    kind: Any = type(key)
    if kind in PLAIN:
        return bool(key == key)  # NaN is found by its identity
    if kind is DType or isinstance(key, np.dtype):
        return True
    if kind in (tuple, frozenset):
        return all(map(_is_found_again, key))
    if isinstance(key, enum.Enum):
        return kind.__hash__ is enum.Enum.__hash__
    return kind.__hash__ is object.__hash__ and kind.__eq__ is object.__eq__
