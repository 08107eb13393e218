"""Counts the calls of modules without gradients, so that a module that is called often is replayed.

``Module.__call__`` passes the calls of a Sequential, and of a module whose class is the user's, to
`count_or_replay`. After enough calls `compile/repeated.py` records the module: its kernel calls are stored,
and further calls run them again (a replay) in place of the code of ``forward``.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from sys import getprofile, gettrace
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import ref

import ranvier._core as _core
from ranvier.extension import provider
from ranvier.observe import observers, running, value_read
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.nn.registry import ModuleLike

# For the core: the list of compiled functions that run eagerly, and what it calls when a value is read.
_core._set_call_state(running, value_read)
# The name under which the core keeps the recorded call of a module (`compile/repeated.py`). None as its
# value: the module is not replayed.
REPLAY = "_replay of ranvier"
attach = _core._attach
attached = _core._attached
# A recorded call refers to its module. While Python collects garbage, the core puts such values into the
# __dict__ of their objects, where the collector finds the cycle (cpp/bindings/tape/attached.cpp).
gc.callbacks.append(_core._collects)
# A module is recorded after this many seconds of calls without gradients, and at least this many calls. A
# recording takes 1 to 6 ms, the first one of a process 60 ms.
_ENOUGH = 0.02
_AT_LEAST = 16
# With counts of more modules than this, all counts start anew: most belong to modules that are gone.
_MOST_MODULES = 4096
# sys.monitoring exists from Python 3.12 on.
_tool_of: Callable[[int], str | None] | None = getattr(getattr(sys, "monitoring", None), "get_tool", None)
_DEBUGGER = 0
_PROFILER = 2


class _Calls:
    """The calls of one module so far: how many, and how long they took."""

    __slots__ = ("count", "module", "seconds")

    def __init__(self, module: ref[ModuleLike]) -> None:
        self.module = module
        self.count = 0
        self.seconds = 0.0


_calls: dict[int, _Calls] = {}  # by the id of the module


def count_or_replay(module: ModuleLike, *args: Any) -> Any:
    """module(*args), without gradients, counted or replayed if possible. The core calls this function after
    it has checked most of the conditions, too."""
    are_plain = all(type(x) is Tensor and not x._requires_grad for x in args)
    call = attached(module, REPLAY, module)  # the recorded call; the module itself if there is none
    if observers or running or call is None or not (are_plain and args):
        return module.forward(*args)
    if call is module:
        return _count(module, args)
    if is_watched():
        return module.forward(*args)
    return call(*args)


def is_watched() -> bool:
    """True if a debugger or a profiler looks at the code that runs."""
    if gettrace() is not None or getprofile() is not None:
        return True
    return _tool_of is not None and any(_tool_of(number) is not None for number in (_DEBUGGER, _PROFILER))


def _count(module: ModuleLike, args: tuple[Tensor, ...]) -> Any:
    """Calls the module and counts the call; records the module if it has been called often."""
    calls = _calls.get(id(module))
    if calls is None or calls.module() is not module:  # The id belonged to a module that is gone.
        calls = _Calls(ref(module))
    if calls.seconds >= _ENOUGH and calls.count >= _AT_LEAST and not is_watched():
        _calls.pop(id(module), None)  # Another thread may have removed it.
        call = provider("replays").begin(module, args)
        if call is None:
            return module.forward(*args)
        return call(*args)
    began = perf_counter()
    result = module.forward(*args)
    calls.seconds += perf_counter() - began
    calls.count += 1
    _calls[id(module)] = calls
    if len(_calls) > _MOST_MODULES:
        _calls.clear()
    return result
