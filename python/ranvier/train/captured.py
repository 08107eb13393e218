"""Captured: a part of training that is recorded once and replayed (`rv.compile`), or else runs eagerly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier import nn
from ranvier.autograd import borrowed, hooks
from ranvier.program import CaptureError, Compiled

__all__ = ["Captured", "python_state"]

# So many times in a row the Python state may change within so few calls before capturing stops.
_CHANGES, _CALLS = 3, 10


class Captured:
    """A function of arrays, captured; the model and others that it calls may change between two calls.

    A captured function holds Python values as they were. So what the modules hold of them is compared with
    what it was (`look`), and where it differs the function is captured anew. What cannot be captured is said
    once in a warning, and runs eagerly from then on.

    Args:
        name: whom the warning speaks for.
        function: of arrays, None and plain values; arrays arrive as Tensors.
        parts: what the function calls: modules, and other objects with attributes.
        after: calls of a signature that run eagerly before it is captured.
        eager: whether to capture nothing. refused: why nothing can be, if that is known before.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        parts: tuple[Any, ...],
        *,
        after: int = 0,
        eager: bool = False,
        refused: str = "",
    ) -> None:
        self._name, self._function, self._parts = name, function, parts
        self._after, self._eager = after, eager
        self._compiled: Compiled | None = None
        self._state: Any = None
        self._calls = self._changes = 0  # since the Python state changed; changes in quick succession
        if refused and not eager:
            self._refuse(refused)

    def look(self) -> None:
        """Take notice of what has changed since the last look."""
        if self._eager:
            return
        state = python_state(self._parts)
        if self._compiled is not None and state == self._state:
            return
        if self._compiled is not None:
            self._changes = self._changes + 1 if self._calls <= _CALLS else 0
        self._compiled, self._state, self._calls = Compiled(self._function, after=self._after), state, 0
        hooked = _hooked(self._parts)
        if hooked:
            self._refuse(f"hooks on {hooked} are Python functions, which a replay does not call")
        elif self._changes >= _CHANGES:
            self._refuse("Python values of the model change with every few batches")

    def __call__(self, *args: Any) -> Any:
        if self._compiled is None:
            self.look()
        compiled = self._compiled
        if compiled is None:
            return self._function(*[borrowed(a) if isinstance(a, np.ndarray) else a for a in args])
        self._calls += 1
        captures = compiled.captures
        try:
            result = compiled(*args)
        except CaptureError as error:  # the function itself has run
            self._refuse(str(error))
            return error.result
        if compiled.captures != captures and python_state(self._parts) != self._state:
            self._refuse(
                "the model changes Python values of its own with each batch, which a replay does not"
            )
        return result

    def _refuse(self, why: str) -> None:
        self._compiled, self._eager = None, True
        warnings.warn(
            f"[{self._name}] goes on without capturing its steps, which takes longer: "
            f"{why.removeprefix('[compile] ')} (compile=False does so without this warning)",
            stacklevel=2,
        )

    @property
    def programs(self) -> list[Any]:
        """The programs in use."""
        return [] if self._compiled is None else self._compiled.programs


def python_state(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """What modules and other objects hold besides the elements of arrays, comparable.

    Plain values by value, everything else by identity. The training modes are left out: programs know them.
    """
    return tuple([_attributes(owner) for part in parts for owner in _owners(part)])


def _owners(part: Any) -> list[Any]:
    if isinstance(part, nn.Module):
        return list(part.modules())
    return [part]


def _attributes(owner: Any) -> tuple[Any, ...]:
    closure = getattr(owner, "__closure__", None) or ()
    return (
        id(owner),
        *[(name, _value(x)) for name, x in getattr(owner, "__dict__", {}).items() if name != "training"],
        *[_value(cell.cell_contents) for cell in closure],
    )


def _value(x: Any) -> Any:
    kind = type(x)
    if kind in (int, float, bool, str, type(None)):
        return kind, x
    if kind is tuple or kind is list:
        return kind, tuple([_value(item) for item in x])
    if kind is dict:
        return kind, tuple([(key, _value(item)) for key, item in x.items()])
    return id(x)


def _hooked(parts: tuple[Any, ...]) -> str:
    """The class of a module that has hooks, or whose parameters have; or "" """
    for part in parts:
        if not isinstance(part, nn.Module):
            continue
        for name, module in part.named_modules():
            place = f"'{name}'" if name else f"the {type(module).__name__}"
            if module._hooks is not None and any(vars(module._hooks).values()):
                return place
            for p in module.parameters(recurse=False):
                if hooks.before_accumulation.get(id(p)) or hooks.after_accumulation.get(id(p)):
                    return place
    return ""
