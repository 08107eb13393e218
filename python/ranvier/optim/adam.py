"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ranvier.optim.optimizer import Group, Optimizer, arguments


class Moments(Optimizer):
    """Base of the optimizers with two moments, whose rules take lr, both betas, eps and weight_decay."""

    at_least_0: ClassVar[tuple[str, ...]] = ("lr", "eps", "weight_decay")
    states: ClassVar[tuple[str | None, ...]] = ("exp_avg", "exp_avg_sq")

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], *group["betas"], group["eps"], group["weight_decay"]


class Adam(Moments):
    """Updates by running means of the gradient and of its square, corrected for their start at zero.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps), where g = gradient + weight_decay p.

    amsgrad: the update uses the largest v of all steps. decoupled_weight_decay: as in AdamW. maximize: the
    gradient's sign is reversed. PyTorch's foreach, fused, capturable and differentiable have no effect.
    Raises ValueError where a setting is out of range, TypeError for an unknown one.
    Sources: Kingma and Ba, "Adam" (2015); Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond"
    (2018).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adam([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "adam"
    optional = ("max_exp_avg_sq",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None


class AdamW(Adam):
    """Adam with weight decay that is not part of the gradient: p is first multiplied by 1 - lr weight_decay.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.AdamW([p], lr=0.1, weight_decay=0.5)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.85
    """

    name = "adamw"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, **arguments(locals()), decoupled_weight_decay=True, **ignored)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Loads settings and state, also those of Adam; the weight decay stays decoupled."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
