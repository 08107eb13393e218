"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.adam import Moments
from ranvier.optim.optimizer import arguments


class Adamax(Moments):
    """Adam with an exponentially decaying maximum of the gradients in place of their root mean square.

    m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t) m / u,
    where g = gradient + weight_decay p.

    maximize: ascend instead. Raises ValueError for settings out of range.
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
