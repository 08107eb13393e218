"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Group, Optimizer, check_betas, check_range


class Adamax(Optimizer):
    """Adam with the largest gradient, forgotten exponentially, in the place of the root mean square.

    m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t) m / u,
    where g = gradient + weight_decay p.

    maximize: climb instead. Raises ValueError for settings out of range.
    Source: Kingma and Ba, "Adam" (2015), section 7.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adamax([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "adamax"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, ignored)

    def check(self, group: Group) -> None:
        for key in ("lr", "eps", "weight_decay"):
            check_range(self.name, group, key)
        check_betas(self.name, group)

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], *group["betas"], group["eps"], group["weight_decay"]

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        return "exp_avg", "exp_inf"
