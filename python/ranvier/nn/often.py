"""Counts the calls of modules without gradients. `compile/repeated.py` records a module that is called often
and replays its calls.

`called` gets the calls of a Sequential, and of a module whose class is the user's.
"""

from __future__ import annotations

import gc
import sys
from sys import getprofile, gettrace
from time import perf_counter
from typing import Any
from weakref import ref

import ranvier._core as _core
from ranvier.extension import provider
from ranvier.observe import observers, running, value_read
from ranvier.tensors.tensor import Tensor

_core._set_call_state(running, value_read)
# The name under which the core keeps the recorded call of a module (`compile/repeated.py`). None as its
# value: the module is not replayed.
REPLAY = "_replay of ranvier"
attach = _core._attach
attached = _core._attached
gc.callbacks.append(_core._collects)
# A module is recorded after this many seconds of calls without gradients, and at least this many calls. A
# recording takes 1 to 6 ms, the first one of a process 60 ms.
_ENOUGH = 0.02
_AT_LEAST = 16
# {id of a module: (weak reference to it, number of its calls so far, their seconds)}
_calls: dict[int, tuple[Any, int, float]] = {}
# sys.monitoring exists from Python 3.12 on.
_tool_of: Any = getattr(getattr(sys, "monitoring", None), "get_tool", None)
_DEBUGGER = 0
_PROFILER = 2


def called(module: Any, *args: Any) -> Any:
    """module(*args), without gradients, counted or replayed if possible. The core calls this function after
    it has checked most of the conditions, too."""
    plain = all(type(x) is Tensor and not x._requires_grad for x in args)
    call = attached(module, REPLAY, module)
    if observers or running or call is None or not (plain and args):
        return module.forward(*args)
    if call is module:
        return _counted(module, args)
    if is_watched():
        return module.forward(*args)
    return call(*args)


def is_watched() -> bool:
    """True if a debugger or a profiler looks at the code that runs."""
    if gettrace() is not None or getprofile() is not None:
        return True
    return _tool_of is not None and any(_tool_of(number) is not None for number in (_DEBUGGER, _PROFILER))


def _counted(module: Any, args: tuple[Any, ...]) -> Any:
    """Calls the module and counts the call; records the module if it has been called often."""
    link, calls, seconds = _calls.get(id(module), (None, 0, 0.0))
    if link is None or link() is not module:  # The id belonged to a module that is gone.
        link = ref(module)
        calls = 0
        seconds = 0.0
    if seconds >= _ENOUGH and calls >= _AT_LEAST and not is_watched():
        _calls.pop(id(module), None)  # Another thread may have removed it.
        call = provider("replays").begin(module, args)
        if call is None:
            return module.forward(*args)
        return call(*args)
    began = perf_counter()
    result = module.forward(*args)
    _calls[id(module)] = link, calls + 1, seconds + perf_counter() - began
    if len(_calls) > 4096:
        _calls.clear()
    return result
