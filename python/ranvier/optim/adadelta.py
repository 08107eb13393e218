"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Group, Optimizer, arguments


class Adadelta(Optimizer):
    """Steps of the running size of earlier steps divided by that of the gradients, so that lr has no unit.

    s = rho s + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(s + eps) g; a = rho a + (1 - rho) d^2; p -= lr d,
    where g = gradient + weight_decay p.

    maximize: ascend instead. Raises ValueError for settings out of range.
    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adadelta([p], eps=1e-2)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.6877
    """

    name = rule = "adadelta"
    at_least_0 = ("lr", "eps", "weight_decay")
    states = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def check(self, group: Group) -> None:
        super().check(group)
        if not 0 <= group["rho"] <= 1:
            raise ValueError(f"[{self.name}] got rho {group['rho']}; expected 0 <= rho <= 1")

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["rho"], group["eps"], group["weight_decay"]
