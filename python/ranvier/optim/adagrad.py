"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ranvier.optim.optimizer import Group, Optimizer, aligned_zeros, arguments


class Adagrad(Optimizer):
    """Gradient descent in which the step of each element shrinks with the sum of its squared gradients.

    s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps), where g = gradient + weight_decay p and s
    begins at initial_accumulator_value.

    maximize: ascend instead. Raises ValueError for settings out of range.
    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization" (2011).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adagrad([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "adagrad"
    at_least_0 = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    states = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["lr_decay"], group["eps"], group["weight_decay"]

    def add_param_group(self, group: Group) -> None:
        """Adds parameters and creates their sums at once, as in PyTorch."""
        super().add_param_group(group)
        added = self.param_groups[-1]
        for p in added["params"]:
            total = aligned_zeros(p.shape, p.dtype)
            total += added["initial_accumulator_value"]
            self.state[p] = {"step": np.array(0.0), "sum": total}
