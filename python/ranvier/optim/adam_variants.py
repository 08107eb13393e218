"""Adamax, NAdam and RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.adam import Moments
from ranvier.optim.optimizer import Group, arguments


class Adamax(Moments):
    """Adam with an exponentially decaying maximum of the gradients in place of their root mean square.

    m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t) m / u,
    where g = gradient + weight_decay p.

    Source: Kingma and Ba, "Adam" (2015), section 7.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adamax([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "adamax"
    states = ("exp_avg", "exp_inf")

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
        super().__init__(params, arguments(locals()), ignored)


class NAdam(Moments):
    """Adam with Nesterov's momentum, which rises slowly to beta1.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); with M_t the product of all mu up to t and
    d = sqrt(v / (1 - beta2^t)) + eps:
    p -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / d, where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead.
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


class RAdam(Moments):
    """Adam that divides by the root mean square only when its variance is small enough.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; R = 2 / (1 - beta2) - 1;
    r = R - 2 t beta2^t / (1 - beta2^t);
    if r > 5, p -= lr c m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    c = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), else p -= lr m / (1 - beta1^t),
    where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead.
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
        super().__init__(params, arguments(locals()), ignored)
