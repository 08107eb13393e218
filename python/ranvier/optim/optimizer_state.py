"""The state of optimizers, new or from a state dict; and `Plan`, the arguments of the core for a step of one
group.

The state of a parameter is a dict {name: Tensor}: the step count "step", and Tensors such as "exp_avg" in the
shape of the parameter. A group is a dict of settings, with the list of its parameters under "params".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import current, observers
from ranvier.ops.making.creation import from_numpy
from ranvier.tensors.data import as_array, get_default_dtype
from ranvier.tensors.memory import F32, HALVES, Array, in_dtype, keep, narrow, widened
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import bump

if TYPE_CHECKING:
    from ranvier.tensors.types import DtypeLike

Group = dict[str, Any]
_F64 = np.dtype(np.float64)
_FLOATS = frozenset({F32, _F64, *HALVES})


def aligned_zeros(shape: tuple[int, ...], dtype: DtypeLike | None) -> Array:
    """Zeros that begin at a cache line (64 bytes), like the core's own arrays, so that no vector crosses a
    line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return keep(memory)[start : start + size].view(dtype).reshape(shape)


def entry(state: dict[str, Any], name: str, p: Tensor | None) -> Array:
    """The array of an entry of the state. A program may have replaced the entry by another Tensor or array:
    this is converted if necessary.

    p: the parameter whose shape the entry has; None for a single number. A floating entry keeps its dtype,
    even if the parameter was cast to another dtype.
    """
    value = state[name]
    array: Array = getattr(value, "_array", value)
    dtype = getattr(array, "dtype", None)
    shape: tuple[int, ...]
    if p is not None:
        keeps_dtype = dtype in _FLOATS
        shape = p._array.shape
    else:
        keeps_dtype = dtype == _F64 or (dtype == F32 and name != "step")
        shape = ()
    if not keeps_dtype or array.shape != shape or not array.flags.carray:
        array = loaded(value, name, p)
    if array is not getattr(value, "_array", None):
        state[name] = from_numpy(array)
    keep(array)
    return array


def number_dtype(name: str) -> Any:
    """The dtype of a number in a parameter's state: as in PyTorch, except for the step count."""
    if name == "step":
        return _F64
    return get_default_dtype().dtype


def plain(value: Any) -> Any:
    """The present value of a setting as a number. The setting may be a Tensor or array of one element."""
    if type(value) is tuple or type(value) is list:
        return tuple(map(plain, value))
    array = getattr(value, "_array", value)
    if isinstance(array, np.ndarray) and array.size == 1:
        return array.item()
    return value


def elements(settings: tuple[Any, ...]) -> list[Any]:
    """The numbers of settings one by one; a pair such as betas gives two of them."""
    elements: list[Any] = []
    for setting in settings:
        if isinstance(setting, (tuple, list)):
            elements.extend(setting)
        else:
            elements.append(setting)
    return elements


def plain_group(optimizer: Any, group: Group) -> Group:
    return {key: plain(group[key]) for key in optimizer._defaults}


def loaded(value: Any, name: str, p: Tensor | None) -> Array:
    """An entry of a state dict as a new array; p as in `entry`. ValueError for another shape than p's."""
    value = as_array(value)
    if p is None:
        return np.array(value, number_dtype(name)).reshape(())
    if value.shape != p._array.shape:
        raise ValueError(
            f"[load_state_dict] got {name} of shape {value.shape}; expected the parameter's, {p._array.shape}"
        )
    array = aligned_zeros(p._array.shape, p._array.dtype)
    array[...] = value
    return array


def require_state(name: str, state: Any) -> None:
    """Raises TypeError or KeyError, as PyTorch, unless `state` has the form of an optimizer's state dict."""
    if not isinstance(state, Mapping):
        remedy = ""
        if hasattr(state, "state_dict"):
            remedy = "; its method state_dict gives one"
        raise TypeError(f"[{name}] got {type(state).__name__}; expected a state dict{remedy}")
    if not {"state", "param_groups"} <= state.keys():
        remedy = ""
        for key, value in state.items():
            if isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys():
                remedy = f"; it is the entry {key!r}"
                break
        names = ", ".join(map(repr, [*state][:4])) or "none"
        raise KeyError(f"[{name}] got a dict of {names}; expected 'state' and 'param_groups'{remedy}")


def moved(value: Any, p: Tensor) -> Any:
    """A copy of an entry of a state; floating Tensors have the dtype of the parameter."""
    if isinstance(value, Tensor):
        copy = value.detach().clone()
        if value.dtype.kind == "f":
            return copy.to(p.dtype)
        return copy
    if isinstance(value, dict):
        return {key: moved(item, p) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(item, p) for item in value)
    return deepcopy(value)


def in_place(held: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The state, copied into the arrays of `held` if they fit: a compiled step refers to these arrays."""
    for name, value in state.items():
        there = held.get(name)
        if isinstance(there, Tensor) and (there.shape, there.dtype) == (value.shape, value.dtype):
            there._array[...] = value._array
            state[name] = there
    return state


_IN_PLACE = ("add_", "mul_", "addcdiv_", "addcmul_")


def has_own(kind: type) -> bool:
    """True if a class of parameters has one of the methods in place, or a `__torch_function__` that gets
    their calls."""
    if kind is Tensor or kind.__module__.startswith("ranvier."):
        return False
    if any(getattr(kind, name) is not getattr(Tensor, name) for name in _IN_PLACE):
        return True
    hooks = [vars(base).get("__torch_function__") for base in kind.__mro__ if base is not Tensor]
    return any(isinstance(hook, (classmethod, staticmethod)) for hook in hooks)


class Plan:
    """The arguments of the core for a step of a group, kept while the same parameters have gradients."""

    def __init__(self, optimizer: Any, group: Group, active: list[Tensor]) -> None:
        self.names = optimizer._state_names(plain_group(optimizer, group))
        self.active = active
        self.settings: tuple[Any, ...] = ()  # the settings as they are in the group
        self.values: list[Any] = []  # the settings as numbers
        self.in_memory: list[Array] = []  # the settings that are arrays, which may change in place
        self.has_lists = False  # whether a setting is a list, which may change in place, too
        self.current = True  # True if the rule needs these states with these values
        self._numbers = keep(np.zeros(len(elements(optimizer._settings(group)))))  # the kernel's copy
        self.owners: list[tuple[dict[str, Any], str]] = []  # (state, name) of Tensors that may be replaced
        self.dtypes = [p._array.dtype for p in active]
        self.kinds = [*map(type, active)]
        # whether each class of the program adds the step itself: it may get such a method later
        of_program = {kind for kind in self.kinds if not kind.__module__.startswith("ranvier.")}
        self.own = {kind: has_own(kind) for kind in of_program}
        by_dtype: dict[Any, list[Tensor]] = {}
        self.by_class: list[Tensor] = []  # those whose class adds the step: see own_arithmetic.py
        for p in active:
            if self.own.get(type(p), False):
                self.by_class.append(p)
            else:
                by_dtype.setdefault(p._array.dtype, []).append(p)
        self.by_dtype = [(same, *self._states(optimizer, same)) for same in by_dtype.values()]
        self.held = [optimizer.state[p] for p in active]
        self.arrays = [state[name]._array for state, name in self.owners]

    def fits(self, optimizer: Any, group: Group, active: list[Tensor]) -> bool:
        try:
            arrays = [state[name]._array for state, name in self.owners]
        except (KeyError, AttributeError):  # The entry is gone, or is another kind of object.
            return False
        return (
            self.refresh(optimizer, group)
            and _core._are_as_before(active, self.active, self.dtypes)
            and self.kinds == [*map(type, active)]
            and all(has_own(kind) == own for kind, own in self.own.items())
            and all(map(is_, map(optimizer.state.get, self.active), self.held))
            and all(map(is_, arrays, self.arrays))
        )

    def _states(
        self, optimizer: Any, parameters: list[Tensor]
    ) -> tuple[list[Array], list[Array] | None, list[Any], Any]:
        """(step counts, numbers or None, states, dtype) for parameters of one dtype. Creates the entries that
        a parameter does not have yet.

        dtype: in which the step is computed if parameters and states have different dtypes, as after a cast
        of the parameters; else None.
        """
        steps: list[Array] = []
        numbers: list[Array] = []
        states: list[Any] = []  # a list of arrays for each state of the rule; None for one that it has not
        for name in self.names:
            states.append(None if name is None else [])
        entries = [name for name in (optimizer._number, *self.names) if name is not None]
        if optimizer._counts:
            entries.insert(0, "step")
        for p in parameters:
            state = optimizer.state[p]
            begun = any(state.get(name) is not None for name in self.names if name is not None)
            # If there is a state without a step count, such as loaded momentum, it is not the first step.
            step = keep(np.array(float(begun)))
            if optimizer._counts:
                state.setdefault("step", from_numpy(step))
                step = entry(state, "step", None)
            steps.append(step)
            if optimizer._number is not None:
                one = np.ones((), number_dtype(optimizer._number))
                state.setdefault(optimizer._number, from_numpy(keep(one)))
                numbers.append(entry(state, optimizer._number, None))
            for name, arrays in zip(self.names, states, strict=True):
                if name is not None:
                    if state.get(name) is None:
                        state[name] = from_numpy(aligned_zeros(p._array.shape, p._array.dtype))
                    arrays.append(entry(state, name, p))
            self.owners += [(state, name) for name in entries]
        dtypes = {parameters[0]._array.dtype}
        for arrays in states:
            if arrays is not None:
                dtypes.update(array.dtype for array in arrays)
        wide = None
        if len(dtypes) > 1:
            wide = max(dtypes | {F32}, key=lambda dtype: dtype.itemsize)
        if optimizer._number is None:
            return steps, None, states, wide
        return steps, numbers, states, wide

    def refresh(self, optimizer: Any, group: Group) -> bool:
        """Copies settings that have changed, by a schedule for example, to the array that the kernel reads.

        Returns False if, with these settings, the rule needs other states than this plan has.
        """
        settings = optimizer._settings(group)
        if self.in_memory or self.has_lists or settings != self.settings:
            numbers = elements(settings)
            values = [plain(element) for element in numbers]
            if values != self.values:
                plain_settings = plain_group(optimizer, group)
                optimizer._check(plain_settings)
                self._numbers[...] = [value or 0 for value in values]  # A flag may be None.
                self.current = self.names == optimizer._state_names(plain_settings)
                self.values = values
            self.settings = settings
            arrays = [getattr(element, "_array", element) for element in numbers]
            self.in_memory = [array for array in arrays if isinstance(array, np.ndarray)]
            self.has_lists = list in map(type, settings)
        return self.current

    def run(self, optimizer: Any, group: Group) -> None:
        recording = current() if observers else None
        if recording is not None:  # A replay runs this plan again, with the settings of that time.
            recording.plans.append((self, optimizer, group))
            keep(self._numbers)
        if optimizer._finite is None:
            loss = None
        else:
            loss = widened([optimizer._finite._array])[0]
        for parameters, steps, numbers, states, wide in self.by_dtype:
            arrays = [p._array for p in parameters]
            gradients = [p._grad._array for p in parameters]  # type: ignore[union-attr]
            lists = [arrays, gradients, *states]
            if wide is not None:
                lists = [xs and [in_dtype(x, wide) for x in xs] for xs in lists]
            _core.optimizer_step(
                optimizer._rule, lists[0], lists[1], steps, numbers, lists[2:], self._numbers, loss
            )
            if wide is not None:
                narrow(arrays, lists[0])
                for held, changed in zip(states, lists[2:], strict=True):
                    narrow(held or [], changed or [])
        for p in self.active:
            bump(p)
