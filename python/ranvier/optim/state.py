"""The state of optimizers: new, and from a state dict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from ranvier.autograd.creation import from_numpy
from ranvier.autograd.memory import Array, keep
from ranvier.autograd.tensor import Tensor


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros that begin at a cache line, as the core's own arrays, so that no vector crosses two lines."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return keep(memory)[start : start + size].view(dtype).reshape(shape)


def entry(state: dict[str, Any], name: str, p: Tensor | None) -> Array:
    """The array of an entry, which a program may have replaced with another Tensor or array.

    p: the parameter whose shape it has; None: it is one number.
    """
    value = state[name]
    array: Array = getattr(value, "_array", value)
    expected = ((), np.dtype(np.float64)) if p is None else (p._array.shape, p._array.dtype)
    fits = (getattr(array, "shape", None), getattr(array, "dtype", None)) == expected
    if not fits or not array.flags.carray:
        array = loaded(value, name, p)
    if array is not getattr(value, "_array", None):
        state[name] = from_numpy(array)
    keep(array)
    return array


def plain_array(value: Any) -> Array:
    """The array of a Tensor of ranvier or torch, or of anything that NumPy takes."""
    value = getattr(value, "_array", value)
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def loaded(value: Any, name: str, p: Tensor | None) -> Array:
    value = plain_array(value)
    if p is None:
        return np.array(value, np.float64).reshape(())
    if value.shape != p._array.shape:
        raise ValueError(
            f"[load_state_dict] got {name} of shape {value.shape}; expected the parameter's, {p._array.shape}"
        )
    array = aligned_zeros(p._array.shape, p._array.dtype)
    array[...] = value
    return array


def require_state(name: str, state: Any) -> None:
    """Raises TypeError or KeyError, as PyTorch, unless it has the form of an optimizer's state dict."""
    if not isinstance(state, Mapping):
        remedy = "; its method state_dict gives one" * hasattr(state, "state_dict")
        raise TypeError(f"[{name}] got {type(state).__name__}; expected a state dict{remedy}")
    if not {"state", "param_groups"} <= state.keys():
        inner = [
            k for k, v in state.items() if isinstance(v, Mapping) and {"state", "param_groups"} <= v.keys()
        ]
        remedy = f"; it is the entry {inner[0]!r}" if inner else ""
        names = ", ".join(map(repr, [*state][:4])) or "none"
        raise KeyError(f"[{name}] got a dict of {names}; expected 'state' and 'param_groups'{remedy}")


def moved(value: Any, p: Tensor) -> Any:
    """A copy of an entry of a state; floating Tensors have the dtype of the parameter."""
    if isinstance(value, Tensor):
        return value.detach().clone().to(p.dtype if value.dtype.kind == "f" else value.dtype)
    if isinstance(value, dict):
        return {k: moved(v, p) for k, v in value.items()}
    return type(value)(moved(v, p) for v in value) if isinstance(value, (list, tuple)) else deepcopy(value)


def in_place(held: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The state, copied into the existing arrays if they fit, because a compiled step refers to these."""
    for name, value in state.items():
        there = held.get(name)
        if isinstance(there, Tensor) and (there.shape, there.dtype) == (value.shape, value.dtype):
            there._array[...] = value._array
            state[name] = there
    return state
