"""Generates code at import: the lines of docstring examples, and functions with given arguments.

``| rv.exp(rv.tensor([0.0])) -> tensor([1.])`` at the end of a docstring stands for the lines of an example,
which doctest runs; ``->`` may begin the next line. The rows of a matrix, ``tensor([[1., 0.], [0., 1.]])``,
become lines. `examples` writes them for the functions and classes of a module, `document` for a table with a
row for each function. `made` makes a function from the text of its body.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from inspect import Parameter
from types import FunctionType
from typing import Any

from ranvier.tensors.errors import own_errors


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
    for row in re.split(r"\n(?=\S)", rows.strip()):  # a row ends where the next line begins with no space
        text, example = row.replace("\n    | ", " | ").rsplit(" | ", 1)
        name, formula = text.split(": ", 1)
        arguments, result = re.sub(r"\s+-> ", " -> ", example).split(" -> ")
        # [2, 3] or [[1, 2], [3, 4]] -> rv.tensor(...), unless rv.tensor( stands before it
        call = re.sub(r"(?<!rv.tensor\()(\[\[.*?\]\]|\[[^]]*\])", r"rv.tensor(\1)", arguments)
        result = f"tensor({result})" if result[0] == "[" else result
        op = module[name]
        op.__name__ = op.__qualname__ = name
        op.__module__ = module["__name__"]
        op.__doc__ = _written(formula, f"{owner}.{name}({call})", result)
        if not op.__annotations__:  # a lambda
            names = inspect.signature(op).parameters
            op.__annotations__ = {**dict.fromkeys(names, "Any"), "return": "Tensor"}
        module.setdefault("__test__", {})[name] = op


def examples(module: dict[str, Any], errors: Iterable[str] = ()) -> None:
    """Writes the examples of a module's functions and classes as lines.

    errors: the names of functions that are wrapped so that their errors begin with the name
        (:func:`own_errors`).

    >>> def double(x):
    ...     "2 x | rv.double(rv.tensor([1.0])) -> tensor([2.])"
    >>> double.__module__ = "maths"
    >>> examples({"__name__": "maths", "double": double})
    >>> print(double.__doc__.replace(">>>", "..."))
    2 x
    <BLANKLINE>
        ... import ranvier as rv
        ... rv.double(rv.tensor([1.0]))
        tensor([2.])
    <BLANKLINE>
    """
    own_errors(module, errors)
    for value in module.values():
        own = isinstance(value, (FunctionType, type)) and value.__module__ == module["__name__"]
        text, _, example = ((own and value.__doc__) or "").rpartition("| ")
        call, arrow, result = example.rpartition(" -> ")
        if arrow and "rv." in call:
            value.__doc__ = _written(text.rstrip(), call.rstrip(), result.rstrip())


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
    kind, empty = Parameter.POSITIONAL_OR_KEYWORD, Parameter.empty
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


def _written(text: str, call: str, result: str) -> str:
    """The docstring: the text, and the example in the form that doctest reads."""
    if result.startswith("tensor([["):  # one line for each row
        opening = len(result) - len(result.removeprefix("tensor(").lstrip("["))  # the length of "tensor([["
        result = result.replace("], [", "],\n" + " " * (4 + opening - 1) + "[")  # 4: of the docstring
    return f"{text}\n\n    >>> import ranvier as rv\n    >>> {call}\n    {result}\n    "
