"""The compiled parts of a Trainer: replayed (`rv.compile`), or run eagerly where that is not possible."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ranvier.autograd import borrowed
from ranvier.compile import shared_programs
from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.guarding.traced_code import TracedCode
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.many_calls import Batches
from ranvier.compile.policy import Policy
from ranvier.compile.record import CaptureError, OneCall, callers_level
from ranvier.nn.hooks import tables_of_all
from ranvier.tape.hooks import hooks_of
from ranvier.train.callbacks.base import Training

# A step is recorded only if at least this many calls are expected: a recording takes as long as about 60
# eager calls of a small step.
_PAYS = 64
_RECORDING = 0.005  # seconds that a small recording takes


class OfTrainer(Policy):
    """The policy of a compiled function of a Trainer.

    name: the caller, for the warning. waits: whether some calls run eagerly before a recording. shares:
    whether other fits may use the programs.
    """

    as_tensors = True

    def __init__(self, name: str, waits: bool, shares: bool) -> None:
        self._caller = name
        self.waits = waits
        self._shares = shares
        # hash of a program's key -> its form, until the program is checked by an eager call and shared
        self._forms: dict[int, Any] = {}

    def before_first(self, function: Any, call: OneCall) -> tuple[Any, Walk | None]:
        """(a program of another fit that does the same, or None; the walk over the function's objects)."""
        walk = _of_library(function)
        form = shared_programs.form(walk, call) if self._shares else None
        if form is None:
            program = None
        else:
            program = shared_programs.find(form, call.arrays)
        if program is None:
            self._forms[hash(call.key)] = form
        return program, walk

    def after_check(self, key: Any, program: Any) -> None:
        form = self._forms.pop(hash(key), None)  # the form of the program that was recorded last
        if form is not None:
            shared_programs.share(program, form)

    def when_refused(self, call: CompiledFunction, why: str) -> None:
        text = f"[{self._caller}] runs some steps without replaying them: {why}"
        warnings.warn(text, stacklevel=callers_level())


def _of_library(function: Any) -> Walk | None:
    """The walk over the objects that a step uses; None if it calls code of the user, or hooks."""
    walk = Walk(TracedCode())
    walk.run([(function, "the step")])
    hooked = any(tables_of_all()) or any(map(hooks_of, walk.tensors))
    if walk.users or walk.fault or hooked:
        return None
    return walk


class CompiledOrEager:
    """A compiled function of arrays; where it cannot be replayed, it runs eagerly after one warning.

    Args:
        name: the caller, for the warning.
        function: a function of arrays, None and plain values; arrays arrive as Tensors.
        after: calls of a signature that run eagerly before it is recorded.
        waits: whether calls run eagerly at first, for as long as a small recording takes.
        shares: whether other fits may use the programs.
        eager: whether to compile nothing.
        refused: why the function cannot be compiled, if that is known before.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        after: int = 0,
        waits: bool = False,
        shares: bool = False,
        eager: bool = False,
        refused: str = "",
    ) -> None:
        policy = OfTrainer(name, bool(after), shares)
        self.compiled = CompiledFunction(function, strict=True, policy=policy)
        self.writes = self.compiled.writes
        self._caller = name
        self._is_eager = eager
        # calls run eagerly until they have taken this many seconds
        self._eager_seconds = _RECORDING * waits
        self._expected_calls = 0  # the sum of what expect() was told
        self._eager_calls = 0  # how many of the next calls run eagerly
        if refused:
            self.refuse(refused)

    def __call__(self, *args: Any) -> Any:
        compiled = self.compiled
        if self._is_eager or self._eager_calls or self._eager_seconds > 0 or compiled._rests():
            began = perf_counter()
            result = compiled._function(*[borrowed(a) if isinstance(a, np.ndarray) else a for a in args])
            self._eager_seconds -= perf_counter() - began
            self._eager_calls -= self._eager_calls > 0
            return result
        try:
            return compiled(*args)
        except CaptureError as error:  # the function itself has run
            self.refuse(error.args[0])
            return error.result

    @property
    def programs(self) -> list[Any]:
        return self.compiled.programs

    @property
    def latest(self) -> tuple[Any, int] | None:
        """The program that ran last and how often it was checked; None before the first."""
        program = self.compiled._latest
        if program is None:
            return None
        return (program, program.checks)

    def expect(self, calls: int) -> None:
        """Announces `calls` calls, 0 if not known: for a few, a recording takes longer than it saves."""
        self._expected_calls += calls
        if self._expected_calls < _PAYS and not self.programs:
            self._eager_calls = calls
        else:
            self._eager_calls = 0

    def run_batches(self, args: tuple[Any, ...], batches: Batches) -> Any:
        """Runs a call for each batch in one call of the core; None if Python must make the next one."""
        if self._is_eager or self._eager_calls:
            return None
        return self.compiled.run_batches(args, batches)

    @property
    def replays(self) -> bool:
        """True if `run_batches` may run the next call."""
        return not (self._is_eager or self._eager_calls)

    def refuse(self, why: str) -> None:
        """Run eagerly from now on, with a warning; does nothing if it already runs eagerly."""
        if self._is_eager:
            return
        self._is_eager = True
        self.compiled._forget()
        warnings.warn(
            f"[{self._caller}] continues without compiling its steps, which takes longer: {why} "
            "(compile=False does so without this warning)",
            stacklevel=3,
        )

    def check_soon(self) -> None:
        """Compare a replay with an eager step soon, if that costs little of the run's time."""
        if not self._eager_calls:
            self.compiled.check_soon()


class CompiledParts:
    """The parts "fit", "evaluate" and "predict" of a Trainer, each kept until the trainer changes."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}  # by name: what the value was made from, and the value

    def of(
        self, trainer: Training, name: str, function: Callable[..., Any], *, eager: bool = False, **more: Any
    ) -> CompiledOrEager:
        """The compiled form of a function, made again where the trainer has changed."""
        more["eager"] = eager or not trainer.compile
        make = functools.partial(CompiledOrEager, f"Trainer.{name}", function, **more)
        return self.kept(trainer, name, make)

    def kept(self, trainer: Training, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, kept until the trainer changes.

        It holds no copy of what it was made from, since that may change in place: a program's guards compare
        what its step reads.
        """
        classes = None if trainer.classes_ is None else len(trainer.classes_)
        settings = trainer.compile, list(trainer.metrics), trainer.settings(), classes
        made_from = trainer, trainer.model, trainer.loss, trainer.optimizer, settings
        if name not in self._kept or self._kept[name][0] != made_from:
            self._kept[name] = made_from, make()
        return self._kept[name][1]

    def programs(self, name: str) -> list[Any]:
        """The programs of a part; none before it is made."""
        kept = self._kept.get(name)
        if kept is None:
            return []
        return kept[1].programs

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": {}}  # programs hold addresses of this process
