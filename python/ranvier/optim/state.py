"""The state of optimizers, new and from a state dict; what one step of a group passes to the core."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from operator import is_
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import current, observers
from ranvier.ops.making.creation import from_numpy
from ranvier.tensors.data import as_array
from ranvier.tensors.memory import Array, keep, widened
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import bump


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


def loaded(value: Any, name: str, p: Tensor | None) -> Array:
    value = as_array(value)
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


Group = dict[str, Any]


class Plan:
    """The arguments of a group's core call, kept while the same parameters have gradients."""

    def __init__(self, optimizer: Any, group: Group, active: list[Tensor]) -> None:
        self.names = optimizer._state_names(group)
        self.active = active
        self.values: tuple[Any, ...] = ()
        self.current = True  # whether the rule needs these states with these values
        self._numbers = keep(np.zeros(len(optimizer._settings(group))))  # the kernel's copy of the settings
        self.owners: list[tuple[dict[str, Any], str]] = []  # (state, name) of Tensors that may be replaced
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in active:
            by_dtype.setdefault(p._array.dtype, []).append(p)
        self.by_dtype = [(same, *self._states(optimizer, same)) for same in by_dtype.values()]
        self.held = [optimizer.state[p] for p in active]
        self.arrays = [state[name]._array for state, name in self.owners]

    def fits(self, optimizer: Any, group: Group, active: list[Tensor]) -> bool:
        try:
            arrays = [state[name]._array for state, name in self.owners]
        except (KeyError, AttributeError):  # dropped, or another object in its place
            return False
        return (
            self.refresh(optimizer, group)
            and len(active) == len(self.active)
            and all(map(is_, active, self.active))
            and all(map(is_, map(optimizer.state.get, self.active), self.held))
            and all(map(is_, arrays, self.arrays))
        )

    def _states(
        self, optimizer: Any, parameters: list[Tensor]
    ) -> tuple[list[Array], list[Array] | None, list[Any]]:
        """Step counts, numbers (or None) and states; creates those that a parameter does not have yet."""
        steps: list[Array] = []
        numbers: list[Array] = []
        states: list[Any] = [None if name is None else [] for name in self.names]
        kept = ("step" if optimizer._counts else None, optimizer._number, *self.names)
        for p in parameters:
            state = optimizer.state[p]
            begun = any(state.get(name) is not None for name in self.names if name is not None)
            step = keep(np.array(float(begun)))  # a loaded momentum without a count is not at its first step
            if optimizer._counts:
                state.setdefault("step", from_numpy(step))
                step = entry(state, "step", None)
            steps.append(step)
            if optimizer._number is not None:
                state.setdefault(optimizer._number, from_numpy(keep(np.array(1.0))))
                numbers.append(entry(state, optimizer._number, None))
            for name, arrays in zip(self.names, states, strict=True):
                if name is not None:
                    if state.get(name) is None:
                        state[name] = from_numpy(aligned_zeros(p._array.shape, p._array.dtype))
                    arrays.append(entry(state, name, p))
            self.owners += [(state, name) for name in kept if name is not None]
        return steps, None if optimizer._number is None else numbers, states

    def refresh(self, optimizer: Any, group: Group) -> bool:
        """Copies changed settings, such as a schedule's, to the array that the kernel reads.

        False if the rule needs other states with these settings than this plan has.
        """
        values = optimizer._settings(group)
        if values != self.values:
            optimizer._check(group)
            self.values = values
            self._numbers[...] = [value or 0 for value in values]  # a flag may be None
            self.current = self.names == optimizer._state_names(group)
        return self.current

    def run(self, optimizer: Any, group: Group) -> None:
        if observers and (recording := current()) is not None:
            recording.plans.append((self, optimizer, group))
            keep(self._numbers)
        loss = None if optimizer._finite is None else widened([optimizer._finite._array])[0]
        for parameters, steps, numbers, states in self.by_dtype:
            arrays = [p._array for p in parameters]
            gradients = [p._grad._array for p in parameters]  # type: ignore[union-attr]
            _core.optimizer_step(
                optimizer._rule, arrays, gradients, steps, numbers, states, self._numbers, loss
            )
        for p in self.active:
            bump(p)
