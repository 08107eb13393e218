"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Group, Optimizer, check_betas, check_range


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which rises slowly towards beta1.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); with M_t the product of all mu up to t and
    d = sqrt(v / (1 - beta2^t)) + eps:
    p -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / d, where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead. maximize: climb instead.
    Raises ValueError for settings out of range.
    Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.NAdam([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.8944
    """

    name = rule = "nadam"
    product_name = "mu_product"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, ignored)

    def check(self, group: Group) -> None:
        for key in ("lr", "eps", "weight_decay", "momentum_decay"):
            check_range(self.name, group, key)
        check_betas(self.name, group)

    def settings(self, group: Group) -> tuple[float, ...]:
        return (
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
            group["momentum_decay"],
        )

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"
