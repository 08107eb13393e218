"""Schemas of operators, such as "name(Tensor x, int k=1) -> Tensor": parses them, and makes them of type
hints."""

from __future__ import annotations

import ast
import functools
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ranvier import Tensor, device, dtype

_NONE = object()
_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    int: "SymInt",
    float: "float",
    bool: "bool",
    str: "str",
    dtype: "ScalarType",
    device: "Device",
    int | float | bool: "Scalar",
}


@dataclass
class Argument:
    """One argument of a schema. The type `Tensor(a!)` says that the operator changes it."""

    name: str
    type: str
    default_value: Any = _NONE
    kwarg_only: bool = False

    @property
    def is_write(self) -> bool:
        return "!" in self.type

    def has_default_value(self) -> bool:
        return self.default_value is not _NONE

    def holds(self, value: Any) -> bool:
        """True if the argument takes a value; only tensors and lists of them are looked at."""
        kind = re.sub(r"\(.*?\)", "", self.type)
        if value is None and kind.endswith("?"):
            return True
        if not kind.startswith("Tensor"):
            return not isinstance(value, Tensor) or kind[:5] in ("float", "int", "SymIn", "Scala", "bool")
        if "[" in kind:
            return isinstance(value, (list, tuple)) and all(x is None or isinstance(x, Tensor) for x in value)
        return isinstance(value, Tensor)

    def read(self, value: Any) -> Any:
        """The value as the operator's function gets it; for a list of n numbers, one number is repeated."""
        size = re.match(r"(?:int|SymInt|float)\[(\d+)\]", self.type)
        if size and isinstance(value, (int, float)):
            return [value] * int(size[1])
        if self.type.startswith("float") and isinstance(value, int) and "[" not in self.type:
            return float(value)
        if isinstance(value, tuple) and "[" in self.type:
            return list(value)
        return value


@dataclass
class FunctionSchema:
    """The arguments and results of an operator."""

    name: str
    overload_name: str
    arguments: list[Argument]
    returns: str
    text: str

    @property
    def is_mutable(self) -> bool:
        return any(argument.is_write for argument in self.arguments)

    def __str__(self) -> str:
        return self.text

    def _unfit(self, args: Sequence[Any], settings: dict[str, Any]) -> str:
        """The fault of the arguments, as text; "" for none."""
        places = [a for a in self.arguments if not a.kwarg_only]
        if len(args) > len(places):
            return f"takes {len(places)} positional argument(s) but {len(args)} was/were given. "
        names = {a.name: a for a in self.arguments}
        given = {a.name: x for a, x in zip(places, args, strict=False)}
        for name in settings:
            if name not in names or name in given:
                return f"got an unexpected argument '{name}'. "
        given |= settings
        for name, argument in names.items():
            if name not in given and not argument.has_default_value():
                return f"is missing value for argument '{name}'."
            if name in given and not argument.holds(given[name]):
                kind = type(given[name]).__name__
                return (
                    f"Expected a value of type '{argument.type}' for argument '{name}' but instead found "
                    f"type '{kind}'."
                )
        return ""

    def takes(self, args: Sequence[Any], settings: dict[str, Any]) -> bool:
        return not self._unfit(args, settings)

    def bound(self, args: Sequence[Any], settings: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """All arguments in the schema's order, and those that are given by name only. Raises RuntimeError."""
        wrong = self._unfit(args, settings)
        if wrong:
            raise RuntimeError(f"{self.name}() {wrong} Declaration: {self}")
        values = list(args)
        named = {}
        for argument in self.arguments[len(args) :]:
            value = settings.get(argument.name, argument.default_value)
            if argument.kwarg_only:
                named[argument.name] = argument.read(value)
            else:
                values.append(value)
        return [a.read(x) for a, x in zip(self.arguments, values, strict=False)], named


def _parts(text: str) -> list[str]:
    """The parts of a text between commas, except commas in brackets and quotes."""
    parts = re.findall(r"(?:[^,(\[\"']|\([^)]*\)|\[[^]]*\]|\"[^\"]*\"|'[^']*')+", text)
    return [part.strip() for part in parts]


def _default(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return text  # long, Mean, contiguous_format


def parsed(schema: str, namespace: str = "") -> FunctionSchema:
    """Reads a schema. Raises RuntimeError for a text that is none.

    >>> parsed("f(Tensor(a!) x, int[2] s=1, *, float? p=None) -> ()", "ns").is_mutable
    True
    """
    found = re.match(r"\s*((?:\w+::)?\w+)(?:\.(\w+))?\s*\((.*)\)\s*->\s*(.*)$", schema, re.DOTALL)
    if not found:
        raise RuntimeError(f"[torch.library] got the schema {schema!r}; expected 'name(Tensor x) -> Tensor'")
    name, overload, inner, returns = found.groups()
    if "::" not in name:
        name = f"{namespace}::{name}"
    arguments = []
    named = False
    for part in _parts(inner):
        if part == "*":
            named = True
            continue
        declared, _, default = part.partition("=")
        kind, _, label = declared.strip().rpartition(" ")
        if not kind:
            raise RuntimeError(
                f"[torch.library] got the argument {part!r} in {schema!r}; expected 'Tensor x'"
            )
        value = _default(default.strip()) if default else _NONE
        arguments.append(Argument(label, kind.strip(), value, named))
    text = f"{name}{'.' + overload if overload else ''}({inner}) -> {returns}"
    return FunctionSchema(name, overload or "", arguments, returns.strip(), text)


def _kind(hint: Any) -> str:
    """The schema's word for a type hint, or ""."""
    try:
        if hint in _TYPES:
            return _TYPES[hint]
    except TypeError:
        return ""
    origin = typing.get_origin(hint)
    inner = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        rest = [x for x in inner if x is not type(None)]
        kind = _kind(rest[0] if len(rest) == 1 else functools.reduce(operator.or_, rest))
        return kind and (f"{kind}?" if len(rest) < len(inner) else kind)
    if inner and isinstance(origin, type) and issubclass(origin, Sequence) and origin is not tuple:
        kind = _kind(inner[0])
        return kind and f"{kind}[]"
    return ""


def infer_schema(
    prototype_function: Callable[..., Any], /, *, mutates_args: Any, op_name: str | None = None
) -> str:
    """The schema of a function by its type hints. Raises ValueError for a hint that has no word there.

    >>> def scaled(x: Tensor, k: int = 2) -> Tensor: ...
    >>> infer_schema(scaled, mutates_args=())
    '(Tensor x, SymInt k=2) -> Tensor'
    """
    signature = inspect.signature(prototype_function)
    hints = typing.get_type_hints(prototype_function)
    parts = []
    named = False
    for number, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(f"infer_schema(func): got the parameter {parameter}; expected names with types")
        if name not in hints:
            raise ValueError(
                f"infer_schema(func): Parameter {name} must have a type annotation. "
                f"Got func with signature {signature})"
            )
        kind = _kind(hints[name])
        if not kind:
            raise ValueError(f"infer_schema(func): Parameter {name} has unsupported type {hints[name]}.")
        if kind.startswith("Tensor") and (mutates_args == "unknown" or name in mutates_args):
            kind = f"Tensor(a{number}!){kind[6:]}"
        if parameter.kind == parameter.KEYWORD_ONLY and not named:
            parts.append("*")
            named = True
        default = parameter.default
        if default is not parameter.empty:
            if isinstance(default, str):
                shown = f'"{default}"'
            else:
                shown = str(default).removeprefix("torch.")
            name = f"{name}={shown}"
        parts.append(f"{kind} {name}")
    unknown = set(() if mutates_args == "unknown" else mutates_args) - set(signature.parameters)
    if unknown:
        raise ValueError(
            f"infer_schema(func): mutates_args {sorted(unknown)} are no parameters of {signature}"
        )
    return f"{op_name or ''}({', '.join(parts)}) -> {_returned(hints.get('return', inspect.Signature.empty))}"


def _returned(hint: Any) -> str:
    if hint in (None, type(None), inspect.Signature.empty):
        return "()"
    if typing.get_origin(hint) is tuple:
        return f"({', '.join(map(_kind, typing.get_args(hint)))})"
    kind = _kind(hint)
    if not kind:
        raise ValueError(f"infer_schema(func): Return has unsupported type {hint}.")
    return kind
