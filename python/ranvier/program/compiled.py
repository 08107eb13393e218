"""CompiledFunction: what `rv.compile` returns for a function or method."""

from __future__ import annotations

import functools
import os
import sys
import time
from _thread import RLock
from _thread import _count as other_threads
from _thread import _local as local
from collections import Counter
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakSet, ref

import ranvier._core as _core
from ranvier.autograd import random
from ranvier.autograd.recording import Recording, current, recordings
from ranvier.autograd.tensor import borrowed
from ranvier.program.batches import Batches
from ranvier.program.cache import ProgramCache
from ranvier.program.errors import CaptureError
from ranvier.program.guard_kinds import STATE
from ranvier.program.objects import attributes_of
from ranvier.program.program import EARLIER, Entry, Program
from ranvier.program.record import keeps_strides, record
from ranvier.program.signature import environment, form, others, replaced, signature
from ranvier.program.touches import Large

__all__ = ["CompiledFunction", "other_threads", "running"]

_CACHED = 1 << 20  # bytes that a check may leave in the allocator's cache
_WATCHED = 8  # times that a recording looks for arrays that are read, beside other threads
_SHARE = 100  # a check may take one part in so many of the time since the last one


class _Local(local):
    eager = 0  # compiled functions that run eagerly now in this thread, one inside another


running = _Local()
_all: WeakSet[CompiledFunction] = WeakSet()


def _renew_locks() -> None:
    """In a forked child, which does not have the thread that held a lock."""
    for compiled in _all:
        compiled._lock = RLock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_locks)


class CompiledFunction:
    """A function that is recorded once and then replayed; made by :func:`compile`.

    after: calls of a signature that run eagerly before it is recorded.
    """

    _forward_only = False  # of a model, always without a tape

    def __init__(self, function: Callable[..., Any], verify: bool | int = True, after: int = 0) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._verify, self._after = verify, after
        self._forget()

    def _forget(self) -> None:
        self._place = f"compiled {getattr(self, '__qualname__', '')}"  # of a method, in its object's dict
        self._cache = ProgramCache()
        self._instances: WeakSet[CompiledFunction] = WeakSet()  # the same method of objects
        self._waiting = Counter[Any]()
        self._large: Large | None = None  # arrays that the step may read: the next recording tells
        self._watched = 0  # how often they were watched
        self._set_up: set[Any] = set()  # signatures whose first call kept a result
        # the last that ran, and the one before it: a call that fits one of them is replayed at once
        self._latest: Program | None = None
        self._before: Program | None = None
        self._lock = RLock()
        _all.add(self)
        self._checked, self._check_took = time.perf_counter(), 0.0

    # --- methods
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
        """The programs for one object. The object holds them, since they hold it: both are freed together."""
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

    # --- calls
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recordings and current() is not None:  # part of another step, which records its calls
            return self._eager(args, kwargs)
        if other_threads():  # they wait while a step is recorded, checked or replayed
            with self._lock:
                return self._in_turn(args, kwargs)
        return self._in_turn(args, kwargs)

    def _in_turn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for program in (self._latest, self._before):
            if program is None or not program.checks_left or kwargs:
                continue
            fits = True
            for plan, optimizer, group in program.plans:
                fits = plan.refresh(optimizer, group) and fits
            results = program.call(args) if fits else None
            if results is not None:
                program.checks_left -= 1
                self._ran(program)
                return program.result(results)
        with self._lock:  # a thread may begin meanwhile
            return self._by_signature(args, kwargs)

    def run_batches(self, args: tuple[Any, ...], batches: Batches) -> Any:
        """Replays one of the latest programs on several batches: what the calls return, along a new axis 0.

        An array among the arguments has the samples of all batches, or one axis more than in a call: an entry
        for each batch. The run ends early (`batches.done`) after 50 ms, before a check, and after a batch
        with a number that is not finite. None where the next call would not replay one of them.
        """
        if recordings and current() is not None:
            return None
        with self._lock:
            for program in (self._latest, self._before):
                if program is None or not program.checks_left:
                    continue
                count = batches.count
                if program.checks_left > 0:
                    batches.count = min(count, program.checks_left)
                try:
                    results = program.run_batches(args, batches)
                finally:
                    program.checks_left -= batches.done
                if results is not None:
                    self._ran(program)
                    return results
                batches.count = count
            return None

    def _ran(self, program: Program) -> None:
        if program is not self._latest:
            self._latest, self._before = program, self._latest

    @property
    def latest(self) -> tuple[Program, int] | None:
        """The program that ran last and how often it was checked; None before the first."""
        program = self._latest
        return None if program is None else (program, program.checks)

    def draws(self) -> bool:
        """Whether the program that ran last draws random numbers from the stream of this thread."""
        program = self._latest
        return program is not None and program.core.overlaps((random.current().state,))

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        running.eager += 1
        try:
            return self._function(*replaced(args, borrowed), **replaced(kwargs, borrowed))
        finally:
            running.eager -= 1

    def _by_signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arrays: list[Any] = []
        key = signature(args, kwargs, arrays), environment()
        if not all(map(keeps_strides, arrays)):  # a recording would read a copy, in another order
            return self._eager(args, kwargs)
        program = self._cache.current(key)
        if program is None or program.core.overlaps(tuple(arrays)):
            return self._record(key, args, kwargs)
        self._cache.use(key)
        if program.checks_left == 0:
            return self._check(key, program, args, kwargs)
        program.checks_left -= 1
        self._cache.replayed()
        self._ran(program)
        results = program.replay(tuple(arrays))
        return self._eager(args, kwargs) if results is None else program.result(results)

    # --- recordings
    def _record(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._waiting[key] < self._after:
            self._waiting[key] += 1
            return self._eager(args, kwargs)
        if self._cache.is_overdrawn(key, getattr(self, "__name__", type(self._function).__name__)):
            return self._eager(args, kwargs)
        large, self._large = self._large, None
        result, recording, slots = record(self._function, args, kwargs, None, large, self._forward_only)
        self._cache.recorded()
        if recording.passing:
            return result
        try:
            program = self._program(recording, slots, args, kwargs, result)
        except CaptureError as error:
            if not self._may_try_again(key, error, large):
                raise
            return result
        for dropped in self._cache.add(key, program):
            self._waiting.pop(dropped, None)
            self._set_up.discard(dropped)
        del recording  # and with it the memory of the recording
        _core.empty_cache()
        return result

    def _may_try_again(self, key: Any, error: CaptureError, large: Large | None) -> bool:
        """Whether the next call may be recorded, although the recording of this one cannot be replayed."""
        known = [] if large is None else large[0]
        new = error.large is not None and any(all(x is not y for y in known) for x in error.large[0])
        if new or (error.large is not None and other_threads() and self._watched < _WATCHED):
            # the next call is watched; once more, where another thread may have loaded the array
            self._large = error.large
            self._watched += 1
            return True
        if not error.kept or key in self._set_up:
            return False
        self._set_up.add(key)  # a mask that is kept in a dict, say: the next call finds it there
        return True

    def _program(
        self,
        recording: Recording,
        slots: list[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> Program:
        roots = [(self._function, "the step"), *others(args, "argument "), *others(kwargs, "argument ")]
        known = self._cache.all()
        return Program(recording, slots, form(args, kwargs), roots, result, self._forward_only, known)

    # --- checks
    def _check(self, key: Any, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the step eagerly, and the program beside it, call by call; returns the eager result."""
        began = time.perf_counter()
        self._cache.take(key, program)
        settings = program.settings()
        entry = program.entry()
        watched = None if other_threads() else program.large
        core = None if self._verify is False else program.core
        try:
            result, recording, slots = record(
                self._function, args, kwargs, program.arguments, watched, self._forward_only, core
            )
        except BaseException:  # the step's own, as an index out of range: the program is as good as it was
            self._cache.put(key, program)
            raise
        if recording.passing:
            self._cache.put(key, program)
            return result
        changed = program.changed()
        other = program.core.other_path(recording.core)
        if (other and not program.renewed) or changed.startswith(f"{STATE} of "):
            # the first run had something to set up, or this one
            program = self._program(recording, slots, args, kwargs, result)
            program.renewed = True
            self._cache.recorded()
        else:
            fault = recording.fault or recording.reads.fault
            if not fault and changed and not program.may_change(changed):
                fault = (
                    f"the step changes {changed} each time it runs, which a replay would not; do that "
                    "outside the step, or pass it as an argument"
                )
            elif not fault and other:
                fault = f"the step does not do the same each time: {other}"
            elif not fault and program.settings() != settings:
                fault = "the step changes the settings of its optimizer (a schedule?); do that outside"
            if recording.check is not None:
                fault = fault or recording.check.finish()
                recording.check = None
            fault = fault or self._accept(program, recording, entry, changed in ("", EARLIER))
            if fault:
                raise CaptureError(f"[compile] {fault}", result)
        self._cache.put(key, program)
        del recording
        if _core.memory_stats()["bytes_cached"] > _CACHED:
            _core.empty_cache()
        self._checked = time.perf_counter()
        self._check_took = self._checked - began
        return result

    def _accept(self, program: Program, recording: Recording, entry: Entry, holds: bool) -> str:
        """Takes a program that was checked for the next calls; "" or why it cannot be replayed.

        holds: its guards do, except those on gradients.
        """
        fault = program.guard(recording, entry, holds)
        recording.leaves.clear()  # adopt_gradients counts the references to them
        recording.dropped.clear()
        program.core.adopt_gradients()
        if not fault:
            program.checks += 1
            # at calls 2, 4, 8 ...: what no guard knows is still found
            program.checks_left = 2**program.checks - 1 if self._verify is True else int(self._verify) or -1
        return fault

    def check_soon(self) -> None:
        """The next replay runs beside an eager step, unless that would take over 1 % of the time."""
        program = self._latest
        long_ago = time.perf_counter() - self._checked > _SHARE * self._check_took
        if program is not None and program.checks_left > 0 and self._verify is True and long_ago:
            program.checks_left = 0

    # --- copies
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
        return self._cache.all() + [program for one in list(self._instances) for program in one.programs]

    def explain(self) -> None:
        """Prints the table of each program's instructions: see :meth:`Program.explain`."""
        for program in self.programs:
            program.explain()


class _CompiledMethod(CompiledFunction):
    """The compiled method of one object."""

    def __init__(self, family: CompiledFunction, owner: Any) -> None:
        self._family, self._owner = family, ref(owner)
        super().__init__(family._function, family._verify, family._after)

    def __reduce_ex__(self, protocol: Any) -> Any:  # with its object: a copy of that starts without programs
        return type(None), ()
