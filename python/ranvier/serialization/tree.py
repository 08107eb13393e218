"""Nested dicts, lists and tuples of arrays and numbers as JSON and a flat table of named arrays.

Numbers, strings and None are themselves; all other values are objects with one key:

    {"dict": [[key, value], ...]}   {"list": [...]}   {"tuple": [...]}
    {"array": name}   {"tensor": name}   {"dtype": name}

A Tensor that requires a gradient is {"leaf": name}, a Parameter {"parameter": name} or {"frozen": name}.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.nn.parameter import Parameter
from ranvier.serialization.files import RESERVED, Arrays

__all__ = ["decode", "encode"]

_DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def encode(value: Any, arrays: Arrays, path: str = "") -> Any:
    """`value` as JSON; its arrays are added to `arrays` under their paths ("state.0.step").

    Raises TypeError: something that is no array, number, string, None or a dict, list or tuple of these.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Tensor, np.ndarray)):
        name = path or "value"
        while name in arrays or name == RESERVED:  # {"a.b": x, "a": {"b": y}}
            name += "_"
        if isinstance(value, Tensor):
            arrays[name] = value._array
            return {_kind(value): name}
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)):
                raise TypeError(f"[save] got a dict with key {key!r}; expected strings or integers")
        return {"dict": [[key, encode(item, arrays, _join(path, key))] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [encode(item, arrays, _join(path, i)) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    raise TypeError(
        f"[save] got {type(value).__name__} at '{path}'; expected arrays, Tensors, numbers, strings, None, "
        "and dicts, lists and tuples of them"
    )


def decode(node: Any, arrays: Arrays) -> Any:
    """What `encode` made `node` and `arrays` of.

    Raises ValueError: no such form, or an array that is not there.
    """
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, dict) and len(node) == 1:
        kind, content = next(iter(node.items()))
        if kind in ("array", "tensor", "leaf", "parameter", "frozen") and isinstance(content, str):
            if content not in arrays:
                raise ValueError(f"array '{content}' is missing")
            return _made(kind, arrays[content])
        if kind == "dtype" and content in _DTYPES:
            return np.dtype(content)
        if kind == "dict" and isinstance(content, list):
            return dict(_pair(item, arrays) for item in content)
        if kind in ("list", "tuple") and isinstance(content, list):
            items = [decode(item, arrays) for item in content]
            return tuple(items) if kind == "tuple" else items
    raise ValueError(f"unknown form {str(node)[:80]!r}")


def _kind(x: Tensor) -> str:
    if isinstance(x, Parameter):
        return "parameter" if x.requires_grad else "frozen"
    return "leaf" if x.requires_grad else "tensor"


def _made(kind: str, array: Any) -> Any:
    if kind in ("leaf", "parameter") and array.dtype.kind != "f":
        raise ValueError(f"a {kind} of dtype {array.dtype}, which has no gradient")
    if kind in ("parameter", "frozen"):
        return Parameter(wrap(array), kind == "parameter")
    return array if kind == "array" else wrap(array).requires_grad_(kind == "leaf")


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _pair(item: Any, arrays: Arrays) -> tuple[str | int, Any]:
    if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], (str, int))):
        raise ValueError(f"unknown form {str(item)[:80]!r} in a dict")
    return item[0], decode(item[1], arrays)
