"""Functions that are made from texts at import."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from inspect import Parameter
from typing import Any


def made(
    name: str, parameters: Iterable[str | Parameter], body: str, scope: dict[str, Any], returns: Any = Any
) -> Any:
    """A function with this name and these parameters, whose body is a text.

    The functions of many ops differ in their arguments only. One function for all of them would take *args
    and loop over these, which takes as long as a small op computes. So each op gets its own function, which
    exec makes from a text with the op's arguments. name: may be that of a method, "Layer.forward". scope: the
    global variables.

    >>> made("double", ["x"], "return x * two", {"__file__": "doubles.py", "two": 2})(3)
    6
    """
    kind = Parameter.POSITIONAL_OR_KEYWORD
    empty = Parameter.empty
    taken = [Parameter(p, kind) if isinstance(p, str) else p for p in parameters]
    bare = inspect.Signature([p.replace(default=empty, annotation=empty) for p in taken])
    lines = f"def {name.rpartition('.')[2]}{bare}:", *body.split("\n")
    own: dict[str, Any] = {}
    # The code has the module's file name, by which rv.compile recognizes it as the library's.
    exec(compile("\n ".join(lines), scope["__file__"], "exec"), scope, own)
    function = own.popitem()[1]
    function.__qualname__ = name
    given = [p for p in taken if p.default is not empty]
    function.__defaults__ = tuple(p.default for p in given if p.kind is kind)
    function.__kwdefaults__ = {p.name: p.default for p in given if p.kind is not kind}
    types = {p.name: p.annotation for p in taken if p.annotation is not empty}
    function.__annotations__ = {**types, "return": returns}
    return function
