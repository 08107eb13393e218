"""Guards on classes and functions that stand in modules, which the programs of a process share.

Such objects last as long as their modules. What they lead to, and which guards that needs, follows from them
and from the code that ran. So a walk (`walk.py`) finds these guards once for the same objects and the same
code, and further programs, as those of other models of the same classes or of arguments of other shapes, take
them over. They are compared before that, and before each replay, as all guards are.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

from ranvier.compile.guarding.guards import SharedGuards
from ranvier.compile.guarding.traced_code import TracedCode
from ranvier.observe import Lock

_MOST = 16  # more are dropped, the one used first of all


def is_lasting(x: Any) -> bool:
    """True for a class or function that its module has under its name."""
    module = x.__module__
    if type(module) is not str or module not in sys.modules:
        return False
    found: Any = sys.modules[module]
    for name in x.__qualname__.split("."):
        # not by getattr, which may load what a module has at its first use
        found = getattr(found, "__dict__", {}).get(name)
    return found is x


def key_of(traced: TracedCode, objects: Collection[int], texts: set[str]) -> Any:
    """What the guards follow from: the code that ran, the ids of the objects, and texts that were reached."""
    wrappers = frozenset(traced.wrappers())
    asked = frozenset(traced.asked), traced.watched, traced.reads_code
    code = frozenset(traced.codes), wrappers, frozenset(traced.called), asked
    return code, frozenset(objects), frozenset(texts)


def find(key: Any) -> SharedGuards | None:
    """The guards of this key, if there are any and all hold now."""
    with _lock:
        found = _kept.get(key)
        if found is None:
            return None
        if found.core.first_changed() >= 0:
            del _kept[key]
            return None
        _kept.move_to_end(key)
        return found


def keep(key: Any, found: SharedGuards) -> None:
    with _lock:
        _kept[key] = found
        if len(_kept) > _MOST:
            _kept.popitem(last=False)


_kept: OrderedDict[Any, SharedGuards] = OrderedDict()  # the one used last at the end
_lock = Lock()
