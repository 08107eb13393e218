"""The state of optimizers, new or from a state dict; and `Plan`, the arguments of the core for a step of one
group.

The state of a parameter is a dict {name: Tensor}: the step count "step", and Tensors such as "exp_avg" in the
shape of the parameter. A group is a dict of settings, with the list of its parameters under "params". A
setting may be a Tensor of one element, which a program changes in place between steps.

optim/optimizer.py and optim/lbfgs.py use this file. `keep` tells the recording of a step that an array
outlives the step. A recorded step keeps the Plans that it has run, and a replay runs them again
(`ranvier.compile`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.observe import current, observers
from ranvier.ops.making.creation import from_numpy
from ranvier.tensors.data import as_array, get_default_dtype
from ranvier.tensors.memory import F32, HALVES, Array, filled, in_dtype, keep, narrow, widened
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import bump

if TYPE_CHECKING:
    from ranvier.tensors.types import DtypeLike, Shape

Group = dict[str, Any]
State = dict[str, Any]
_F64 = np.dtype(np.float64)
_FLOATS = frozenset({F32, _F64, *HALVES})


class RuleLike(Protocol):
    """An Optimizer whose rule is in the core. Its class, in optim/optimizer.py, says what these attributes
    are; it imports this file."""

    _rule: ClassVar[str]
    _defaults: ClassVar[dict[str, Any]]
    _number: ClassVar[str | None]
    _counts: ClassVar[bool]
    _finite: Tensor | None
    state: defaultdict[Tensor, State]

    def _check(self, group: Group) -> None: ...
    def _settings(self, group: Group) -> tuple[Any, ...]: ...
    def _state_names(self, group: Group) -> tuple[str | None, ...]: ...


def aligned_zeros(shape: Shape, dtype: DtypeLike | None) -> Array:
    """Zeros that begin at a cache line (64 bytes), like the core's own arrays, so that no vector crosses a
    line. While a step is recorded they are NumPy's: a kernel that fills them would be replayed."""
    dtype = np.dtype(dtype)
    if not observers and dtype.kind == "f":
        return filled(0, tuple(shape), dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    address, _ = memory.__array_interface__["data"]
    start = -address % 64  # the first byte whose address is a multiple of 64
    return keep(memory)[start : start + size].view(dtype).reshape(shape)


def entry(state: State, name: str, p: Tensor | None) -> Array:
    """The array of an entry of the state. A program may have replaced the entry by another Tensor or array:
    this is converted if necessary.

    p: the parameter whose shape the entry has; None for a single number. A floating entry keeps its dtype,
    even if the parameter was cast to another dtype.
    """
    value: Any = state[name]
    array: Array = getattr(value, "_array", value)
    dtype = getattr(array, "dtype", None)
    shape: Shape = ()
    if p is not None:
        has_usable_dtype = dtype in _FLOATS
        shape = p._array.shape
    else:
        has_usable_dtype = dtype == _F64 or (dtype == F32 and name != "step")
    if not has_usable_dtype or array.shape != shape or not array.flags.carray:
        array = loaded(value, name, p)
    if array is not getattr(value, "_array", None):
        state[name] = from_numpy(array)
    keep(array)
    return array


def number_dtype(name: str) -> np.dtype[Any]:
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


def plain_group(optimizer: RuleLike, group: Group) -> Group:
    """The settings of the optimizer in a group, as numbers."""
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


def require_state(name: str, state: object) -> None:
    """Raises TypeError or KeyError, as PyTorch, unless `state` is a dict with the two entries of an
    optimizer's state dict. name: the class of the optimizer."""
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


def in_place(old: Mapping[str, Any], state: State) -> State:
    """The state, copied into the Tensors of the old one where they fit: a compiled step refers to these."""
    merged = {}
    for name, value in state.items():
        merged[name] = value
        target = old.get(name)
        if isinstance(target, Tensor) and (target.shape, target.dtype) == (value.shape, value.dtype):
            target._array[...] = value._array
            merged[name] = target
    return merged


_IN_PLACE = ("add_", "mul_", "addcdiv_", "addcmul_")


def adds_itself(tensor_class: type) -> bool:
    """True if a program's class of parameters decides what a step does: it has one of the methods in place
    itself, or a `__torch_function__` that gets their calls. See own_arithmetic.py."""
    if tensor_class is Tensor or tensor_class.__module__.startswith("ranvier."):
        return False
    if any(getattr(tensor_class, name) is not getattr(Tensor, name) for name in _IN_PLACE):
        return True
    hooks = [vars(base).get("__torch_function__") for base in tensor_class.__mro__ if base is not Tensor]
    return any(isinstance(hook, (classmethod, staticmethod)) for hook in hooks)


StepArguments: TypeAlias = (
    "tuple[list[Tensor], list[Array], list[Array] | None, list[list[Array] | None], np.dtype[Any] | None]"
)
"""What the kernel gets for a step of the parameters of one dtype: (the parameters, the step counts, the
number that each has besides (`_number`) or None, for each state of the rule the arrays or None for one that
is not used, the dtype in which the step is computed if parameters and states differ in dtype)."""


class Plan:
    """The arguments of the core for a step of a group, used again while the same parameters have
    gradients."""

    def __init__(self, optimizer: RuleLike, group: Group, active: list[Tensor]) -> None:
        """active: the parameters of the group that have a gradient."""
        self.names = optimizer._state_names(plain_group(optimizer, group))
        self.active = active
        self.settings: tuple[Any, ...] = ()  # the settings as they are in the group
        self.values: list[Any] = []  # the settings as numbers
        self.in_memory: list[Array] = []  # the settings that are arrays, which may change in place
        self.has_lists = False  # whether a setting is a list, which may change in place, too
        self.current = True  # True if the rule needs these states with these values
        self._numbers = keep(np.zeros(len(elements(optimizer._settings(group)))))  # the kernel's copy
        self.owners: list[tuple[State, str]] = []  # (state, name) of Tensors that may be replaced
        self.dtypes = [p._array.dtype for p in active]
        self.classes = [*map(type, active)]
        # {a program's class: whether it adds the step itself}; it may get such a method later.
        self.add_themselves: dict[type, bool] = {}
        for parameter_class in self.classes:
            if not parameter_class.__module__.startswith("ranvier."):
                self.add_themselves[parameter_class] = adds_itself(parameter_class)
        by_dtype: dict[np.dtype[Any], list[Tensor]] = {}
        self.by_class: list[Tensor] = []  # those whose class adds the step: see own_arithmetic.py
        for p in active:
            if self.add_themselves.get(type(p), False):
                self.by_class.append(p)
            else:
                by_dtype.setdefault(p._array.dtype, []).append(p)
        self.by_dtype = [self._arguments(optimizer, parameters) for parameters in by_dtype.values()]
        # What the plan refers to, which a program may replace: `fits` compares it.
        self.states = [optimizer.state[p] for p in active]
        self.arrays = [state[name]._array for state, name in self.owners]

    def fits(self, optimizer: RuleLike, group: Group, active: list[Tensor]) -> bool:
        """True if the plan is right for these parameters with the present state and settings; reads the
        settings anew (`refresh`)."""
        try:
            arrays = [state[name]._array for state, name in self.owners]
        except (KeyError, AttributeError):  # The entry is gone, or is another kind of object.
            return False
        # The settings; the parameters and their dtypes; their classes, and whether these add the step; the
        # dicts of the state, and the arrays in them.
        return (
            self.refresh(optimizer, group)
            and _core._are_as_before(active, self.active, self.dtypes)
            and self.classes == [*map(type, active)]
            and all(adds_itself(c) == before for c, before in self.add_themselves.items())
            and all(map(is_, map(optimizer.state.get, self.active), self.states))
            and all(map(is_, arrays, self.arrays))
        )

    def _arguments(self, optimizer: RuleLike, parameters: list[Tensor]) -> StepArguments:
        """What the kernel gets for parameters of one dtype. Creates the entries of the state that a parameter
        does not have yet."""
        steps: list[Array] = []
        numbers: list[Array] = []
        arrays_of_state: dict[str, list[Array]] = {name: [] for name in self.names if name is not None}
        entries = [name for name in (optimizer._number, *self.names) if name is not None]
        if optimizer._counts:
            entries.insert(0, "step")
        for p in parameters:
            state = optimizer.state[p]
            has_begun = any(state.get(name) is not None for name in arrays_of_state)
            # If there is a state without a step count, such as loaded momentum, it is not the first step.
            step = keep(np.array(float(has_begun)))
            if optimizer._counts:
                state.setdefault("step", from_numpy(step))
                step = entry(state, "step", None)
            steps.append(step)
            if optimizer._number is not None:
                one = np.ones((), number_dtype(optimizer._number))
                state.setdefault(optimizer._number, from_numpy(keep(one)))
                numbers.append(entry(state, optimizer._number, None))
            for name, arrays in arrays_of_state.items():
                if state.get(name) is None:
                    state[name] = from_numpy(aligned_zeros(p._array.shape, p._array.dtype))
                arrays.append(entry(state, name, p))
            self.owners += [(state, name) for name in entries]
        dtypes = {parameters[0]._array.dtype}
        for arrays in arrays_of_state.values():
            dtypes.update(array.dtype for array in arrays)
        wide = None
        if len(dtypes) > 1:  # as after a cast of the parameters
            wide = max(dtypes | {F32}, key=attrgetter("itemsize"))
        states: list[list[Array] | None] = []
        for optional_name in self.names:
            states.append(arrays_of_state.get(optional_name))  # type: ignore[arg-type]
        if optimizer._number is None:
            return parameters, steps, None, states, wide
        return parameters, steps, numbers, states, wide

    def refresh(self, optimizer: RuleLike, group: Group) -> bool:
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
                self._numbers[...] = [value or 0 for value in values]  # A flag may be None: 0, as False.
                self.current = self.names == optimizer._state_names(plain_settings)
                self.values = values
            self.settings = settings
            arrays = [getattr(element, "_array", element) for element in numbers]
            self.in_memory = [array for array in arrays if isinstance(array, np.ndarray)]
            self.has_lists = list in map(type, settings)
        return self.current

    def run(self, optimizer: RuleLike, group: Group) -> None:
        """One step: a call of the kernel for each dtype of the parameters."""
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
            lists: list[Any] = [arrays, gradients, *states]
            if wide is not None:
                lists = [_in_dtype(xs, wide) for xs in lists]
            _core.optimizer_step(
                optimizer._rule, lists[0], lists[1], steps, numbers, lists[2:], self._numbers, loss
            )
            if wide is not None:
                narrow(arrays, lists[0])
                for stored, changed in zip(states, lists[2:], strict=True):
                    narrow(stored or [], changed or [])
        for p in self.active:
            bump(p)


def _in_dtype(arrays: list[Array] | None, dtype: np.dtype[Any]) -> list[Array] | None:
    """The arrays converted to a dtype; None if there are none."""
    if arrays is None:
        return None
    return [in_dtype(array, dtype) for array in arrays]
