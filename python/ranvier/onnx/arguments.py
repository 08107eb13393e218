"""The arguments of export: names of inputs and results, and dynamic axes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ranvier.extension import belongs_to
from ranvier.nn import Module
from ranvier.onnx.dtypes import number_of
from ranvier.onnx.runs import Axes, arrays_of


def inputs_of(target: Any, args: tuple[Any, ...], given: Any) -> tuple[list[str], list[Any]]:
    forward = target.forward if isinstance(target, Module) else target
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    usual = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if usual[:1] == ["input"] and belongs_to(forward.__module__, "ranvier.nn") and "hx" not in usual:
        usual[0] = "x"  # the one input of a layer; a recurrent layer has input and hx
    names, arrays = [], []
    for i, arg in enumerate(args):
        for name, array in arrays_of(arg, usual[i] if i < len(usual) else f"input_{i}"):
            names.append(name)
            arrays.append(array)
    if not arrays:
        kinds = ", ".join(type(arg).__name__ for arg in args)
        raise TypeError(
            f"[onnx.export] got no tensor among args ({kinds}); expected the example inputs as NumPy arrays "
            "or Tensors"
        )
    if given is not None:
        names = _names("input_names", given, len(names))
    for array in arrays:
        number_of(array.dtype)
    return names, arrays


def _names(what: str, given: Any, count: int) -> list[str]:
    names = list(given)
    if len(names) != count or len({*names}) < count or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"[onnx.export] got {what} {names}; expected {count} different names")
    return names


def outputs_of(count: int, given: Any) -> list[str]:
    """The names of the results."""
    if not count:
        raise ValueError("[onnx.export] got a model without results; expected a tensor, or several")
    if given is not None:
        return _names("output_names", given, count)
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def dynamic(names: list[str], arrays: list[Any], given: Mapping[str, Any] | None) -> tuple[Axes, list[str]]:
    """The names of the dynamic axes of each input, and all names."""
    axes: Axes = {}
    symbols: dict[str, int] = {}
    for name, chosen in (given or {}).items():
        if name not in names:
            if name.startswith("output"):  # those of results follow from the model
                continue
            raise ValueError(
                f"[onnx.export] got dynamic_axes of '{name}'; expected the inputs {', '.join(names)}"
            )
        i = names.index(name)
        found = dict(chosen) if isinstance(chosen, Mapping) else {a: f"{name}_{a}" for a in chosen}
        ndim = arrays[i].ndim
        for axis, symbol in found.items():
            if isinstance(axis, bool) or not isinstance(axis, int) or not -ndim <= axis < ndim:
                raise ValueError(
                    f"[onnx.export] got dynamic axis {axis!r} of '{name}', which has {ndim} dimensions"
                )
            symbol = str(symbol)
            size = arrays[i].shape[axis]
            if symbols.setdefault(symbol, size) != size:
                raise ValueError(
                    f"[onnx.export] got sizes {symbols[symbol]} and {size} of the axis '{symbol}'"
                )
            axes.setdefault(i, {})[axis % ndim] = symbol
    return axes, list(symbols)
