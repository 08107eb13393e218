"""CompiledFunction: what `rv.compile` returns for a function, and what it decides at each call.

A call is replayed by a program, recorded for a new one, checked beside one, or made eagerly (`_answer`).
The cache (`program_cache.py`) has the programs and says which calls are worth a recording. The policy
(`policy.py`) says what differs for methods, models and steps of a Trainer.

The base class `_core._CompiledCall` (cpp/bindings/replay/compiled_call.cpp) has `__call__`, `__get__`,
`_serve`, `_arm`, `_disarm`, `_rest`, `_rests` and `_run_eagerly`. It calls `_call` and `_bound` here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from itertools import count
from time import perf_counter
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakSet, ref

import numpy as np

import ranvier._core as _core
from ranvier.compile import shared_programs
from ranvier.compile.build import build
from ranvier.compile.comparison import Outcome, compare
from ranvier.compile.guarding.library_guards import STATE
from ranvier.compile.guarding.signature import array_of, others, replaced
from ranvier.compile.guarding.traced_code import looks_at_class, without_collections
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.many_calls import ManyCalls
from ranvier.compile.policy import OfMethod, Policy
from ranvier.compile.program import Program
from ranvier.compile.program_cache import EAGER, RECORDED, REFUSED, ProgramCache
from ranvier.compile.record import CaptureError, OneCall, Run, detached, difference, record
from ranvier.nn.call_counts import attach, attached
from ranvier.observe import Lock, may_replay, observers
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, borrowed

# If more bytes are in the allocator's cache after a recording, the cache is emptied: replays have memory of
# their own. Fewer stay, so that the small blocks of the next recording keep their pages.
_CACHED = 1 << 20
# how many recorded runs may pass without a program (`_passed`) before the step is refused
_MOST_EXCEPTIONS = 4
# After a check in which the step raised an exception, the next check is this many replays later.
_POSTPONED = 16
# How often a program of another step is looked for, for one signature; and how many signatures are noted.
_MOST_FAILURES = 2
_MOST_NOT_FOUND = 1024
_numbers = count()


def _borrowed_tensor(x: Any) -> Tensor:
    """A Tensor of an argument, an array or a Tensor, which the function must not change."""
    return borrowed(array_of(x))


class CompiledFunction(ManyCalls, _core._CompiledCall):
    """A function that is recorded once and then replayed, or runs as it is; made by :func:`compile`.

    strict: a step that cannot be replayed raises CaptureError. policy: what differs where the function is a
    method, the forward pass of a model, or a step of a Trainer.
    """

    # Where another step calls this object, its guards are those on this attribute (`library_guards.py`).
    step_root = "_function"

    def __init__(
        self,
        function: Callable[..., Any],
        verify: int = True,
        strict: bool = False,
        policy: Policy | None = None,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function: Any = function
        self._verify = verify
        self._strict = strict
        self._policy: Policy = policy or Policy()
        self._forget()

    def _forget(self) -> None:
        """Drops all programs and what is known of calls."""
        # The key under which the core keeps the compiled method with the object that it is bound to.
        self._place = f"compiled {next(_numbers)}"
        # Only a function binds to objects. One that is kept with an object (`is_kept`) is bound already.
        may_bind = type(self._function) is FunctionType and not self._policy.is_kept
        place = self._place if may_bind else None
        self._serve(place, None)
        code = self._policy.code_of(self._function)
        # The code of the step together with what its policy makes of it, for `shared_programs.py`.
        self._code = hash((code, type(self._policy), repr(self._verify)))
        self._not_found: dict[int, int] = {}  # by the hash of a signature (`_of_another_step`)
        self._cache = ProgramCache(0 if self._strict else code, self._policy.waits)
        # If this is a method of a class: the compiled functions of the objects that have called it.
        self._instances: WeakSet[CompiledFunction] = WeakSet()
        self._warned = False
        self._exceptions = 0  # how many recorded runs gave no program (`_passed`)
        # The program that ran last, and the one that ran before it. A call is compared with these two first.
        self._latest: Any = None
        self._before: Any = None
        self._lock = Lock()
        # When the last check or the function began, and the seconds that the check took: for `check_soon`.
        self._checked = perf_counter()
        self._check_took = 0.0
        may_share = shared_programs.has_any(self._code)
        self._let_rest(0 if may_share else self._cache.begins_with())

    # --- as a method of a class
    def _bound(self, instance: object) -> Any:
        """The method of an object that has none yet: as a function, it gets its object as the first argument.

        Existing ones are found in the core (`__get__` of `_CompiledCall`), which stores the compiled
        function with the object: both are freed together.
        """
        try:
            with self._lock:  # Two threads may call it for the first time together.
                method = attached(instance, self._place, None)
                if method is None:
                    policy = OfMethod(instance)
                    method = CompiledFunction(self._function, self._verify, self._strict, policy)
                    attach(instance, self._place, method)
                    self._instances.add(method)
        except (AttributeError, TypeError):  # The object has no __dict__, or allows no weak references.
            method = self
        return MethodType(method, instance)

    # --- what a user sees, copies, pickles
    @property
    def programs(self) -> list[Program]:
        """The programs so far, one for each signature; of a method in a class, those of all its objects."""
        programs = self._cache.all()
        for of_one_object in list(self._instances):
            programs += of_one_object.programs
        return programs

    def explain(self) -> None:
        """Prints the table of each program's instructions: see :meth:`Program.explain`."""
        for program in self.programs:
            program.explain()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles the name if it leads to this object, like functions; else the function without programs."""
        if self._policy.is_kept:
            return type(None), ()
        name = getattr(self, "__qualname__", "")
        named: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            named = getattr(named, part, None)
        if named is self:
            return name
        return super().__reduce_ex__(max(protocol, 2))

    def __getstate__(self) -> dict[str, Any]:
        policy = self._policy
        settings = {"verify": self._verify, "strict": self._strict, "policy": policy}
        return {"function": policy.in_copies(self._function), **settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # --- what a call becomes
    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """A call that the core leaves to Python: the core has no program that answers it (`_arm`), and the
        function does not rest (`_let_rest`)."""
        return self._policy.around_call(self, args, kwargs)

    def _answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Decides what the call becomes; the first row of the table that fits. A function rests while its
        calls go straight to it, because recordings have not paid (`program_cache.py`).

        | the call                                   | becomes                                              |
        |--------------------------------------------|------------------------------------------------------|
        | is observed, as in a recorded step         | eager                                                |
        | comes while the function rests             | eager                                                |
        | fits a recent program, or another          | a replay                                             |
        | cannot be compared with others             | eager, after one warning                             |
        | was refused                                | eager                                                |
        | has a program                              | a replay, or a check beside an eager run if it is due |
        | has none, and recordings pay (`look_up`)   | a recording                                          |
        | has none, and they do not                  | eager; after many such calls the function rests      |
        """
        if observers and not may_replay():
            return self._eager(args, kwargs)
        if self._rests():
            if not self._cache.kept:
                return self._eager(args, kwargs)
            with self._lock:  # not at the same time as a replay
                return self._eager(args, kwargs)
        with self._lock:  # Other threads wait while a step is recorded, checked or replayed.
            for program in (self._latest, self._before):
                results = None if program is None else program.call(args, kwargs)
                if results is not None:
                    # Armed where it has replayed the call before this one, too.
                    if program.may_arm and program is self._latest and results is not False:
                        model = vars(self._function) if self._policy.forward_only else None
                        self._arm(program, program.core, program.results.is_one, model, self._lock)
                    return self._replayed(program, results, args, kwargs)
            found = _core._signature(args, kwargs, self._policy.as_tensors)
            if isinstance(found, str):  # why there is no signature
                return self._declined(OneCall(args, kwargs), found)
            key, arrays = found
            began = perf_counter() if self._cache.untimed else 0.0
            for program in self._cache.kept.get(key, ()):
                results = program.call(args, kwargs)
                if results is not None:
                    self._cache.used(key, began)
                    return self._replayed(program, results, args, kwargs)
            return self._not_replayed(OneCall(args, kwargs, key, arrays))

    def _not_replayed(self, call: OneCall) -> Any:
        """A call that is no replay: no program fits it, or the program is due for a check."""
        if _core._modes_are_asked():  # A TorchFunctionMode has to be asked about each function of the step.
            return self._eager(call.args, call.kwargs)
        becomes: Any = self._cache.look_up(call.key, call.args, call.kwargs)
        if becomes in (RECORDED, EAGER):
            match = self._of_another_step(call)
            if match.program is not None:
                return self._shared(call, match.program)
            if match.comes_later:
                return detached(self._eager(call.args, call.kwargs))
        # With `strict` a refused call is recorded again, since each such call has to raise its error.
        if becomes == RECORDED or (becomes == REFUSED and self._strict):
            return self._first(call)
        if becomes in (EAGER, REFUSED):
            return self._missed(call.args, call.kwargs, hopeless=becomes == REFUSED)
        if becomes.may_compare:
            return self._compare(call, becomes)
        return self._record(call, becomes)

    def _first(self, call: OneCall) -> Any:
        """A call that has no program, and may be recorded."""
        why = self._why_not(call.args, call.kwargs)
        if why:
            return self._declined(call, why)
        return self._record(call, walk=self._policy.known_guards(self._function))

    def _of_another_step(self, call: OneCall) -> shared_programs.Match:
        """A program that was made for another step of the same form. A signature for which none was found
        several times is not looked up again."""
        failures = self._not_found.get(hash(call.key), 0)
        if not self._policy.shares_after or failures >= _MOST_FAILURES:
            return shared_programs.Match()
        match = shared_programs.find(self._code, self._function, call)
        if match.program is None:
            if len(self._not_found) >= _MOST_NOT_FOUND:
                self._not_found.clear()
            self._not_found[hash(call.key)] = failures + 1
        return match

    def _shared(self, call: OneCall, program: Program) -> Any:
        """A call that is the first replay of a program which was made for another step."""
        self._cache.put(call.key, program)
        if not program.checks_left:
            return self._compare(call, program)
        return self._replayed(program, program.call(call.args, call.kwargs), call.args, call.kwargs)

    def _why_not(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The reason why a call with these arguments cannot be recorded, or ""."""
        try:
            _ = [*others(args, ""), *others(kwargs, "")]
        except Exception as error:  # A metaclass of an argument may raise, as it would in the recording.
            return f"an argument raises {type(error).__name__} when it is looked at"
        has_arrays = np.ndarray in map(type, (*args, *kwargs.values())) and not self._policy.as_tensors
        if has_arrays and looks_at_class(self._function):
            return "the step looks at the class of an array of NumPy; pass a Tensor (rv.tensor)"
        return ""

    def _replayed(
        self,
        program: Program,
        results: tuple[Array, ...] | bool | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The result of a call that a program has answered.

        results: the arrays of the replay, as a tuple; False where a check of values (such as an index out of
        range) has ended the replay: then the step runs eagerly, and raises the error.
        """
        if program is not self._latest:
            self._ran(program)
        if not isinstance(results, tuple):
            return self._missed(args, kwargs, hopeless=True)
        if self._cache.row:
            self._cache.replayed()
        return program.result(results)

    def _ran(self, program: Program) -> None:
        self._before = self._latest
        self._latest = program
        self._cache.ran.append(program)

    # --- eager calls
    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function itself, on the caller's own arguments."""
        if self._policy.as_tensors:
            args = replaced(args, _borrowed_tensor)
        return self._run_eagerly(self._function, args, kwargs)

    def _missed(self, args: tuple[Any, ...], kwargs: dict[str, Any], hopeless: bool = False) -> Any:
        """An eager call for which no program was found. After many such calls in a row the function rests.

        hopeless: whether the call can never be replayed; it then counts as several calls.
        """
        began = perf_counter()
        try:
            return self._eager(args, kwargs)
        finally:
            rest = self._cache.missed(perf_counter() - began, hopeless)
            if rest:
                self._let_rest(rest)
                if self._cache.is_rare() and not hopeless:
                    remedy = "pass numbers as Tensors, and Tensors in few shapes"
                    self._warn(f"changes of {self._cache.cause()} come too often; {remedy}")

    def _let_rest(self, calls: int) -> None:
        """Passes the next `calls` calls straight to the function, in the core where the policy allows it."""
        self._disarm()
        policy = self._policy
        # Such calls need `_eager` (Tensors in place of arrays) or `off_tape`, so they still go to `_call`.
        if policy.as_tensors or policy.forward_only:
            function = None
        else:
            function = self._function
        self._rest(function, calls, bool(self._cache.kept))
        policy.when_resting(self, calls)

    def _declined(self, call: OneCall, why: str) -> Any:
        """Makes a call eagerly that cannot be recorded, and refuses its signature for the reason `why`."""
        if self._strict:
            eager = self._eager
        else:
            eager = functools.partial(self._missed, hopeless=True)
        result = eager(call.args, call.kwargs)
        self._refuse(call.key, CaptureError(why, result))
        return result

    def _refuse(self, key: _core.Signature, error: CaptureError) -> None:
        """Calls of this signature run eagerly from now on, after one warning; with `strict` an error."""
        if error.kept and self._cache.passes(key):
            # The step may have stored a result for later calls, such as a mask: a later run may differ.
            return
        self._cache.refuse(key)
        if self._strict:
            raise error
        self._warn(error.args[0])

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self._policy.when_refused(self, why)

    # --- recordings and checks
    def _record(self, call: OneCall, checked: Program | None = None, walk: Walk | None = None) -> Any:
        """An eager call that is recorded: for a new program, or to check the program `checked`.

        walk: the guards of a step of the library's own, in which no code of the user's runs; else None.
        """
        policy = self._policy
        is_new = checked is None
        if not policy.before_recording(self, call.args, not is_new):
            return self._eager(call.args, call.kwargs)
        began = perf_counter()
        settings = None if checked is None else checked.settings()
        try:
            # No code has to be noted where no code of the user's runs.
            library_walk = walk
            if checked is not None and not checked.guards.users:
                library_walk = checked.guards.walk
            known = None if library_walk is None else library_walk.traced
            beside: _core.Program | None = None
            if checked is not None and self._verify is not False:
                beside = checked.core
            run = record(self._function, call, policy, known, beside)
            recording = run.recording
            if not recording.fault:
                recording.fault = policy.after_recording(recording, run.result)
        except BaseException:  # The step itself raised it, such as IndexError. The program stays valid.
            self._cache.spend(perf_counter() - began, is_new)
            # A program that was never checked stays due.
            if checked is not None and checked.checks:
                checked.grant(_POSTPONED)
            raise
        if recording.passing:
            self._cache.spend(perf_counter() - began, is_new)
            return self._passed(call.key, run.result)
        made = None
        try:
            if recording.fault:
                raise CaptureError(recording.fault, run.result)
            run = run._replace(result=detached(run.result))  # Nothing keeps the tape of the result.
            if checked is not None and self._is_same(call, checked, settings, run):
                made = checked
            else:
                # The guards are thousands of objects, none of which is garbage.
                with without_collections():
                    made = build(run, call.key, self._function, policy, walk)
                made.renewed = not is_new
        except CaptureError as error:
            self._refuse(call.key, error)
        except MemoryError:  # The step has run. A later call may have enough memory for a program.
            pass
        finally:
            self._keep(call.key, checked, made, perf_counter() - began)
        return run.result

    def _compare(self, call: OneCall, program: Program) -> Any:
        """An eager call beside a replay, for a check that needs no recording."""
        policy = self._policy
        if not policy.before_recording(self, call.args, True):
            return self._eager(call.args, call.kwargs)
        began = perf_counter()
        try:
            comparison = compare(program, call, self._eager, policy)
        except BaseException:  # The step itself raised it, such as IndexError. The program stays valid.
            self._cache.spend(perf_counter() - began, False)
            program.grant(_POSTPONED)
            raise
        result = detached(comparison.result)
        remaining: Program | None = program
        if comparison.outcome == Outcome.SAME:
            self._passed_check(call, program)
        elif comparison.outcome == Outcome.DISTURBED:
            program.grant(_POSTPONED)
        elif comparison.outcome == Outcome.UNKNOWN:  # The next call is recorded beside a replay.
            program.may_compare = False
        else:
            remaining = None
        try:
            if remaining is None:
                self._refuse(call.key, CaptureError(comparison.difference, result))
        finally:  # With `strict`, `_refuse` raises the error.
            self._keep(call.key, program, remaining, perf_counter() - began)
        return result

    def _passed_check(self, call: OneCall, program: Program) -> None:
        """Plans the next check of a program that has just passed one, and lets other steps use it."""
        checks = self._cache.checked(call.key, program.checks > 0)
        shared = program.shared
        if shared is None:
            program.checks = checks
            if 0 < self._policy.shares_after <= checks:
                shared_programs.share(self._code, program, self._function, call)
                if program.shared is not None:
                    self._policy.when_shared()
        else:
            program.checks = max(checks, shared.checks + 1)
            shared.checks = program.checks
            shared.latest = ref(program)
        replays = -1 if isinstance(self._verify, bool) else self._verify  # -1: no more checks
        if self._verify is True and program.guards.users:
            replays = 2**program.checks - 1  # checks at calls 2, 4, 8 ... find changes that no guard covers
        program.grant(replays)
        if program.shared is not None:
            program.shared.replays_left = replays

    def _keep(self, key: _core.Signature, checked: Program | None, made: Program | None, took: float) -> None:
        """Updates the cache after a recording, or after the check of the program `checked`.

        made: the program that is right for this key; `checked` itself if the check found no difference, None
        if there is none. took: seconds.
        """
        self._cache.spend(took, recording=checked is None)
        if checked is not None:
            self._checked = perf_counter()
            self._check_took = took
        if made is not checked:
            if checked is not None and checked.shared is not None:
                shared_programs.drop(checked.shared)
            self._cache.change(key, checked, made)
        if _core.memory_stats()["bytes_cached"] > _CACHED:
            _core.empty_cache()

    def _passed(self, key: _core.Signature, result: object) -> Any:
        """The result of a run that is unlike later ones (`Recording.passing`): no program is made of it.

        If that happens several times and there is no program, the signature is refused.
        """
        self._exceptions += 1
        if self._exceptions >= _MOST_EXCEPTIONS and not self._cache.all():
            why = "another thread or an object that holds a gradient changes how it runs, at each call"
            self._refuse(key, CaptureError(why, result))
        return result

    def _is_same(
        self, call: OneCall, program: Program, settings: list[tuple[float, ...]] | None, run: Run
    ) -> bool:
        """True if the program stays after a check; False if a new one has to be built from this run.

        settings: the numbers of the program's optimizers before the run. Raises CaptureError where the eager
        run was not like the replay beside it.
        """
        changed = program.guards.changed()
        other = program.core.other_path(run.recording.core)
        if (other and not program.renewed) or changed.startswith(f"{STATE} of "):
            return False  # The recorded run or this run has set something up, such as an optimizer's state.
        fault = difference(program, run.recording, settings, changed, other)
        if not fault:
            fault = program.accept(run.recording, changed)
        if fault:
            raise CaptureError(fault, run.result)
        self._passed_check(call, program)
        return True
