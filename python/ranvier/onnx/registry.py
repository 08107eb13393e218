"""Two tables: what computes each ONNX operator of a loaded file, and what writes each Function as operators.

An implementation of an operator gets the node's inputs (None for an input that is left out), and its
attributes as keyword arguments. It can have further keyword arguments: ``training`` (whether the module is in
training mode), ``outputs`` (how many results are used), ``owned`` (whether the running statistics are buffers
of the module) and ``compute`` (a function that takes a graph of an attribute and its inputs, and returns the
graph's results).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Implementation = Callable[..., Any]

ASKED = ("training", "outputs", "owned", "compute")  # the further keyword arguments, which are no attributes


class Operator(NamedTuple):
    """One operator from one version of the operator set on.

    settings: attributes that it takes. asks: which of ASKED it gets.
    """

    name: str
    since: int
    function: Implementation
    settings: frozenset[str]
    asks: tuple[str, ...]


OPERATORS: dict[str, list[Operator]] = {}
"""The implementations of an operator, by its name; that of the newest version is the first."""

IGNORED = frozenset({"consumed_inputs"})
"""Attributes of very old versions that do not change the result."""


def operator(
    name: str, since: int = 1, more: Iterable[str] = ()
) -> Callable[[Implementation], Implementation]:
    """Registers the implementation of an operator, valid from a version of the operator set on.

    more: attributes that the function takes as ``**settings``.
    """

    def register(function: Implementation) -> Implementation:
        names = inspect.signature(function).parameters.values()
        settings = {*more, *(p.name for p in names if p.kind is p.KEYWORD_ONLY)}
        asks = tuple(name for name in ASKED if name in settings)
        versions = OPERATORS.setdefault(name, [])
        versions.append(Operator(name, since, function, frozenset(settings.difference(ASKED)), asks))
        versions.sort(key=lambda version: -version.since)
        find.cache_clear()
        return function

    return register


def operators(rows: dict[tuple[str, int], Implementation]) -> None:
    """Registers implementations by the operator and the version from which on they are valid."""
    for (name, since), function in rows.items():
        operator(name, since)(function)


@functools.cache
def find(name: str, version: int) -> Operator | None:
    """The implementation for a version of the operator set, or None."""
    return next((one for one in OPERATORS.get(name, ()) if one.since <= version), None)


Write = Callable[[Any], Any]
WRITERS: dict[str, Write] = {}
"""Class name of a Function -> what writes its calls.

It gets a `TracedCall` (`traced_call.py`), adds nodes and returns the names of the results.
"""
SINCE = {"Cumprod": 26, "Gelu": 20, "GeluTanh": 20, "Hardswish": 14, "LayerNorm": 17, "Mish": 18}
"""The version of the operator set from which on ONNX has an operator for the Function.

For an older version the Function is written as its formula of simpler Functions.
"""


_AXES = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum")
BECAME_INPUTS: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys((*_AXES, "ReduceLogSumExp", "ReduceSumSquare"), (18, ("axes",))),
    **dict.fromkeys(("ReduceSum", "Squeeze", "Unsqueeze"), (13, ("axes",))),
    "Clip": (11, ("min", "max")),
    "Dropout": (12, ("ratio",)),
    "Pad": (11, ("pads", "value")),
    "Reshape": (5, ("shape",)),
    "Slice": (10, ("starts", "ends", "axes")),
    "Split": (13, ("split",)),
    "TopK": (10, ("k",)),
    "Upsample": (9, ("scales",)),
}
"""Operator -> the version from which on these attributes are inputs, in this order after the first input."""


def writes(*kinds: str) -> Callable[[Write], Write]:
    """Registers a function that writes the Functions with these class names."""

    def register(function: Write) -> Write:
        WRITERS.update(dict.fromkeys(kinds, function))
        return function

    return register
