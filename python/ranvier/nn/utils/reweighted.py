"""Weights that are computed from other parameters whenever a layer reads them.

The layer gets a class in which ``weight`` is a property, so that the weight is never that of an earlier step.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module
from ranvier.nn.parameter import Parameter

M = TypeVar("M", bound=Module)
HELD = "_reweighted"  # the attribute of a layer: {name: Reweighting}


class Reweighting:
    """How one weight of a layer is computed."""

    name: str

    def start(self, module: Any) -> None:
        """Replaces the parameter by its parts."""
        raise NotImplementedError

    def weight(self, module: Any) -> Tensor:
        """The weight, on the tape."""
        raise NotImplementedError

    def end(self, module: Any) -> None:
        """Removes the parts."""
        raise NotImplementedError

    def assign(self, module: Any, value: Tensor) -> None:
        """Gives the parts the values that make this weight."""
        raise AttributeError(f"[setattr] got {self.name!r}, which is computed; expected the name of a part")


def _computed(name: str) -> property:
    return property(
        lambda module: module.__dict__[HELD][name].weight(module),
        lambda module, value: module.__dict__[HELD][name].assign(module, value),
    )


def _reduce(module: Any) -> Any:
    kind = type(module)
    return _made, (kind.__base__, tuple(module.__dict__[HELD])), module.__dict__


@cache
def _class(kind: type, names: tuple[str, ...]) -> type:
    """A subclass of a layer's class with these properties, under its name."""
    own = {name: _computed(name) for name in names}
    return type(kind.__name__, (kind,), {**own, "__module__": kind.__module__, "__reduce__": _reduce})


def _made(kind: type, names: tuple[str, ...]) -> Any:
    return object.__new__(_class(kind, names))


def hold(module: Any, held: dict[str, Reweighting]) -> None:
    """Gives the module the class in which these weights are computed."""
    kind = type(module).__base__ if HELD in module.__dict__ else type(module)
    module.__dict__[HELD] = held
    module.__class__ = _class(kind, tuple(held)) if held else kind
    if not held:
        del module.__dict__[HELD]


def add(op: str, module: M, reweighting: Reweighting) -> M:
    name, held = reweighting.name, module.__dict__.get(HELD, {})
    if name in held:
        raise ValueError(f"[{op}] got {name!r}, which is computed already; expected another parameter")
    if not isinstance(module.__dict__.get(name), Parameter):
        raise ValueError(f"[{op}] got {name!r}; expected a parameter of {type(module).__name__}")
    reweighting.start(module)
    hold(module, {**held, name: reweighting})
    return module


def remove(op: str, module: M, name: str, kind: type[Reweighting]) -> M:
    held = dict(module.__dict__.get(HELD, {}))
    found = held.pop(name, None)
    if not isinstance(found, kind):
        raise ValueError(f"[{op}] got {name!r}; expected a parameter that is normalised")
    with no_grad():
        weight = found.weight(module)
    found.end(module)
    hold(module, held)
    setattr(module, name, Parameter(weight.detach()))
    return module
