"""Two tables: what reads each ONNX operator, and what writes each Function of the library as operators.

A function that reads gets the node's inputs (None for one that is left out) and its attributes as keyword
arguments. It can also ask for ``training`` (whether the module trains), ``outputs`` (how many results are
used), ``owned`` (whether the running statistics are buffers of the module) and ``compute`` (a function that
computes a graph of an attribute, from this and its inputs).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Implementation = Callable[..., Any]

ASKED = ("training", "outputs", "owned", "compute")


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
"""By name; the newest first."""

IGNORED = frozenset({"consumed_inputs"})
"""Attributes of very old versions without a meaning for the result."""


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
"""By the name of the Function: gets a Site, adds nodes and returns the names of the results."""
SINCE = {"Cumprod": 26, "Gelu": 20, "GeluTanh": 20, "Hardswish": 14, "LayerNorm": 17, "Mish": 18}
"""From which version of the operator set on ONNX has an operator: before, the formula is written."""


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
"""From which version of the operator set on these attributes are the inputs after the first one."""


def writes(*kinds: str) -> Callable[[Write], Write]:
    """Registers what writes Functions."""

    def register(function: Write) -> Write:
        WRITERS.update(dict.fromkeys(kinds, function))
        return function

    return register
