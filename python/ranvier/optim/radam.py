"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.adam import Moments
from ranvier.optim.optimizer import arguments


class RAdam(Moments):
    """Adam that divides by the root mean square only when its variance is small enough.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; R = 2 / (1 - beta2) - 1;
    r = R - 2 t beta2^t / (1 - beta2^t);
    if r > 5, p -= lr c m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    c = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), else p -= lr m / (1 - beta1^t),
    where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead. maximize: ascend instead.
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
        super().__init__(params, arguments(locals()), ignored)
