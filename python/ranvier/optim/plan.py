"""What one step of a group passes to the core: its arrays, and a copy of its settings."""

from __future__ import annotations

from operator import is_
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.creation import from_numpy
from ranvier.autograd.memory import Array, keep
from ranvier.autograd.observe import current, observers
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import bump
from ranvier.optim.state import aligned_zeros, entry

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
        loss = None if optimizer._finite is None else optimizer._finite._array
        for parameters, steps, numbers, states in self.by_dtype:
            arrays = [p._array for p in parameters]
            gradients = [p._grad._array for p in parameters]  # type: ignore[union-attr]
            _core.optimizer_step(
                optimizer._rule, arrays, gradients, steps, numbers, states, self._numbers, loss
            )
        for p in self.active:
            bump(p)
