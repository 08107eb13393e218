"""Two tables: what computes each ONNX operator of a loaded file, and what writes each Function as operators.

The function that computes an operator gets the node's inputs (None for an input that is left out), and its
attributes as keyword arguments. It can have further keyword arguments, which are no attributes:

- ``training``: whether the module is in training mode.
- ``outputs``: how many results are used.
- ``owned``: whether the running statistics are buffers of the module.
- ``compute``: a function that takes a graph of an attribute and its inputs, and returns the graph's results.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Implementation = Callable[..., Any]

RUN_ARGUMENTS = ("training", "outputs", "owned", "compute")
"""The keyword arguments of an implementation that are no attributes: they say how the module runs."""


class Operator(NamedTuple):
    """One operator from one version of the operator set on.

    attributes: the names of those that it takes.
    run_arguments: which of RUN_ARGUMENTS it takes.
    """

    name: str
    since: int
    function: Implementation
    attributes: frozenset[str]
    run_arguments: tuple[str, ...]


OPERATORS: dict[str, list[Operator]] = {}
"""The implementations of an operator, by its name; that of the newest version is the first."""

IGNORED = frozenset({"consumed_inputs"})
"""Attributes of very old versions that do not change the result."""


def operator(
    name: str, since: int = 1, more: Iterable[str] = ()
) -> Callable[[Implementation], Implementation]:
    """Registers the implementation of an operator, valid from a version of the operator set on.

    Its keyword-only parameters are the attributes that are supported.
    more: attributes that the function takes as ``**attributes``.
    """

    def register(function: Implementation) -> Implementation:
        parameters = inspect.signature(function).parameters.values()
        keywords = {*more, *[p.name for p in parameters if p.kind is p.KEYWORD_ONLY]}
        attributes = frozenset(keywords.difference(RUN_ARGUMENTS))
        run_arguments = tuple(name for name in RUN_ARGUMENTS if name in keywords)
        versions = OPERATORS.setdefault(name, [])
        versions.append(Operator(name, since, function, attributes, run_arguments))
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
    for implementation in OPERATORS.get(name, ()):
        if implementation.since <= version:
            return implementation
    return None


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
