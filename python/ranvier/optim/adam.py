"""Adam and its variants: AdamW, Adamax, NAdam, RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.optim.optimizer import Optimizer, arguments


class Adam(Optimizer):
    """Updates by running means of the gradient and of its square, corrected for their start at zero.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps), where g = gradient + weight_decay p.

    amsgrad: the update uses the largest v of all steps. decoupled_weight_decay: as in AdamW. maximize: the
    gradient's sign is reversed. PyTorch's foreach, fused, capturable and differentiable have no effect.
    Raises ValueError where a setting is out of range, TypeError for an unknown one.
    Sources: Kingma and Ba, "Adam" (2015); Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond"
    (2018).
    """

    _example = "lr=0.1", 0.9
    _name = _rule = "adam"
    _states, _optional = ("exp_avg", "exp_avg_sq"), {"max_exp_avg_sq": "amsgrad"}

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


class AdamW(Adam):
    """Adam with weight decay that is not part of the gradient: p is first multiplied by 1 - lr weight_decay.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
    """

    _example = "lr=0.1, weight_decay=0.5", 0.85
    _name = "adamw"

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The weight decay stays decoupled, also with a state of Adam."""
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class Adamax(Optimizer):
    """Adam with an exponentially decaying maximum of the gradients in place of their root mean square.

    m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t) m / u,
    where g = gradient + weight_decay p.

    Source: Kingma and Ba, "Adam" (2015), section 7.
    """

    _example = "lr=0.1", 0.9
    _name = _rule = "adamax"
    _states = ("exp_avg", "exp_inf")

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


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which rises slowly to beta1.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); with M_t the product of all mu up to t and
    d = sqrt(v / (1 - beta2^t)) + eps:
    p -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / d, where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead.
    Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016).
    """

    _example = "lr=0.1", 0.8944
    _name = _rule = "nadam"
    _states, _number = ("exp_avg", "exp_avg_sq"), "mu_product"

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


class RAdam(Optimizer):
    """Adam that divides by the root mean square only when its variance is small enough.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; R = 2 / (1 - beta2) - 1;
    r = R - 2 t beta2^t / (1 - beta2^t);
    if r > 5, p -= lr c m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    c = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), else p -= lr m / (1 - beta1^t),
    where g = gradient + weight_decay p.

    decoupled_weight_decay: p is first multiplied by 1 - lr weight_decay instead.
    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020).
    """

    _example = "lr=0.1", 0.8
    _name = _rule = "radam"
    _states = ("exp_avg", "exp_avg_sq")

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
