"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Group, Optimizer, arguments


class RMSprop(Optimizer):
    """Gradient descent in which the step of each element is divided by its root mean square gradient.

    s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps). With momentum, b = momentum b + g / (sqrt(s) +
    eps) and p -= lr b. centered: the square of the mean gradient is subtracted from s.

    maximize: ascend instead. Raises ValueError for settings out of range.
    Sources: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012); centered:
    Graves, "Generating Sequences With Recurrent Neural Networks" (2013).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.RMSprop([p], lr=0.01)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "rmsprop"
    at_least_0 = ("lr", "eps", "momentum", "weight_decay", "alpha")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["alpha"], group["eps"], group["momentum"], group["weight_decay"]

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        momentum = "momentum_buffer" if group["momentum"] > 0 else None
        return "square_avg", momentum, "grad_avg" if group["centered"] else None
