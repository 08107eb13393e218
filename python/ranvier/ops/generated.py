"""Functions that are made from texts at import: the public functions and nodes of element-wise ops.

The functions of many ops differ in their arguments only. One function for all of them would take *args and
loop over these, which takes as long as a small op computes. So each op gets its own function, which exec
makes from a text with the op's arguments (`elementwise/decorator.py`, `elementwise/node.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from inspect import Parameter
from typing import Any


def made(
    name: str, parameters: Iterable[str | Parameter], body: str, scope: dict[str, Any], returns: object = Any
) -> Any:
    """A function with this name and these parameters, whose body is a text.

    scope: the global variables. Its ``__file__`` becomes the file of the code, by which rv.compile recognizes
    the code as the library's. returns: the annotation of the result.

    >>> made("double", ["x"], "return x * two", {"__file__": "doubles.py", "two": 2})(3)
    6
    """
    taken = []
    for parameter in parameters:
        if isinstance(parameter, str):
            parameter = Parameter(parameter, Parameter.POSITIONAL_OR_KEYWORD)
        taken.append(parameter)
    # Defaults and annotations are objects, and cannot stand in a text: they are set after exec.
    bare = [p.replace(default=Parameter.empty, annotation=Parameter.empty) for p in taken]
    text = "\n ".join([f"def {name}{inspect.Signature(bare)}:", *body.split("\n")])
    defined: dict[str, Any] = {}
    exec(compile(text, scope["__file__"], "exec"), scope, defined)
    function = defined[name]
    optional = [p for p in taken if p.default is not Parameter.empty]
    positional = [p for p in optional if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    keyword_only = [p for p in optional if p.kind is not Parameter.POSITIONAL_OR_KEYWORD]
    annotations = {p.name: p.annotation for p in taken if p.annotation is not Parameter.empty}
    function.__defaults__ = tuple(p.default for p in positional)
    function.__kwdefaults__ = {p.name: p.default for p in keyword_only}
    function.__annotations__ = {**annotations, "return": returns}
    return function
