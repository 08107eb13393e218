"""The compiled parts of a Trainer: replayed (`rv.compile`), or run eagerly where that is not possible."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ranvier.autograd import borrowed
from ranvier.compile import shared
from ranvier.compile.batches import Batches
from ranvier.compile.compiled import CompiledFunction
from ranvier.compile.executed import Executed
from ranvier.compile.record import CaptureError, callers_level
from ranvier.compile.signature import array_of, replaced
from ranvier.compile.walk import Walk
from ranvier.tape.hooks import after_accumulation, before_accumulation
from ranvier.train.callbacks.base import Training

# A recording is made if so many calls are expected: it takes as long as some 60 eager calls of a small step.
_PAYS = 64
_RECORDING = 0.005  # seconds that a small recording takes


class CompiledOrEager(CompiledFunction):
    """A compiled function of arrays; where it cannot be replayed, it runs eagerly after one warning.

    Args:
        name: the caller, for the warning.
        function: of arrays, None and plain values; arrays arrive as Tensors.
        after: calls of a signature that run eagerly before it is recorded.
        waits: whether calls run eagerly at first, for as long as a small recording takes.
        shares: whether other fits may use the programs.
        eager: whether to compile nothing. refused: why it cannot be compiled, if that is known before.
    """

    _tensors = True

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
        super().__init__(function, strict=True)
        self._caller, self._is_eager = name, eager
        self._after, self._shares = bool(after), shares
        # the forms of programs that were not checked as yet, by the hash of their key
        self._forms: dict[int, Any] = {}
        # the seconds that eager calls must have taken before a recording
        self._eager_seconds = _RECORDING * waits
        self._expected_calls = 0  # the sum of what expect() was told
        self._eager_calls = 0  # how many of the next calls run eagerly
        if refused:
            self.refuse(refused)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_eager or self._eager_calls or self._eager_seconds > 0 or self._rests():
            began = perf_counter()
            result = self._function(*[borrowed(a) if isinstance(a, np.ndarray) else a for a in args])
            self._eager_seconds -= perf_counter() - began
            self._eager_calls -= self._eager_calls > 0
            return result
        self._cache.after = self._after
        try:
            return super().__call__(*args)
        except CaptureError as error:  # the function itself has run
            self.refuse(error.args[0])
            return error.result

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super()._eager(replaced(args, lambda x: borrowed(array_of(x))), kwargs)

    def _first(self, key: Any, arrays: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that has no program: takes one of another fit, if there is one, or is recorded."""
        walk = self._of_library()
        form = shared.form(walk, key, args, kwargs) if self._shares else None
        program = None if form is None else shared.find(form, arrays)
        if program is not None:
            self._cache.put(key, program)
            return self._replayed(program, program.call(args, kwargs), args, kwargs)
        self._forms[hash(key)] = form
        return self._record(key, args, kwargs, walk=walk)

    def _is_same(self, key: Any, program: Any, *run: Any) -> bool:
        form = self._forms.pop(hash(key), None)  # the form of the program that was recorded last
        same = super()._is_same(key, program, *run)
        if same and form is not None:
            shared.share(program, form)
        return same

    def _of_library(self) -> Walk | None:
        """What a step of the library's own leads to, if it calls nothing of the user's."""
        walk = Walk(Executed())
        walk.run([(self._function, "the step")])
        hooked = any(id(t) in before_accumulation or id(t) in after_accumulation for t in walk.tensors)
        return None if walk.users or walk.fault or hooked else walk

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            text = f"[{self._caller}] runs some steps without replaying them: {why}"
            warnings.warn(text, stacklevel=callers_level())

    def expect(self, calls: int) -> None:
        """So many calls come, 0 where that is not known: for a few a recording takes longer than it saves."""
        self._expected_calls += calls
        self._eager_calls = calls if self._expected_calls < _PAYS and not self.programs else 0

    def run_batches(
        self, args: tuple[Any, ...], batches: Batches, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Several calls in one; None where Python has to make the next."""
        return None if self._is_eager or self._eager_calls else super().run_batches(args, batches, kwargs)

    @property
    def replays(self) -> bool:
        """True if `run_batches` may run the next call."""
        return not (self._is_eager or self._eager_calls)

    def refuse(self, why: str) -> None:
        """Run eagerly from now on; the first time, and unless it already does, with a warning."""
        if self._is_eager:
            return
        self._is_eager = True
        self._forget()
        warnings.warn(
            f"[{self._caller}] continues without compiling its steps, which takes longer: {why} "
            "(compile=False does so without this warning)",
            stacklevel=3,
        )

    def check_soon(self) -> None:
        """Compare a replay with an eager step soon, if that takes little of the time."""
        if not self._eager_calls:
            super().check_soon()


class CompiledParts:
    """The parts "fit", "evaluate" and "predict" of a Trainer, each kept until the trainer changes."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}  # by name: what the value was made from, and the value

    def of(
        self,
        trainer: Training,
        name: str,
        function: Callable[..., Any],
        *,
        eager: bool = False,
        **settings: Any,
    ) -> CompiledOrEager:
        """The compiled form of a function, made again where the trainer has changed."""
        settings["eager"] = eager or not trainer.compile
        make = functools.partial(CompiledOrEager, f"Trainer.{name}", function, **settings)
        part: CompiledOrEager = self.kept(trainer, name, make)
        return part

    def kept(self, trainer: Training, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, kept until the trainer changes."""
        classes = None if trainer.classes_ is None else len(trainer.classes_)
        settings = trainer.compile, list(trainer.metrics), trainer.settings(), classes
        made_from = trainer.model, trainer.loss, trainer.optimizer, settings
        if name not in self._kept or self._kept[name][0] != made_from:
            self._kept[name] = made_from, make()
        return self._kept[name][1]

    def programs(self, name: str) -> list[Any]:
        """The programs of a part; none before it is made."""
        kept = self._kept.get(name)
        return [] if kept is None else kept[1].programs

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": {}}  # programs hold addresses of this process
