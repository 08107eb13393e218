"""CompiledFunction: a step recorded once and replayed as one call into the core."""

from __future__ import annotations

import functools
import os
import sys
import time
import warnings
from _thread import RLock
from _thread import _count as other_threads
from _thread import _local as local
from collections import Counter, OrderedDict
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakSet, ref

import numpy as np

import ranvier._core as _core
from ranvier.autograd.mode import mode, no_grad
from ranvier.autograd.recording import current, recordings
from ranvier.autograd.tensor import borrowed
from ranvier.program.errors import CaptureError
from ranvier.program.guard_kinds import STATE
from ranvier.program.objects import attributes_of
from ranvier.program.program import Program
from ranvier.program.signature import changed_argument, environment, form, others, replaced, signature
from ranvier.program.step import Large, Step, keeps_strides, record

Array = np.ndarray[Any, Any]

_PROGRAMS = 32  # kept at most; the one that was used least recently goes
_DEBT = 128  # a recording adds 4, a replay takes 1 off: above this, calls that no program fits run eagerly
_WATCHED = 8  # times that a recording looks for arrays that are read, beside other threads
_SHARE = 100  # a check may take one part in so many of the time since the last one


class _Local(local):
    steps = 0  # that run eagerly now in this thread, one inside another


_local = _Local()


_all: WeakSet[CompiledFunction] = WeakSet()


def _renew_locks() -> None:
    """In a forked child: the thread that held a lock is not there."""
    for compiled in _all:
        compiled._lock = RLock()


os.register_at_fork(after_in_child=_renew_locks)


class CompiledFunction:
    """A step that replays itself; made by :func:`compile`.

    after: calls of a signature that run eagerly before it is captured.
    """

    _forward_only = False  # of a model, always without a tape

    def __init__(self, function: Callable[..., Any], verify: bool | int = True, after: int = 0) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._verify, self._after = verify, after
        self._forget()

    def _forget(self) -> None:
        self._place = f"compiled {getattr(self, '__qualname__', '')}"  # of a method, in its object's dict
        self._steps: OrderedDict[Any, list[Step]] = OrderedDict()  # by signature; several for other guards
        self._instances: WeakSet[CompiledFunction] = WeakSet()  # the same method of objects
        self._waiting = Counter[Any]()
        self._large: Large | None = None  # arrays that the step may read: the next recording tells
        self._watched = 0  # how often they were watched
        self._set_up: set[Any] = set()  # signatures whose first call kept a result
        self._latest: Step | None = None  # the one that was run last: a call that fits it goes there at once
        self._debt, self._warned = 0, False
        self._lock = RLock()
        _all.add(self)
        self._last_key: Any = None
        self._checked, self._check_took = time.perf_counter(), 0.0

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a function does: a decorated method gets its object as the first argument."""
        if instance is None or type(self._function) is not FunctionType:
            return self
        try:  # what the object has already, and quickly
            found = instance.__dict__[self._place]
            if found._owner() is instance and found._family is self:
                return MethodType(found, instance)
        except (AttributeError, KeyError, TypeError):
            pass
        return MethodType(self._of(instance), instance)

    def _of(self, instance: Any) -> CompiledFunction:
        """The programs for one object: they hold it, so it holds them, and both go together."""
        own = attributes_of(instance)
        if own is None:
            return self
        with self._lock:  # two threads may come first
            found = own.get(self._place)
            if type(found) is _CompiledMethod and found._family is self and found._owner() is instance:
                return found
            try:
                found = own[self._place] = _CompiledMethod(self, instance)
            except TypeError:  # no weak reference to it can be made
                return self
            self._instances.add(found)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recordings and current() is not None:  # part of another step, which records its calls
            return self._eager(args, kwargs)
        if other_threads():  # which wait while a step is recorded, checked or replayed
            with self._lock:
                return self._in_turn(args, kwargs)
        return self._in_turn(args, kwargs)

    def _in_turn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        step = self._latest
        if step is not None and step.checks_left and not kwargs:
            fits = True
            for plan, optimizer, group in step.plans:
                fits = plan.refresh(optimizer, group) and fits
            results = step.call(args) if fits else None
            if results is not None:
                step.checks_left -= 1
                return step.result(results)
        with self._lock:  # a thread may begin meanwhile
            return self._by_signature(args, kwargs)

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _local.steps += 1
        try:
            return self._function(*replaced(args, borrowed), **replaced(kwargs, borrowed))
        finally:
            _local.steps -= 1

    def _by_signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arrays: list[Array] = []
        key = signature(args, kwargs, arrays), environment()
        if not all(map(keeps_strides, arrays)):  # a recording would read a copy, in another order
            return self._eager(args, kwargs)
        steps = self._steps.get(key, ())
        step = next((step for step in steps if step.is_current()), None)
        if step is None or step.program.overlaps(tuple(arrays)):
            return self._capture(key, args, kwargs)
        self._steps.move_to_end(key)
        self._last_key = key
        if step.checks_left == 0:
            return self._check(key, step, args, kwargs)
        step.checks_left -= 1
        if self._debt:
            self._debt -= 1
        self._latest = step
        return step.replay(tuple(arrays))

    def _capture(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._waiting[key] < self._after:
            self._waiting[key] += 1
            return self._eager(args, kwargs)
        if self._debt > _DEBT:
            self._warn(key)
            self._debt -= 1
            return self._eager(args, kwargs)
        large, self._large = self._large, None
        result, recording, slots = record(self._function, args, kwargs, None, large)
        self._debt += 4
        if recording.passing:
            return result
        try:
            step = self._step(recording, slots, args, kwargs, result)
        except CaptureError as error:
            known = [] if large is None else large[0]
            new = error.large is not None and any(all(x is not y for y in known) for x in error.large[0])
            if new or (error.large is not None and other_threads() and self._watched < _WATCHED):
                # the next call is watched; once more, where another thread may have loaded the array
                self._large = error.large
                self._watched += 1
                return result
            if not error.kept or key in self._set_up:
                raise
            self._set_up.add(key)  # a mask that is kept in a dict, say: the next call finds it there
            return result
        self._steps.setdefault(key, []).insert(0, step)
        self._steps.move_to_end(key)
        while sum(map(len, self._steps.values())) > _PROGRAMS:
            self._drop_oldest()
        self._last_key = key
        del recording  # and with it the memory of the recording
        _core.empty_cache()
        return result

    def _drop_oldest(self) -> None:
        key, steps = next(iter(self._steps.items()))
        steps.pop()
        if not steps:
            del self._steps[key]
            self._waiting.pop(key, None)
            self._set_up.discard(key)

    def _warn(self, key: Any) -> None:
        """Says, once, what makes nearly every call a new recording."""
        if self._warned:
            return
        self._warned = True
        last = self._last_key
        if last is not None and last != key:
            cause = changed_argument(last[0], key[0]) if last[0] != key[0] else "a setting of the library"
            remedy = "pass a number as an array, and arrays in few shapes"
        else:
            cause = next(
                (step.changed() for step in self._steps.get(key, ()) if step.changed()), "what it reads"
            )
            remedy = "pass it as an array"
        name = getattr(self, "__name__", type(self._function).__name__)
        warnings.warn(
            f"[compile] {cause} changes with nearly every call of {name}, and each time the step is recorded "
            f"anew; such calls run eagerly from now on; {remedy}",
            stacklevel=4,
        )

    def _step(
        self,
        recording: Any,
        slots: list[Array],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> Step:
        roots = [(self._function, "the step"), *others(args, "argument "), *others(kwargs, "argument ")]
        return Step(recording, slots, form(args, kwargs), roots, result, self._forward_only)

    def _check(self, key: Any, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the step eagerly, and the program beside it from the same state; the eager run counts."""
        began = time.perf_counter()
        self._steps[key].remove(step)
        settings = step.settings()
        before, entry = step.program.snapshot(), step.entry()
        watched = None if other_threads() else step.large
        try:
            result, recording, slots = record(self._function, args, kwargs, step.arguments, watched)
        except BaseException:  # the step's own, as an index out of range: the program is as good as it was
            self._steps[key].insert(0, step)
            raise
        if recording.passing:
            self._steps[key].insert(0, step)
            return result
        changed = step.changed()
        other = step.program.other_path(recording.core)
        if (other and not step.renewed) or changed.startswith(f"{STATE} of "):
            # the first run had something to set up, or this one
            step = self._step(recording, slots, args, kwargs, result)
            step.renewed = True
            self._debt += 4
        else:
            fault = recording.fault or recording.reads.fault
            if not fault and changed and not step.may_change(changed):
                fault = (
                    f"the step changes {changed} each time it runs, which a replay would not; do that "
                    "outside the step, or pass it as an argument"
                )
            elif not fault and other:
                fault = f"the step does not do the same each time: {other}"
            elif not fault and step.settings() != settings:
                fault = "the step changes the settings of its optimizer (a schedule?); do that outside"
            if self._verify is not False:
                fault = fault or step.program.check(before, recording.core, tuple(slots))
            self._go_on(step, recording, entry, fault, result)
        self._steps[key].insert(0, step)
        del recording, before
        _core.empty_cache()
        self._checked = time.perf_counter()
        self._check_took = self._checked - began
        return result

    def _go_on(self, step: Step, recording: Any, entry: Any, fault: str, result: Any) -> None:
        """Takes a step that was checked for the next calls, or raises CaptureError."""
        if not fault:
            fault = step.guard(recording, entry)
            recording.leaves.clear()  # adopt_gradients asks who holds them
            recording.dropped.clear()
            step.program.adopt_gradients()
        if fault:
            raise CaptureError(f"[compile] {fault}", result)
        step.checks += 1
        # at calls 2, 4, 8 ...: what no guard knows is still found
        step.checks_left = 2**step.checks - 1 if self._verify is True else int(self._verify) or -1

    def check_soon(self) -> None:
        """The next replay runs beside an eager step, unless that would take over 1 % of the time."""
        step = self._latest
        long_ago = time.perf_counter() - self._checked > _SHARE * self._check_took
        if step is not None and step.checks_left > 0 and self._verify is True and long_ago:
            step.checks_left = 0

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By its name where that leads here, as a function; else its function, without programs."""
        name = getattr(self, "__qualname__", "")
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in ("_function", "_verify", "_after")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        functools.update_wrapper(self, self._function, updated=())
        self._forget()

    @property
    def programs(self) -> list[Program]:
        """The programs so far, one for each signature; of a method in a class, those of all its objects."""
        own = [Program(step.program, step.names) for steps in self._steps.values() for step in steps]
        return own + [program for one in list(self._instances) for program in one.programs]

    def explain(self) -> None:
        """Prints the table of each program's instructions: see :meth:`Program.explain`."""
        for program in self.programs:
            program.explain()


class _CompiledMethod(CompiledFunction):
    """The captured method of one object."""

    def __init__(self, family: CompiledFunction, owner: Any) -> None:
        self._family, self._owner = family, ref(owner)
        super().__init__(family._function, family._verify, family._after)

    def __reduce_ex__(self, protocol: Any) -> Any:  # with its object: a copy of that begins anew
        return type(None), ()


class CompiledModel(CompiledFunction):
    """A module whose forward pass replays itself; all else of it is to be had here too.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(3, 2).eval()
    >>> fast = rv.compile(model)
    >>> x = np.ones((4, 3), np.float32)
    >>> for _ in range(3): y = fast(x)
    >>> bool((y == model(x)).all()), fast.in_features
    (True, 3)
    """

    _function: Any
    _forward_only = True

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inside = _local.steps or (recordings and current() is not None)  # of a step, which may want gradients
        if inside or (mode.enabled and self._function.training):
            return self._function(*args, **kwargs)
        if other_threads():
            with self._lock:
                return self._in_turn(args, kwargs)
        return self._in_turn(args, kwargs)

    def _in_turn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        step = self._latest
        if step is not None and step.checks_left and not kwargs:
            results = step.call(args)
            if results is not None:
                step.checks_left -= 1
                return step.result(results)
        with no_grad(), self._lock:
            return self._by_signature(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_function" not in vars(self):  # not there yet
            raise AttributeError(name)
        return getattr(self._function, name)
