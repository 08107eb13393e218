"""Schemas of operators, such as "name(Tensor x, int k=1) -> Tensor".

`parse_schema` reads them for `torch.library`, and `infer_schema` makes them of the type hints of a function.
A call of an operator is matched with its schema in `FunctionSchema.bind`. Types have PyTorch's words:
"Tensor(a!)" is a tensor that the operator changes, "SymInt" an int, "Scalar" any number, "int[2]" two ints,
and "float?" a float or None.
"""

from __future__ import annotations

import ast
import functools
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ranvier import Tensor, device, dtype

_NO_DEFAULT = object()  # the default value of an argument that has none, since None is a default
_TYPES: dict[Any, str] = {  # type hint -> its word in a schema
    Tensor: "Tensor",
    int: "SymInt",
    float: "float",
    bool: "bool",
    str: "str",
    dtype: "ScalarType",
    device: "Device",
    int | float | bool: "Scalar",
}


class BoundArguments(NamedTuple):
    """The arguments of a call, complete and in the order of the schema."""

    positional: list[Any]
    named: dict[str, Any]  # those that can be given by name only


@dataclass
class Argument:
    """One argument of a schema, with PyTorch's names of its attributes."""

    name: str
    type: str
    default_value: Any = _NO_DEFAULT
    kwarg_only: bool = False

    @property
    def is_write(self) -> bool:
        return "!" in self.type

    def has_default_value(self) -> bool:
        return self.default_value is not _NO_DEFAULT

    def accepts(self, value: Any) -> bool:
        """Whether the argument may have a value. Only tensors and lists of tensors are checked.

        A Tensor may stand for a number, as in PyTorch: it has one element then.
        """
        type_word = re.sub(r"\(.*?\)", "", self.type)  # "Tensor" of "Tensor(a!)"
        if value is None and type_word.endswith("?"):
            return True
        if not type_word.startswith("Tensor"):
            is_number = type_word in ("int", "bool") or type_word.startswith(("float", "SymInt", "Scalar"))
            return is_number or not isinstance(value, Tensor)
        if "[" in type_word:
            return isinstance(value, (list, tuple)) and all(x is None or isinstance(x, Tensor) for x in value)
        return isinstance(value, Tensor)

    def convert(self, value: Any) -> Any:
        """The value as a kernel gets it: one number for "int[2]" is repeated, a tuple becomes a list."""
        length = re.match(r"(?:int|SymInt|float)\[(\d+)\]", self.type)
        is_list = "[" in self.type
        if length and isinstance(value, (int, float)):
            return [value] * int(length[1])
        if self.type.startswith("float") and isinstance(value, int) and not is_list:
            return float(value)
        if isinstance(value, tuple) and is_list:
            return list(value)
        return value


@dataclass
class FunctionSchema:
    """The arguments and results of an operator, with PyTorch's names of its attributes.

    name: with the namespace, "mine::twice".
    text: the schema as it was written, with this name.
    """

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

    def find_fault(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """What is wrong with the arguments of a call, as text; "" if they fit."""
        positional = [argument for argument in self.arguments if not argument.kwarg_only]
        if len(args) > len(positional):
            return f"takes {len(positional)} positional argument(s) but {len(args)} was/were given. "
        arguments = {argument.name: argument for argument in self.arguments}
        values = {argument.name: value for argument, value in zip(positional, args, strict=False)}
        for name in kwargs:
            if name not in arguments or name in values:
                return f"got an unexpected argument '{name}'. "
        values.update(kwargs)
        for name, argument in arguments.items():
            if name not in values and not argument.has_default_value():
                return f"is missing value for argument '{name}'."
            if name in values and not argument.accepts(values[name]):
                found = type(values[name]).__name__
                return (
                    f"Expected a value of type '{argument.type}' for argument '{name}' but instead found "
                    f"type '{found}'."
                )
        return ""

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundArguments:
        """The arguments of a call, with default values and converted. Raises RuntimeError for others."""
        fault = self.find_fault(args, kwargs)
        if fault:
            raise RuntimeError(f"{self.name}() {fault} Declaration: {self}")
        positional = list(args)
        named = {}
        for argument in self.arguments[len(args) :]:
            value = kwargs.get(argument.name, argument.default_value)
            if argument.kwarg_only:
                named[argument.name] = argument.convert(value)
            else:
                positional.append(value)
        pairs = zip(self.arguments, positional, strict=False)
        converted = [argument.convert(value) for argument, value in pairs]
        return BoundArguments(converted, named)


def _split_arguments(text: str) -> list[str]:
    """The texts between the commas, except commas in brackets and quotes."""
    texts = re.findall(r"(?:[^,(\[\"']|\([^)]*\)|\[[^]]*\]|\"[^\"]*\"|'[^']*')+", text)
    return [text.strip() for text in texts]


def _parse_default(text: str) -> Any:
    """The value that a schema writes as a default: a literal of Python, or the text itself."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # long, Mean, contiguous_format


def parse_schema(schema: str, namespace: str = "") -> FunctionSchema:
    """Read a schema; its name without "::" is one of the namespace. Raises RuntimeError for other texts.

    >>> parse_schema("f(Tensor(a!) x, int[2] s=1, *, float? p=None) -> ()", "ns").is_mutable
    True
    """
    found = re.match(r"\s*((?:\w+::)?\w+)(?:\.(\w+))?\s*\((.*)\)\s*->\s*(.*)$", schema, re.DOTALL)
    if not found:
        raise RuntimeError(f"[torch.library] got the schema {schema!r}; expected 'name(Tensor x) -> Tensor'")
    name, overload, inner, returns = found.groups()
    if "::" not in name:
        name = f"{namespace}::{name}"
    arguments = []
    kwarg_only = False
    for text in _split_arguments(inner):
        if text == "*":
            kwarg_only = True
            continue
        declaration, _, default = text.partition("=")
        type_word, _, argument_name = declaration.strip().rpartition(" ")
        if not type_word:
            raise RuntimeError(
                f"[torch.library] got the argument {text!r} in {schema!r}; expected 'Tensor x'"
            )
        if default:
            default_value = _parse_default(default.strip())
        else:
            default_value = _NO_DEFAULT
        arguments.append(Argument(argument_name, type_word.strip(), default_value, kwarg_only))
    if overload:
        full_name = f"{name}.{overload}"
    else:
        full_name = name
    text = f"{full_name}({inner}) -> {returns}"
    return FunctionSchema(name, overload or "", arguments, returns.strip(), text)


def _schema_type(hint: Any) -> str:
    """The schema's word for a type hint, or "" for a hint that has none."""
    try:
        if hint in _TYPES:
            return _TYPES[hint]
    except TypeError:  # a hint that cannot be hashed
        return ""
    origin = typing.get_origin(hint)
    inner = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        without_none = [x for x in inner if x is not type(None)]
        type_word = _schema_type(functools.reduce(operator.or_, without_none))
        if type_word and len(without_none) < len(inner):
            return f"{type_word}?"
        return type_word
    if inner and isinstance(origin, type) and issubclass(origin, Sequence) and origin is not tuple:
        element = _schema_type(inner[0])
        if element:
            return f"{element}[]"
    return ""


def infer_schema(
    prototype_function: Callable[..., Any],
    /,
    *,
    mutates_args: str | Iterable[str],
    op_name: str | None = None,
) -> str:
    """The schema of a function by its type hints. Raises ValueError for a hint that has no word there.

    mutates_args: the names of the arguments that the function changes, or "unknown" for any of them.

    >>> def scaled(x: Tensor, k: int = 2) -> Tensor: ...
    >>> infer_schema(scaled, mutates_args=())
    '(Tensor x, SymInt k=2) -> Tensor'
    """
    signature = inspect.signature(prototype_function)
    hints = typing.get_type_hints(prototype_function)
    changes_any = mutates_args == "unknown"
    mutated = set() if changes_any else set(mutates_args)
    declarations = []
    has_star = False
    for number, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(f"infer_schema(func): got the parameter {parameter}; expected names with types")
        if name not in hints:
            raise ValueError(
                f"infer_schema(func): Parameter {name} must have a type annotation. "
                f"Got func with signature {signature})"
            )
        type_word = _schema_type(hints[name])
        if not type_word:
            raise ValueError(f"infer_schema(func): Parameter {name} has unsupported type {hints[name]}.")
        if type_word.startswith("Tensor") and (changes_any or name in mutated):
            suffix = type_word.removeprefix("Tensor")  # "?", "[]" or nothing
            type_word = f"Tensor(a{number}!){suffix}"
        if parameter.kind == parameter.KEYWORD_ONLY and not has_star:
            declarations.append("*")
            has_star = True
        declarations.append(f"{type_word} {name}{_default_text(parameter)}")
    unknown = mutated - set(signature.parameters)
    if unknown:
        raise ValueError(
            f"infer_schema(func): mutates_args {sorted(unknown)} are no parameters of {signature}"
        )
    returns = _return_type(hints.get("return", inspect.Signature.empty))
    return f"{op_name or ''}({', '.join(declarations)}) -> {returns}"


def _default_text(parameter: inspect.Parameter) -> str:
    """The default value of a parameter as a schema writes it, with its "="; "" if there is none."""
    default = parameter.default
    if default is parameter.empty:
        return ""
    if isinstance(default, str):
        return f'="{default}"'
    text = str(default).removeprefix("torch.")  # a dtype is written "float32"
    return f"={text}"


def _return_type(hint: Any) -> str:
    """The schema's text for the type hint of the results."""
    if hint in (None, type(None), inspect.Signature.empty):
        return "()"
    if typing.get_origin(hint) is tuple:
        words = ", ".join(map(_schema_type, typing.get_args(hint)))
        return f"({words})"
    type_word = _schema_type(hint)
    if not type_word:
        raise ValueError(f"infer_schema(func): Return has unsupported type {hint}.")
    return type_word
