"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Group, Optimizer, check_betas, check_range


class Lion(Optimizer):
    """Steps of one size along the sign of a running mean of gradients: half of Adam's memory.

    c = beta1 m + (1 - beta1) g; p -= lr (sign(c) + weight_decay p); m = beta2 m + (1 - beta2) g.

    Its steps are larger than Adam's at the same lr: take 3 to 10 times less, and as much more weight decay.
    maximize: climb instead. Raises ValueError for settings out of range.
    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), algorithm 2.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Lion([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "lion"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, ignored)

    def check(self, group: Group) -> None:
        for key in ("lr", "weight_decay"):
            check_range(self.name, group, key)
        check_betas(self.name, group)

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], *group["betas"], group["weight_decay"]

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("exp_avg",)
