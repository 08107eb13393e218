"""CompiledFunction: what `rv.compile` returns for a function or method."""

from __future__ import annotations

import functools
import time
import warnings
from _thread import RLock, get_ident
from _thread import _count as other_threads
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from weakref import WeakSet, ref

import numpy as np

import ranvier._core as _core
from ranvier.autograd.hooks import after_accumulation, before_accumulation
from ranvier.autograd.recording import Recording, current, recordings
from ranvier.autograd.tensor import borrowed
from ranvier.compile import shared
from ranvier.compile.arguments import keeps_strides
from ranvier.compile.batches import ManyCalls, Runs
from ranvier.compile.cache import Account, ProgramCache, account_of
from ranvier.compile.executed import Executed, looks_at_class
from ranvier.compile.library import STATE
from ranvier.compile.locks import running, with_locks
from ranvier.compile.methods import Methods
from ranvier.compile.program import Program
from ranvier.compile.record import CaptureError, callers_level, detached, difference, record, require_recorded
from ranvier.compile.signature import (
    array_of,
    environment,
    form,
    hint,
    in_row,
    is_watched_mode,
    large,
    others,
    replaced,
    signature,
    united,
)
from ranvier.compile.walk import Walk

_CACHED = 1 << 20  # bytes that a check may leave in the allocator's cache
_MOST_EXCEPTIONS = 4  # runs that are no use for a program
_POSTPONED = 16  # replays until the next attempt to check
_LIKELY: Any = object()


class CompiledFunction(Methods, ManyCalls, Runs, _core._CompiledCall):
    """A function that is recorded once and then replayed, or runs as it is; made by :func:`compile`.

    strict: a step that cannot be replayed raises CaptureError. tensors: arrays of NumPy arrive as Tensors.
    after: calls of a signature that run eagerly before it is recorded.
    shares: a step of the library's own may take the program of another of the same form (`shared.py`).
    """

    step_root = "_function"
    _forward_only = False  # of a model, always without a tape

    def __init__(
        self,
        function: Callable[..., Any],
        verify: bool | int = True,
        strict: bool = False,
        *,
        tensors: bool = False,
        after: int = 0,
        shares: bool = False,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._verify, self._strict = verify, strict
        self._tensors, self._after, self._shares = tensors, after, shares
        self._forget()

    def _forget(self) -> None:
        self._place = f"compiled {getattr(self, '__qualname__', '')}"  # of a method, in its object's dict
        self._cache = ProgramCache(None if self._strict else self._account())
        self._instances: WeakSet[CompiledFunction] = WeakSet()  # the same method of objects
        self._set_up: set[int] = set()  # hashes of signatures whose first call kept a result
        self._warned, self._exceptions, self._has_containers = False, 0, False
        # the last that ran, and the one before it: a call that fits one of them is replayed at once
        self._latest = self._before = None
        self._lock = RLock()
        with_locks.add(self)
        self._checked, self._check_took = time.perf_counter(), 0.0

    def _account(self) -> Account:
        return account_of(self._function)

    def _method_of(self, instance: Any) -> Any:
        return CompiledMethod(self, instance)

    # --- calls
    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """A call that the core does not answer with the program that `_in_turn` has armed."""
        if recordings and current() is not None:  # part of another step, which records its calls
            return self._eager(args, kwargs)
        cache = self._cache
        cache.untimed += self._disarm()
        if cache.resting:
            cache.resting -= 1
            return self._rests(args, kwargs)
        cache.untimed -= 1
        if cache.untimed < 0:
            return self._compare(args, kwargs)
        if other_threads():  # they wait while a step is recorded, checked or replayed
            with self._lock:
                return self._in_turn(args, kwargs)
        return self._in_turn(args, kwargs)

    def _in_turn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        row = in_row(args, kwargs) if kwargs or self._has_containers else args
        for place in (self._latest, self._before, _LIKELY):
            program = self._cache.likely.get(hint(row)) if place is _LIKELY else place
            results = program.call(row) if program is not None and program.refreshed() else None
            if results is not None:
                if row is args and program is self._latest and results is not False:
                    self._cache.untimed -= program.arm(self, self._cache.untimed)
                return self._replayed(program, results, args, kwargs)
        with self._lock:  # a thread may begin meanwhile
            return self._by_signature(args, kwargs)

    def _compare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call whose time is noted, without what it waits for other threads."""
        with self._lock:
            eager = self._cache.next_is_eager()
            began = time.perf_counter()
            result = self._eager(args, kwargs) if eager else self._in_turn(args, kwargs)
            self._cache.compare(eager, time.perf_counter() - began)
        return result

    def _rests(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An eager call, for now in turn with those of other threads, as replays are."""
        with nullcontext() if self._warned else self._lock:
            return self._eager(args, kwargs)

    def _ran(self, program: Program) -> None:
        self._latest, self._before = program, self._latest
        self._cache.replayed()

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function itself, on the caller's own arguments."""
        if self._tensors:
            args, kwargs = replaced(args, _as_tensor), replaced(kwargs, _as_tensor)
        thread = get_ident()
        running.append(thread)
        try:
            return self._function(*args, **kwargs)
        finally:
            running.remove(thread)

    def _timed(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        began = time.perf_counter()
        try:
            result = self._eager(args, kwargs)
        finally:
            often = self._cache.ran_eagerly(key, time.perf_counter() - began)
        if often:
            cause = self._cache.cause(key)
            self._warn(
                f"nearly every call differs from those before, by {cause}; pass numbers as Tensors, "
                "and Tensors in few shapes"
            )
        return result

    def _by_signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        much = large((*args, *kwargs.values()))
        if much:
            why = f"the step depends on {much}, too many to be compared in each call"
            return self._declined("large", why, args, kwargs)
        arrays: list[Any] = []
        try:
            key: tuple[Any, ...] = signature(args, kwargs, arrays), environment()
        except Exception:  # a container that holds itself, an object that raises when it is looked at
            return self._eager(args, kwargs)
        if is_watched_mode() or hash(key) in self._cache.refused:
            return self._timed(key, args, kwargs)
        if not all(map(keeps_strides, arrays)):
            why = "an argument has negative strides or large gaps; pass a contiguous one"
            return self._declined(key, why, args, kwargs)
        arrays, places = united(arrays)
        key = (*key, places) if places else key
        program = self._cache.current(key)
        if program is None:
            return self._record(key, arrays, args, kwargs)
        if program.core.overlaps(tuple(arrays)) or program.reaches(args):
            return self._timed(key, args, kwargs)
        self._cache.use(key)
        if program.checks_left == 0 and self._cache.may_check(program):
            return self._check(key, program, args, kwargs)
        if program.checks_left == 0:  # many signatures: a check must wait
            program.grant(_POSTPONED)
        program.checks_left -= 1
        self._cache.likely[hint(in_row(args, kwargs))] = program
        return self._replayed(program, program.replay(tuple(arrays)), args, kwargs)

    def _replayed(self, program: Any, results: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if program is not self._latest:
            self._ran(program)
        if type(results) is tuple:
            return program.result(results)
        self._cache.failed(program.checks_left)
        return self._eager(args, kwargs)

    def _declined(self, key: Any, why: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is not recorded."""
        result = self._timed(key, args, kwargs)
        self._refuse(key, CaptureError(f"[compile] {why}", result))
        return result

    # --- recordings
    def _record(self, key: Any, arrays: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.few and not self._cache.may_record(key, self._after):
            return self._timed(key, args, kwargs)
        if any(isinstance(x, np.ndarray) for x in (*args, *kwargs.values())) and looks_at_class(
            self._function
        ):
            why = "the step looks at the class of an array of NumPy; pass a Tensor (rv.tensor)"
            return self._declined(key, why, args, kwargs)
        began = time.perf_counter()
        walk = self._of_library()
        form = shared.form(walk, key, args, kwargs) if self._shares else None
        program = None if form is None else shared.find(form, arrays)
        if program is not None:
            self._cache.add(key, program)
            return self._replayed(program, program.replay(tuple(arrays)), args, kwargs)
        if self.few:
            return self._timed(key, args, kwargs)
        try:
            run = [*self._recorded(args, kwargs, read=walk is None)]
            if run[1].passing:
                return self._passed(key, run[0])
            result, program = self._kept(key, run, args, kwargs, walk)
            if program is not None:
                program.took, program.step_form = time.perf_counter() - began, form
                self._cache.add(key, program)
                _core.empty_cache()
            return result
        finally:
            self._cache.recorded(time.perf_counter() - began)

    def _kept(
        self,
        key: Any,
        run: list[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        walk: Walk | None = None,
        beside: tuple[Program, Any] | None = None,
    ) -> tuple[Any, Program | None]:
        """The result of a run and its program; None: it cannot be replayed.

        run: as of `record`; it is emptied, so that nothing keeps the tape of the result.
        beside: the program that has run beside it, and the settings of its optimizers before.
        """
        result, recording, copies = run
        run.clear()
        try:
            require_recorded(recording, result, self._forward_only)
            result = detached(result)
            if beside is not None and self._is_same(*beside, recording, result):
                return result, beside[0]
            program = self._program(recording, copies, args, kwargs, result, walk)
            program.renewed = beside is not None
            return result, program
        except CaptureError as error:
            self._refuse(key, error)
        except MemoryError:  # the step is done; a later call may have the memory for its program
            pass
        return result, None

    def _passed(self, key: Any, result: Any) -> Any:
        """A run that was an exception; where each is one, the step runs eagerly."""
        self._exceptions += 1
        if self._exceptions >= _MOST_EXCEPTIONS and not self._cache.all():
            why = "another thread or an object that holds a gradient changes how it runs, at each call"
            self._refuse(key, CaptureError(f"[compile] {why}", result))
        return result

    def _recorded(self, args: tuple[Any, ...], kwargs: dict[str, Any], read: bool = True, **more: Any) -> Any:
        settings = {"tensors": self._tensors, "forward_only": self._forward_only, "read": read, **more}
        return record(self._function, args, kwargs, **settings)

    def _of_library(self) -> Walk | None:
        """What a step of the library's own leads to, if it calls nothing of the user's."""
        if not self._tensors:
            return None
        walk = Walk(Executed())
        walk.run([(self._function, "the step")])
        hooked = any(id(t) in before_accumulation or id(t) in after_accumulation for t in walk.tensors)
        return None if walk.users or walk.fault or hooked else walk

    def _refuse(self, key: Any, error: CaptureError) -> None:
        """Calls of this signature run eagerly from now on, after one warning; with `strict` an error."""
        if error.kept and hash(key) not in self._set_up:
            self._set_up.add(hash(key))  # a mask that is kept in a dict, say: the next call finds it there
            return
        if self._strict:
            raise error
        self._cache.refuse(key)
        self._warn(str(error).removeprefix("[compile] "))

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            name = getattr(self, "__qualname__", type(self._function).__qualname__)
            warnings.warn(f"[compile] {name} runs eagerly: {why}", stacklevel=callers_level())

    def _program(
        self,
        recording: Recording,
        copies: list[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        walk: Walk | None = None,
    ) -> Program:
        roots = [(self._function, "the step"), *others(args, "argument "), *others(kwargs, "argument ")]
        self._has_containers |= any(type(x) in (list, tuple, dict) for x in args)
        call = form(in_row(args, kwargs), self._tensors, len(copies))
        return Program(recording, copies, call, roots, result, self._forward_only, walk)

    # --- checks
    def _check(self, key: Any, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the step eagerly, and the program beside it, call by call; returns the eager result."""
        began = time.perf_counter()
        self._cache.take(key, program)
        settings = program.settings()
        core = None if self._verify is False else program.core
        try:
            read = program.reads_users
            run = [*self._recorded(args, kwargs, read=read, program=core)]
        except BaseException:  # the step's own, as an index out of range: the program is as good as it was
            self._cache.put(key, program)
            self._cache.checked(time.perf_counter() - began)
            if program.checks:
                program.grant(_POSTPONED)
            raise
        if run[1].passing:
            self._cache.put(key, program)
            return run[0]
        result, checked = self._kept(key, run, args, kwargs, beside=(program, settings))
        if checked is None:
            return result
        self._cache.put(key, checked)
        if _core.memory_stats()["bytes_cached"] > _CACHED:
            _core.empty_cache()
        self._checked = time.perf_counter()
        self._check_took = self._checked - began
        self._cache.checked(self._check_took)
        return result

    def _is_same(self, program: Program, settings: Any, recording: Recording, result: Any) -> bool:
        """Whether the program stays; False where it has to be made anew from this run.

        Raises CaptureError where the eager run was another than the replay.
        """
        changed, other = program.changed(), program.core.other_path(recording.core)
        if (other and not program.renewed) or changed.startswith(f"{STATE} of "):
            return False  # the first run had something to set up, or this one
        fault = difference(program, recording, settings, changed, other)
        fault = fault or program.accept(recording)
        if fault:
            raise CaptureError(f"[compile] {fault}", result)
        program.checks += 1
        if program.step_form is not None:
            shared.share(program, program.step_form)
            program.step_form = None
        replays = -1 if isinstance(self._verify, bool) else self._verify
        if self._verify is True and program.reads_users:
            replays = 2**program.checks - 1  # calls 2, 4, 8 ...: what no guard knows is still found
        program.grant(replays)
        return True


class CompiledMethod(CompiledFunction):
    """The compiled method of one object."""

    def __init__(self, family: CompiledFunction, owner: Any) -> None:
        self._family, self._owner = family, ref(owner)
        super().__init__(family._function, family._verify, family._strict)

    def run(self, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        return super().run(self._owner(), *args, indices=indices, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:  # with its object: a copy of that starts without programs
        return type(None), ()


def _as_tensor(x: Any) -> Any:
    return borrowed(array_of(x))
