"""Docstrings of functions that are rows of a table."""

from __future__ import annotations

import inspect
import re
from typing import Any


def document(module: dict[str, Any], rows: str, owner: str = "rv") -> None:
    """Names functions of a module and writes their docstrings: ``name: formula | arguments -> result``.

    Lists in the example are tensors. Lines that begin with spaces continue a row. doctest runs the examples.

    >>> module = {"__name__": "maths", "total": lambda input: sum(input)}
    >>> document(module, "total: The sum. | [2, 3] -> tensor(5)")
    >>> print(module["total"].__doc__.replace(">>>", "..."), inspect.signature(module["total"]))
    The sum.
    <BLANKLINE>
        ... import ranvier as rv
        ... rv.total(rv.tensor([2, 3]))
        tensor(5)
         (input: 'Any') -> 'Tensor'
    """
    for row in re.split(r"\n(?=\S)", rows.strip()):
        text, example = row.replace("\n    | ", " | ").rsplit(" | ", 1)
        name, formula = text.split(": ", 1)
        arguments, result = re.sub(r"\s+-> ", " -> ", example).split(" -> ")
        call = re.sub(r"(?<!rv.tensor\()(\[\[.*?\]\]|\[[^]]*\])", r"rv.tensor(\1)", arguments)
        result = f"tensor({result})" if result[0] == "[" else result
        op = module[name]
        op.__name__ = op.__qualname__ = name
        op.__module__ = module["__name__"]
        op.__doc__ = (
            f"{formula}\n\n    >>> import ranvier as rv\n    >>> {owner}.{name}({call})\n    {result}\n    "
        )
        if not op.__annotations__:  # a lambda
            names = inspect.signature(op).parameters
            op.__annotations__ = {**dict.fromkeys(names, "Any"), "return": "Tensor"}
        module.setdefault("__test__", {})[name] = op
