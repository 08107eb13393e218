"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.adam import Moments
from ranvier.optim.optimizer import Group, arguments


class NAdam(Moments):
    """Adam with Nesterov's momentum, which rises slowly to beta1.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); with M_t the product of all mu up to t and
    d = sqrt(v / (1 - beta2^t)) + eps:
    p -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / d, where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead. maximize: ascend instead.
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
    at_least_0 = ("lr", "eps", "weight_decay", "momentum_decay")
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
        super().__init__(params, arguments(locals()), ignored)

    def settings(self, group: Group) -> tuple[float, ...]:
        lr, eps, decay = group["lr"], group["eps"], group["weight_decay"]
        return lr, *group["betas"], eps, decay, group["momentum_decay"]
