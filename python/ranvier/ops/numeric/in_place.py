"""Activations in place, under the names of torch.nn.functional: relu_, elu_ and others."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from ranvier.ops.activation.piecewise import hardtanh, leaky_relu, relu
from ranvier.ops.activation.smooth import celu, elu, selu
from ranvier.ops.numeric.functional import rrelu, threshold


def _in_place(function: Any, settings: str = "") -> Any:
    name = f"{function.__name__}_"

    @functools.wraps(function, updated=())
    def changed(input: Any, *args: Any, **settings: Any) -> Any:
        return function(input, *args, **settings, inplace=True)

    own = inspect.signature(function)
    kept = [p for p in own.parameters.values() if p.name != "inplace"]
    changed.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
    changed.__name__ = changed.__qualname__ = name
    changed.__module__ = __name__
    changed.__doc__ = f"""Changes x and returns it: :func:`ranvier.nn.functional.{name[:-1]}` in place.

    >>> import ranvier as rv
    >>> x = rv.tensor([-2.0, 3.0])
    >>> rv.nn.functional.{name}(x{settings}) is x
    True
    """
    return changed


celu_, elu_, hardtanh_, leaky_relu_ = (
    _in_place(celu),
    _in_place(elu),
    _in_place(hardtanh),
    _in_place(leaky_relu),
)
relu_, rrelu_, selu_, threshold_ = (
    _in_place(relu),
    _in_place(rrelu),
    _in_place(selu),
    _in_place(threshold, ", 0.0, -1.0"),
)
