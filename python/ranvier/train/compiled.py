"""The compiled parts of a Trainer: replayed (`rv.compile`), or run eagerly where that is not possible."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ranvier.autograd import borrowed
from ranvier.program import CaptureError, CompiledFunction
from ranvier.program.batches import Batches
from ranvier.train.callbacks.base import Training

_PAYS, _TAKES = 64, 16  # calls for which a program is recorded, and taken from another fit
_RECORDING = 0.005  # seconds


class CompiledOrEager:
    """A compiled function of arrays; where it cannot be replayed, it runs eagerly after one warning.

    Args:
        name: the caller, for the warning.
        function: of arrays, None and plain values; arrays arrive as Tensors.
        after: calls of a signature that run eagerly before it is recorded.
        waits: whether calls run eagerly at first, for as long as a small recording takes.
        shares: whether other fits may use the programs.
        eager: whether to compile nothing. refused: why it cannot be compiled, if that is known before.
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
        self._name, self._function = name, function
        settings: dict[str, Any] = {"strict": True, "tensors": True, "after": after, "shares": shares}
        self._compiled = None if eager else CompiledFunction(function, **settings)
        self._waits = _RECORDING * waits
        self._calls = 0  # that were expected
        self._eager = 0  # so many are not passed on
        self._asks = 0  # the next one looks for a program of another fit; where there is none, so many ...
        if refused:
            self.refuse(refused)

    def __call__(self, *args: Any) -> Any:
        compiled = self._compiled
        if compiled is None or self._eager or self._waits > 0:
            began = perf_counter()
            result = self._function(*[borrowed(a) if isinstance(a, np.ndarray) else a for a in args])
            self._waits -= perf_counter() - began
            self._eager -= self._eager > 0
            return result
        compiled.few = self._asks
        try:
            return compiled(*args)
        except CaptureError as error:  # the function itself has run
            self.refuse(str(error).removeprefix("[compile] "))
            return error.result
        finally:
            if self._asks:
                self._eager, self._asks = 0 if self.programs else self._asks, 0

    def expect(self, calls: int) -> None:
        """So many calls come, 0 where that is not known: for a few a recording takes longer than it saves."""
        self._calls += calls
        self._eager = calls if self._calls < _PAYS and not self.programs else 0
        self._asks = self._eager if self._eager >= _TAKES else 0
        if self._asks:
            self._eager = 1

    def run_batches(self, args: tuple[Any, ...], batches: Batches) -> Any:
        """Several calls in one (`CompiledFunction.run_batches`); None where Python has to make the next."""
        return None if self._compiled is None or self._eager else self._compiled.run_batches(args, batches)

    @property
    def replays(self) -> bool:
        """Whether `run_batches` may run the next call."""
        return self._compiled is not None and not self._eager

    @property
    def latest(self) -> tuple[Any, int] | None:
        """The program that ran last and the number of its checks; None before the first."""
        return None if self._compiled is None else self._compiled.latest

    def draws(self) -> bool:
        """Whether that program draws random numbers from the stream of this thread."""
        return self._compiled is not None and self._compiled.draws()

    def refuse(self, why: str) -> None:
        """Run eagerly from now on; the first time, and unless it already does, with a warning."""
        if self._compiled is None:
            return
        self._compiled = None
        warnings.warn(
            f"[{self._name}] continues without compiling its steps, which takes longer: {why} "
            "(compile=False does so without this warning)",
            stacklevel=3,
        )

    def check_soon(self) -> None:
        """Compare a replay with an eager step soon, if that takes little of the time."""
        if self._compiled is not None and not self._eager:
            self._compiled.check_soon()

    @property
    def programs(self) -> list[Any]:
        """The programs in use."""
        return [] if self._compiled is None else self._compiled.programs


class CompiledParts:
    """The parts "fit", "evaluate" and "predict" of a Trainer, each kept while it is made from the same."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, CompiledOrEager]] = {}  # with what each was made from
        self._others: dict[str, tuple[Any, Any]] = {}

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
        made_from = self._made_from(trainer)
        kept = self._kept.get(name)
        if kept is None or kept[0] != made_from:
            part = CompiledOrEager(
                f"Trainer.{name}", function, eager=eager or not trainer.compile, **settings
            )
            kept = self._kept[name] = made_from, part
        return kept[1]

    def kept(self, trainer: Training, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made again where the trainer has changed."""
        made_from = self._made_from(trainer)
        if name not in self._others or self._others[name][0] != made_from:
            self._others[name] = made_from, make()
        return self._others[name][1]

    def _made_from(self, trainer: Training) -> tuple[Any, ...]:
        return (
            trainer.model, trainer.loss, trainer.optimizer, trainer.compile, list(trainer.metrics),
            trainer.settings(), None if trainer.classes_ is None else len(trainer.classes_),
        )  # fmt: skip

    def programs(self, of: str) -> list[Any]:
        kept = self._kept.get(of)
        return [] if kept is None else kept[1].programs

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": {}, "_others": {}}  # programs hold addresses
