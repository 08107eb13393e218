"""The optimizers whose rules are in the core. Each class has the settings of its row in
`cpp/kernels/optimizer/rules.h`.

SGD and ASGD; Adam and its variants AdamW, Adamax, NAdam and RAdam; Adadelta, Adagrad, RMSprop and Rprop,
whose step for each element depends on its earlier gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ranvier.ops.making.creation import from_numpy
from ranvier.optim.optimizer import ANY, Group, Params, Rule, settings_of
from ranvier.optim.optimizer_state import aligned_zeros
from ranvier.tensors.tensor import wrap


class SGD(Rule):
    """Stochastic gradient descent, plain, with momentum or with Nesterov's momentum.

    g = gradient + weight_decay p; v = momentum v + (1 - dampening) g (v = g in the first step);
    p -= lr v, with nesterov p -= lr (g + momentum v), without momentum p -= lr g.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in
    PyTorch's form.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.SGD([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.8
    """

    _name = _rule = "sgd"
    _optional: ClassVar[Mapping[str, str]] = {"momentum_buffer": "momentum"}
    _limits: ClassVar[Mapping[str, tuple[float, float]]] = {"dampening": ANY}
    _counts = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"[{self._name}] got nesterov with momentum {group['momentum']} and dampening "
                f"{group['dampening']}; expected momentum above 0 and dampening 0"
            )


class ASGD(Rule):
    """Stochastic gradient descent with a falling rate, and ``state[p]["ax"]``, the mean of the parameters.

    In step t = 1 ...: g = gradient + weight_decay p; p -= eta (lambd p + g), eta = lr in the first step;
    ax += (p - ax) / max(1, t - 1 - t0); then eta = lr / (1 + lambd lr t)^alpha.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), in PyTorch's
    form.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.ASGD([p], lr=0.1, t0=0)
    >>> for _ in range(9):
    ...     optimizer.zero_grad(); (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4), round(optimizer.state[p]["ax"].item(), 4)
    (0.1342, 0.3329)
    """

    _name = _rule = "asgd"
    _states = ("ax",)
    _limits = dict.fromkeys(("lambd", "alpha", "t0"), ANY)
    _number = "eta"
    _derived = ("mu",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)

    def state_dict(self) -> dict[str, Any]:
        """As for every optimizer, and with PyTorch's ``mu``, the weight of the next average."""
        saved = super().state_dict()
        for group in saved["param_groups"]:
            for index in group["params"]:
                state = saved["state"].get(index)
                if state:
                    averaged_steps = max(1.0, state["step"].item() - float(group["t0"]))
                    state["mu"] = wrap(np.array(1 / averaged_steps))
        return saved


class Adam(Rule):
    """Updates from running means of the gradient and of its square, corrected for their start at zero.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps), where g = gradient + weight_decay p.

    amsgrad: the update uses the largest v of all steps. decoupled_weight_decay: as in AdamW. maximize: the
    gradient's sign is reversed. PyTorch's foreach, fused, capturable and differentiable have no effect.
    Raises ValueError if a setting is out of range, TypeError for an unknown setting.
    Sources: Kingma and Ba, "Adam" (2015); Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond"
    (2018).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adam([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    _name = _rule = "adam"
    _states = ("exp_avg", "exp_avg_sq")
    _optional: ClassVar[Mapping[str, str]] = {"max_exp_avg_sq": "amsgrad"}

    def __init__(
        self,
        params: Params,
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
        super().__init__(params, settings_of(locals()), ignored)


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

    _name = "adamw"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, **settings_of(locals()), decoupled_weight_decay=True, **ignored)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Keeps the weight decay decoupled, even if the state is from Adam."""
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class Adamax(Rule):
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

    _name = _rule = "adamax"
    _states = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)


class NAdam(Rule):
    """Adam with Nesterov's momentum, which rises slowly to beta1.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); with M_t the product of all mu up to t and
    d = sqrt(v / (1 - beta2^t)) + eps:
    p -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / d, where g = gradient + weight_decay p.

    decoupled_weight_decay: g = gradient, and instead p is first multiplied by 1 - lr weight_decay.
    Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.NAdam([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.8944
    """

    _name = _rule = "nadam"
    _states = ("exp_avg", "exp_avg_sq")
    _number = "mu_product"

    def __init__(
        self,
        params: Params,
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
        super().__init__(params, settings_of(locals()), ignored)


class RAdam(Rule):
    """Adam that divides by the root mean square only when its variance is small enough.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; R = 2 / (1 - beta2) - 1;
    r = R - 2 t beta2^t / (1 - beta2^t);
    if r > 5, p -= lr c m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    c = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), else p -= lr m / (1 - beta1^t),
    where g = gradient + weight_decay p.

    decoupled_weight_decay: g = gradient, and instead p is first multiplied by 1 - lr weight_decay.
    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.RAdam([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.8
    """

    _name = _rule = "radam"
    _states = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)


class Adadelta(Rule):
    """The size of a step is the running size of earlier steps divided by the running size of the gradients.
    So lr needs no unit.

    s = rho s + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(s + eps) g; a = rho a + (1 - rho) d^2; p -= lr d,
    where g = gradient + weight_decay p.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adadelta([p], eps=1e-2)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.6877
    """

    _name = _rule = "adadelta"
    _states = ("square_avg", "acc_delta")
    _limits: ClassVar[Mapping[str, tuple[float, float]]] = {"rho": (0, 1)}

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)


class Adagrad(Rule):
    """Gradient descent in which the step of each element shrinks with the sum of its squared gradients.

    s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps), where g = gradient + weight_decay p and s
    begins at initial_accumulator_value.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization" (2011).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Adagrad([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    _name = _rule = "adagrad"
    _states = ("sum",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)

    def add_param_group(self, param_group: Group) -> None:
        """Adds parameters and creates their sums immediately, as in PyTorch."""
        super().add_param_group(param_group)
        added = self.param_groups[-1]
        for p in added["params"]:
            total = aligned_zeros(p._array.shape, p._array.dtype)
            total += float(added["initial_accumulator_value"])
            self.state[p] = {"step": from_numpy(np.array(0.0)), "sum": from_numpy(total)}


class RMSprop(Rule):
    """Gradient descent in which the step of each element is divided by the root mean square of its gradient.

    s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps). With momentum, b = momentum b + g / (sqrt(s) +
    eps) and p -= lr b. centered: the square of the mean gradient is subtracted from s.

    Sources: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012); centered:
    Graves, "Generating Sequences With Recurrent Neural Networks" (2013).

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.RMSprop([p], lr=0.01)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    _name = _rule = "rmsprop"
    _states = ("square_avg",)
    _optional: ClassVar[Mapping[str, str]] = {"momentum_buffer": "momentum", "grad_avg": "centered"}

    def __init__(
        self,
        params: Params,
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
        super().__init__(params, settings_of(locals()), ignored)


class Rprop(Rule):
    """Steps against the sign of each element's gradient. The size of the steps grows while the sign stays.

    With s = g g', where g' is the gradient of the step before: size *= etas[1] if s > 0, size *= etas[0] if
    s < 0, clipped to step_sizes; g = 0 if s < 0; p -= size sign(g). lr is the first size. Use it with full
    batches, since noise would change signs.

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
    algorithm" (1993), in PyTorch's form, without the steps back.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Rprop([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    _name = _rule = "rprop"
    _states = ("prev", "step_size")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, settings_of(locals()), ignored)

    def _check(self, group: Group) -> None:
        super()._check(group)
        etas = group["etas"]
        sizes = group["step_sizes"]
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"[{self._name}] got etas {etas}; expected two numbers, 0 < first < 1 < second")
        if not 0 <= sizes[0] <= sizes[1]:
            raise ValueError(
                f"[{self._name}] got step_sizes {sizes}; expected least and most, 0 <= least <= most"
            )
