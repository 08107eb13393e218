"""Where a NaN in the gradients comes from: PyTorch's anomaly detection."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.deferred import Deferred
from ranvier.autograd.function import Function

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_recorded = Function._recorded
state = [False, False]  # whether it is on, and whether gradients are searched


def _located(self: Function, *args: Any) -> Any:
    """As ``Function._recorded``; the node also gets the line of the program that called it."""
    frame: Any = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    self.__dict__["called_at"] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return _recorded(self, *args)


def checked(run_node: Callable[..., None]) -> Callable[..., None]:
    """The step of backward that runs a node, and then looks at the gradients that the node has delivered."""

    def run(node: Any, pending: dict[Any, Any], *rest: Any) -> None:
        place = getattr(node, "called_at", "an unknown line")  # dropped with what forward saved
        run_node(node, pending, *rest)
        for number, edge in enumerate(node.edges):
            held = pending.get(edge)
            if edge is not None and any(map(_has_nan, held if type(held) is list else [held])):
                raise RuntimeError(
                    f"[backward] Function '{type(node).__name__}' returned nan values in its {number}th "
                    f"output; it was called in {place}"
                )

    return run


def _has_nan(gradient: Any) -> bool:
    array = gradient.array() if isinstance(gradient, Deferred) else getattr(gradient, "_array", gradient)
    return array is not None and bool(np.isnan(array).any())


class set_detect_anomaly:
    """Switches the search for NaN in gradients on or off in all threads: a call or a ``with`` block.

    While it is on, backward raises RuntimeError at the first gradient with a NaN, with the Function and the
    line that called it. Compiled steps run eagerly then.

    >>> import ranvier as rv
    >>> x = rv.zeros(1, requires_grad=True)
    >>> with rv.autograd.set_detect_anomaly(True):
    ...     try:
    ...         (x.sqrt() * 0).sum().backward()
    ...     except RuntimeError as error:
    ...         print(str(error).partition(";")[0])
    [backward] Function 'Sqrt' returned nan values in its 0th output
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before, self._wanted = [*state], [mode, check_nan]
        self.__enter__()

    def __enter__(self) -> None:
        state[:] = self._wanted
        Function._recorded = _located if state[0] else _recorded  # type: ignore[method-assign, assignment]

    def __exit__(self, *error: object) -> None:
        self._wanted = self._before
        set_detect_anomaly.__enter__(self)


class detect_anomaly(set_detect_anomaly):
    """A ``with`` block of :class:`set_detect_anomaly`.

    >>> import ranvier as rv
    >>> x = rv.ones(1, requires_grad=True)
    >>> with rv.autograd.detect_anomaly():
    ...     x.sqrt().backward()
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._before, self._wanted = [*state], [True, check_nan]
