"""Optimizer: parameter groups, their state, and one core call a step for each group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from operator import is_
from typing import Any, ClassVar

import numpy as np

from ranvier.autograd.inplace import bump
from ranvier.autograd.tensor import Tensor

Array = np.ndarray[Any, Any]
Group = dict[str, Any]


class Optimizer:
    """Base of the optimizers: give it ``model.parameters()``, or a list of groups with settings of their own.

    A group is a dict with ``params`` and any of the optimizer's settings, as ``dict(params=..., lr=1e-4)``.
    ``param_groups`` may be changed between steps. A parameter without a gradient is skipped, and its state
    stays. Parameters are updated where they lie: their memory never moves.

    A subclass names its settings, its state and the core's rule:

    - ``settings(group)``: the rule's numbers, in the core's order
    - ``state_names(group)``: the states that each parameter needs, None for one that is not in use
    - ``update(group, parameters, gradients, steps, states, settings)``: the core call
    """

    name: ClassVar[str] = "optimizer"

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._plans: dict[int, _Plan] = {}
        if isinstance(params, (Tensor, np.ndarray)):
            raise TypeError(
                f"[{self.name}] got params of type {type(params).__name__}; expected an iterable of "
                "Tensors or of dicts"
            )
        groups = list(params)
        if not groups:
            raise ValueError(f"[{self.name}] got an empty parameter list; expected at least one parameter")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # --- what a subclass defines
    def check(self, group: Group) -> None:
        """Raises ValueError where a setting of the group is out of range."""

    def settings(self, group: Group) -> tuple[float, ...]:
        raise NotImplementedError

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        raise NotImplementedError

    def update(
        self, group: Group, parameters: Any, gradients: Any, steps: Any, states: Any, settings: Array
    ) -> None:
        raise NotImplementedError

    # --- groups
    def add_param_group(self, group: Group) -> None:
        """Adds parameters with settings of their own; the rest are the optimizer's defaults."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(
                f"[{self.name}] got a group {type(group).__name__}; expected a dict with 'params'"
            )
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        params = [p[1] if isinstance(p, tuple) else p for p in params]  # (name, parameter) pairs
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"[{self.name}] got a parameter of type {type(p).__name__}; expected a Tensor"
                )
            if p.grad_fn is not None:
                raise ValueError(f"[{self.name}] got the result of an operation; expected leaf Tensors")
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            raise ValueError(
                f"[{self.name}] got unknown settings {sorted(unknown)}; expected some of "
                f"{sorted(self.defaults)}"
            )
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        if len({id(p) for p in params}) < len(params) or any(id(p) in taken for p in params):
            raise ValueError(f"[{self.name}] got a parameter twice; expected each in one group only")
        full = {**self.defaults, **group, "params": params}
        self.check(full)
        self.param_groups.append(full)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients, or sets them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach()
                    p.grad.zero_()

    # --- the step
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient.

        closure: computes the loss and its gradients anew; its result is returned.
        """
        loss = None if closure is None else closure()
        for group in self.param_groups:
            active = [p for p in group["params"] if p.grad is not None]
            plan = self._plans.get(id(group))
            if plan is None or not plan.fits(self, group, active):
                plan = self._plans[id(group)] = _Plan(self, group, active)
            plan.run(self, group)
        return loss

    # --- saving
    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {name: array}}, "param_groups": [...]}``, as PyTorch's: parameters by index."""
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            groups.append(
                {
                    **{k: v for k, v in group.items() if k != "params"},
                    "params": [index[id(p)] for p in group["params"]],
                }
            )
        state = {index[id(p)]: dict(values) for p, values in self.state.items() if values}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes settings and state (arrays of NumPy, torch or ranvier) from a state_dict of like groups."""
        groups = state_dict["param_groups"]
        ours, theirs = ([len(g["params"]) for g in which] for which in (self.param_groups, groups))
        if ours != theirs:
            raise ValueError(f"[{self.name}] got groups of {theirs} parameters; expected {ours}")
        by_index: dict[int, Tensor] = {}
        for group, saved in zip(self.param_groups, groups, strict=True):
            by_index.update(zip(saved["params"], group["params"], strict=True))
            group.update({k: deepcopy(v) for k, v in saved.items() if k != "params" and k in self.defaults})
        self.state.clear()
        self._plans.clear()
        for index, values in state_dict["state"].items():
            p = by_index[int(index)]
            self.state[p] = {k: _loaded(v, k, p) for k, v in values.items() if v is not None}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([*lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_plans"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _plans={})


class _Plan:
    """The lists that a group's core call takes, kept while the same parameters have gradients."""

    def __init__(self, optimizer: Optimizer, group: Group, active: list[Tensor]) -> None:
        self.names = optimizer.state_names(group)
        self.active = active
        self.values: tuple[float, ...] = ()
        self.numbers = np.zeros(0)
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in active:
            by_dtype.setdefault(p.dtype, []).append(p)
        self.parts = [(parameters, *self._states(optimizer, parameters)) for parameters in by_dtype.values()]

    def fits(self, optimizer: Optimizer, group: Group, active: list[Tensor]) -> bool:
        return (
            len(active) == len(self.active)
            and all(map(is_, active, self.active))
            and self.names == optimizer.state_names(group)
        )

    def _states(self, optimizer: Optimizer, parameters: list[Tensor]) -> tuple[list[Array], list[Any]]:
        steps: list[Array] = []
        states: list[Any] = [None if name is None else [] for name in self.names]
        for p in parameters:
            state = optimizer.state[p]
            if "step" not in state:  # a momentum saved without its count is not the first
                state["step"] = np.array(1.0 if state else 0.0)
            steps.append(state["step"])
            for name, arrays in zip(self.names, states, strict=True):
                if name is not None:
                    if name not in state:
                        state[name] = aligned_zeros(p.shape, p.dtype)
                    arrays.append(state[name])
        return steps, states

    def run(self, optimizer: Optimizer, group: Group) -> None:
        values = optimizer.settings(group)
        if values != self.values:
            optimizer.check(group)
            self.values, self.numbers = values, np.array(values, np.float64)
        for parameters, steps, states in self.parts:
            arrays = [p._array for p in parameters]
            gradients = [p.grad._array for p in parameters]  # type: ignore[union-attr]
            optimizer.update(group, arrays, gradients, steps, states, self.numbers)
        for p in self.active:
            bump(p)


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros that begin at a cache line, as the core's own arrays do: vectors then never straddle two."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def _loaded(value: Any, name: str, p: Tensor) -> Array:
    value = getattr(value, "_array", value)
    value = np.asarray(value.detach() if hasattr(value, "detach") else value)
    if name == "step":
        return np.array(value, np.float64).reshape(())
    if value.shape != p.shape:
        raise ValueError(
            f"[load_state_dict] got {name} of shape {value.shape}; expected the parameter's, {p.shape}"
        )
    array = aligned_zeros(p.shape, p.dtype)
    array[...] = value
    return array


def check_range(name: str, group: Group, key: str, low: float = 0.0, high: float = float("inf")) -> None:
    """Raises unless low <= group[key] < high (or <= where high is infinite)."""
    value = group[key]
    if not low <= value < high and not (value == high == float("inf")):
        limits = f"at least {low:g}" if high == float("inf") else f"{low:g} <= {key} < {high:g}"
        raise ValueError(f"[{name}] got {key} {value}; expected {limits}")
