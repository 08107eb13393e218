"""CompiledOrEager: a part of training that is compiled (`rv.compile`), or runs eagerly where that fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd import borrowed
from ranvier.program import CaptureError, CompiledFunction

__all__ = ["CompiledOrEager"]


class CompiledOrEager:
    """A function of arrays, captured; what cannot be captured runs eagerly, after one warning.

    Args:
        name: the caller, for the warning.
        function: of arrays, None and plain values; arrays arrive as Tensors.
        after: calls of a signature that run eagerly before it is captured.
        eager: whether to capture nothing. refused: why nothing can be, if that is known before.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        after: int = 0,
        eager: bool = False,
        refused: str = "",
    ) -> None:
        self._name, self._function = name, function
        self._compiled = None if eager else CompiledFunction(function, after=after)
        if refused and not eager:
            self._refuse(refused)

    def __call__(self, *args: Any) -> Any:
        if self._compiled is None:
            return self._function(*[borrowed(a) if isinstance(a, np.ndarray) else a for a in args])
        try:
            return self._compiled(*args)
        except CaptureError as error:  # the function itself has run
            self._refuse(str(error).removeprefix("[compile] "))
            return error.result

    def _refuse(self, why: str) -> None:
        self._compiled = None
        warnings.warn(
            f"[{self._name}] goes on without capturing its steps, which takes longer: {why} "
            "(compile=False does so without this warning)",
            stacklevel=3,
        )

    def check_soon(self) -> None:
        """Compare a replay with an eager step soon, if that takes little of the time."""
        if self._compiled is not None:
            self._compiled.check_soon()

    @property
    def programs(self) -> list[Any]:
        """The programs in use."""
        return [] if self._compiled is None else self._compiled.programs
