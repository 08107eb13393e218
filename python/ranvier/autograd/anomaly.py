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
_PLAIN_RECORDED = Function._recorded


class _Switch:
    """enabled, check_nan: as in :class:`set_detect_anomaly`, for all threads."""

    enabled = check_nan = False


switch = _Switch()


def _turn(enabled: bool, check_nan: bool) -> None:
    switch.enabled, switch.check_nan = enabled, check_nan
    Function._recorded = _located if enabled else _PLAIN_RECORDED  # type: ignore[method-assign]


def _located(self: Function, y: Any, x: Any, version: list[Any]) -> Any:
    """As ``Function._recorded``; the node also gets the line of the program that called it."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    self.__dict__["called_at"] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return _PLAIN_RECORDED(self, y, x, version)


def checked(run_node: Callable[..., None]) -> Callable[..., None]:
    """The step of backward that runs a node, followed by a look at the gradients that it has delivered."""

    def run(node: Any, pending: dict[Any, Any], *rest: Any) -> None:
        place = getattr(node, "called_at", "")  # dropped with what forward saved
        run_node(node, pending, *rest)
        for number, edge in enumerate(node.edges):
            held = pending.get(edge)
            if edge is not None and any(map(_has_nan, held if type(held) is list else [held])):
                raise RuntimeError(
                    f"[backward] Function '{type(node).__name__}' returned nan values in its {number}th "
                    "output" + (f"; it was called in {place}" if place else "")
                )

    return run


def _has_nan(gradient: Any) -> bool:
    array = gradient.array() if isinstance(gradient, Deferred) else getattr(gradient, "_array", gradient)
    return array is not None and bool(np.isnan(array).any())


class set_detect_anomaly:
    """Switches the search for NaN in gradients on or off, as a call or a ``with`` block, in all threads.

    While it is on, backward raises RuntimeError at the first gradient with a NaN; the message names the
    Function and the line that called it. That takes time, so it is for debugging. Replays of a captured step
    are not searched. check_nan=False only keeps the lines.

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
        self._before = switch.enabled, switch.check_nan
        self._wanted = bool(mode), bool(check_nan)
        _turn(*self._wanted)

    def __enter__(self) -> None:
        _turn(*self._wanted)

    def __exit__(self, *error: object) -> None:
        _turn(*self._before)


class detect_anomaly(set_detect_anomaly):
    """A ``with`` block of :class:`set_detect_anomaly`.

    >>> import ranvier as rv
    >>> x = rv.ones(1, requires_grad=True)
    >>> with rv.autograd.detect_anomaly():
    ...     x.sqrt().backward()
    >>> x.grad
    tensor([0.5000])
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._before = switch.enabled, switch.check_nan
        self._wanted = True, bool(check_nan)
