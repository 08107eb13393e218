"""The arguments of `export`: the tensors in them, the names of inputs and results, and dynamic axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ranvier.autograd import Tensor
from ranvier.extension import belongs_to
from ranvier.nn import Module
from ranvier.onnx.values import Array, number_of, raw

Axes: TypeAlias = dict[int, dict[int, str]]
"""The dynamic axes by the number of the input: axis -> name."""


def leaves(nested: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What nested tuples, lists and dicts hold, each with a name made of `name` and its keys: "x_0"."""
    if isinstance(nested, dict):
        for key, item in nested.items():
            yield from leaves(item, f"{name}_{key}")
    elif isinstance(nested, (tuple, list)):
        for i, item in enumerate(nested):
            yield from leaves(item, f"{name}_{i}")
    else:
        yield name, nested


def flat(value: Any, what: str) -> Iterator[Tensor]:
    """The Tensors of nested tuples, lists and dicts; TypeError for another object except None."""
    for _, leaf in leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif leaf is not None:
            raise TypeError(f"[onnx.export] got a {what} of type {type(leaf).__name__}; expected tensors")


def filled(nested: Any, tensors: Iterator[Tensor]) -> Any:
    """The arguments, with tensors in the places of their tensors and arrays."""
    if isinstance(nested, (Tensor, np.ndarray)):
        return next(tensors)
    if isinstance(nested, (tuple, list)):
        items = [filled(item, tensors) for item in nested]
        if type(nested) in (tuple, list):
            return type(nested)(items)
        return type(nested)(*items)
    if isinstance(nested, dict):
        return {key: filled(item, tensors) for key, item in nested.items()}
    return nested


def inputs_of(
    target: Callable[..., Any], args: tuple[Any, ...], wanted: Sequence[str] | None
) -> tuple[list[str], list[Array]]:
    """The names and the arrays of the graph's inputs: all tensors and arrays in args. wanted: input_names."""
    parameters = _parameter_names(target)
    names = []
    arrays: list[Array] = []
    for i, arg in enumerate(args):
        name_of_arg = f"input_{i}"
        if i < len(parameters):
            name_of_arg = parameters[i]
        for name, leaf in leaves(arg, name_of_arg):
            if isinstance(leaf, (Tensor, np.ndarray)):
                names.append(name)
                arrays.append(raw(leaf))
    if not arrays:
        types = ", ".join(type(arg).__name__ for arg in args)
        raise TypeError(
            f"[onnx.export] got no tensor among args ({types}); expected the example inputs as NumPy arrays "
            "or Tensors"
        )
    if wanted is not None:
        names = _names("input_names", wanted, len(names))
    for array in arrays:
        number_of(array.dtype)
    return names, arrays


def _parameter_names(target: Callable[..., Any]) -> list[str]:
    """The names of the positional parameters of a model; none where it does not tell."""
    forward = target.forward if isinstance(target, Module) else target
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if names[:1] == ["input"] and belongs_to(forward.__module__, "ranvier.nn") and "hx" not in names:
        names[0] = "x"  # the one input of a layer; a recurrent layer has input and hx
    return names


def _names(what: str, wanted: Sequence[str], count: int) -> list[str]:
    names = list(wanted)
    if len(names) != count or len({*names}) < count or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"[onnx.export] got {what} {names}; expected {count} different names")
    return names


def outputs_of(count: int, wanted: Sequence[str] | None) -> list[str]:
    """The names of the results; wanted: output_names of `export`."""
    if not count:
        raise ValueError("[onnx.export] got a model without results; expected a tensor, or several")
    if wanted is not None:
        return _names("output_names", wanted, count)
    if count == 1:
        return ["output"]
    return [f"output_{i}" for i in range(count)]


def dynamic(
    names: list[str],
    arrays: list[Array],
    dynamic_axes: Mapping[str, Any] | None,
    outputs: Sequence[str],
) -> tuple[Axes, list[str]]:
    """The dynamic axes of each input with their symbols (names), and all symbols.

    names, arrays: the names and the arrays of the inputs.
    outputs: the names of results, whose entries in dynamic_axes are ignored.
    """
    if dynamic_axes is None:
        dynamic_axes = {}
    if not isinstance(dynamic_axes, Mapping):
        raise TypeError(f"[onnx.export] got dynamic_axes {dynamic_axes!r}; expected a dict, {{'x': [0]}}")
    axes: Axes = {}
    sizes: dict[str, int] = {}  # of each symbol
    for name, chosen in dynamic_axes.items():
        if name not in names:
            if name in outputs or name.startswith("output"):  # sizes of results follow from the model
                continue
            raise ValueError(
                f"[onnx.export] got dynamic_axes of '{name}'; expected the inputs {', '.join(names)}"
            )
        i = names.index(name)
        for axis, symbol in _symbols_by_axis(name, chosen).items():
            _require_axis(axis, name, arrays[i].ndim)
            size = arrays[i].shape[axis]
            if sizes.setdefault(symbol, size) != size:
                raise ValueError(f"[onnx.export] got sizes {sizes[symbol]} and {size} of the axis '{symbol}'")
            axes.setdefault(i, {})[axis % arrays[i].ndim] = symbol
    return axes, list(sizes)


def _symbols_by_axis(name: str, chosen: Any) -> dict[int, str]:
    """The symbols of an entry of dynamic_axes: a dict of names by axis, or a list of axes without names."""
    if isinstance(chosen, Mapping):
        return {axis: str(symbol) for axis, symbol in chosen.items()}
    return {axis: f"{name}_{axis}" for axis in chosen}


def _require_axis(axis: Any, name: str, ndim: int) -> None:
    if isinstance(axis, bool) or not isinstance(axis, int) or not -ndim <= axis < ndim:
        raise ValueError(f"[onnx.export] got dynamic axis {axis!r} of '{name}', which has {ndim} dimensions")
