"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Group, Optimizer, check_betas, check_range


class RAdam(Optimizer):
    """Adam that divides by the root mean square only once its variance is known well enough.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; R = 2 / (1 - beta2) - 1;
    r = R - 2 t beta2^t / (1 - beta2^t);
    if r > 5, p -= lr c m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    c = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), else p -= lr m / (1 - beta1^t),
    where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead. maximize: climb instead.
    Raises ValueError for settings out of range.
    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.RAdam([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.8
    """

    name = rule = "radam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
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
        return "exp_avg", "exp_avg_sq"
