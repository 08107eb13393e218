"""The compiled functions of a Trainer: replayed (`rv.compile`), or run eagerly where that is not possible.

A Trainer has a `CompiledParts`, with a `CompiledOrEager` for each of "fit", "evaluate" and "predict".
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd import borrowed
from ranvier.train.callbacks.base import Training
from ranvier.train.forms_of_fits import FormOfFits, form_of

if TYPE_CHECKING:
    from ranvier.compile.compiled_function import CompiledFunction
    from ranvier.compile.many_calls import Batches
    from ranvier.tensors.memory import Array

# A step is recorded only if at least this many calls of its form are expected: a recording takes as long as
# about 60 eager calls of a small step.
_PAYS = 64
# In a fit of fewer calls even a program that is there costs more than it saves.
_FEW = 12
_RECORDING = 0.005  # seconds that a small recording takes


class CompiledOrEager:
    """A compiled function of arrays; where it cannot be replayed, it runs eagerly after one warning.

    Args:
        name: the caller, for the warning.
        function: a function of arrays, None and plain values; arrays arrive as Tensors.
        form: what is known of functions like this one.
        at_second_call: whether a signature is recorded only at its second call.
        begins_eagerly: whether calls run eagerly at first, for as long as a small recording takes.
        shares: whether other fits may use the programs.
        eager: whether to compile nothing.
        refused: why the function cannot be compiled, if that is known before.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        form: FormOfFits,
        *,
        at_second_call: bool = False,
        begins_eagerly: bool = False,
        shares: bool = False,
        eager: bool = False,
        refused: str = "",
    ) -> None:
        self._function = function
        self._compile = functools.partial(_compiled, name, function, at_second_call, shares, form)
        self._form = form
        self._compiled: CompiledFunction | None = None
        self._caller = name
        self._is_eager = eager
        # calls run eagerly until they have taken this many seconds
        self._eager_seconds = _RECORDING if begins_eagerly else 0.0
        self._expected_calls = 0  # the sum of what expect() was told
        self._eager_calls = 0  # how many of the next calls run eagerly
        if refused:
            self.refuse(refused)

    def __call__(self, *args: Any) -> Any:
        # `_rests` counts the call: recordings have not paid, so the next calls run eagerly. `compiled` would
        # do that as well, after more work.
        if self._is_eager or self._eager_calls or self._eager_seconds > 0 or self.compiled._rests():
            began = perf_counter()
            arguments = []
            for value in args:
                if isinstance(value, np.ndarray):
                    value = borrowed(value)
                arguments.append(value)
            result = self._function(*arguments)
            self._eager_seconds -= perf_counter() - began
            if self._eager_calls > 0:
                self._eager_calls -= 1
            return result
        from ranvier.compile.record import CaptureError

        try:
            return self.compiled(*args)
        except CaptureError as error:  # the function itself has run
            self.refuse(error.args[0])
            return error.result

    @property
    def compiled(self) -> CompiledFunction:
        """The compiled function, made at its first use: an eager fit does not load `ranvier.compile`."""
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled

    @property
    def programs(self) -> list[Any]:
        if self._compiled is None:
            return []
        return self._compiled.programs

    def writes(self, arrays: Sequence[Array]) -> bool:
        """True if the program that ran last writes to one of these arrays."""
        return self._compiled is not None and self._compiled.writes(arrays)

    @property
    def latest(self) -> tuple[Any, int] | None:
        """The program that ran last and how often it was checked; None before the first."""
        program = None if self._compiled is None else self._compiled._latest
        if program is None:
            return None
        return program, program.checks

    def expect(self, calls: int) -> None:
        """Announces `calls` calls, 0 if not known. For a few, a recording takes longer than it saves, unless
        other fits of the same form follow, which use its program."""
        if self._is_eager:
            return
        self._expected_calls += calls
        form = self._form
        if calls >= _FEW:
            form.calls += calls
        is_worth_it = self._expected_calls >= _PAYS or bool(self.programs)
        if not is_worth_it and self._expected_calls >= _FEW and form.calls >= _PAYS:
            is_worth_it = form.is_shared or not form.is_recorded
            form.is_recorded = True
        if is_worth_it:
            self._eager_calls = 0
        else:
            self._eager_calls = calls

    def run_batches(self, args: tuple[Any, ...], batches: Batches) -> Any:
        """Runs a call for each batch in one call of the core; None if Python must make the next one.

        While `_eager_seconds` is above 0 there is no program, so None follows. A compiled function that rests
        replays a program that fits.
        """
        if self._compiled is None or not self.replays:
            return None
        return self._compiled.run_batches(args, batches)

    @property
    def replays(self) -> bool:
        """False if `run_batches` certainly runs nothing: it saves the preparation of the batches."""
        return not (self._is_eager or self._eager_calls)

    def refuse(self, why: str) -> None:
        """Run eagerly from now on, with a warning; does nothing if it already runs eagerly."""
        if self._is_eager:
            return
        self._is_eager = True
        if self._compiled is not None:
            self._compiled._forget()
        warnings.warn(
            f"[{self._caller}] continues without compiling its steps, which takes longer: {why} "
            "(compile=False does so without this warning)",
            stacklevel=3,
        )

    def check_soon(self) -> None:
        """Compare a replay with an eager step soon, if that costs little of the run's time."""
        if self._compiled is not None and not self._eager_calls:
            self._compiled.check_soon()


def _compiled(*policy: Any) -> CompiledFunction:
    from ranvier.train.program_policy import compiled

    return compiled(*policy)


class CompiledParts:
    """The compiled functions "fit", "evaluate" and "predict" of a Trainer, and objects that use them.

    Each is made once, and made anew where the Trainer has another model, loss, optimizer or settings.
    """

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
        """The function as a CompiledOrEager with these settings, made anew where the Trainer has changed."""
        settings["eager"] = eager or not trainer.compile

        def make() -> CompiledOrEager:
            form = form_of(trainer, name)
            return CompiledOrEager(f"Trainer.{name}", function, form, **settings)

        return self.kept(trainer, name, make)

    def kept(self, trainer: Training, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, which is stored and given again until the Trainer changes.

        It holds no copy of what it was made from, since that may change in place: a program's guards compare
        what its step reads.
        """
        classes = None if trainer.classes_ is None else len(trainer.classes_)
        settings = trainer.compile, list(trainer.metrics), trainer.settings(), classes
        made_from = trainer, trainer.model, trainer.loss, trainer.optimizer, settings
        stored = self._kept.get(name)
        if stored is not None:
            stored_from, value = stored
            if stored_from == made_from:
                return value
        value = make()
        self._kept[name] = made_from, value
        return value

    def programs(self, name: str) -> list[Any]:
        """The programs of a compiled function; none before it is made."""
        stored = self._kept.get(name)
        if stored is None:
            return []
        _, compiled = stored
        return compiled.programs

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": {}}  # programs hold addresses of this process
