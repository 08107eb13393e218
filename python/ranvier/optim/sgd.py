"""SGD and Lion: steps with a momentum; ASGD, which averages the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor
from ranvier.optim.optimizer import Group, Optimizer, arguments


class SGD(Optimizer):
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

    name = rule = "sgd"
    at_least_0 = ("lr", "momentum", "weight_decay")
    optional = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def check(self, group: Group) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"[{self.name}] got nesterov with momentum {group['momentum']} and dampening "
                f"{group['dampening']}; expected momentum above 0 and dampening 0"
            )

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["momentum"], group["dampening"], group["weight_decay"]

    def state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("momentum_buffer" if group["momentum"] != 0 else None,)


class Lion(Optimizer):
    """Steps of equal size along the sign of a running mean of gradients; half of Adam's memory.

    c = beta1 m + (1 - beta1) g; p -= lr (sign(c) + weight_decay p); m = beta2 m + (1 - beta2) g.

    Its steps are larger than Adam's at the same lr: use an lr 3 to 10 times smaller, and a weight decay 3 to
    10 times larger.
    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), algorithm 2.

    >>> import ranvier as rv
    >>> p = rv.tensor([1.0], requires_grad=True)
    >>> optimizer = rv.optim.Lion([p], lr=0.1)
    >>> (p * p).backward(); optimizer.step()
    >>> round(p.item(), 4)
    0.9
    """

    name = rule = "lion"
    at_least_0 = ("lr", "weight_decay")
    states = ("exp_avg",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], *group["betas"], group["weight_decay"]


class ASGD(Optimizer):
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

    name = rule = "asgd"
    at_least_0 = ("lr", "weight_decay")
    states, optional, product_name = ("ax",), ("mu",), "eta"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def settings(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["lambd"], group["alpha"], group["t0"], group["weight_decay"]

    def state_dict(self) -> dict[str, Any]:
        """As every optimizer's; with PyTorch's ``mu``, the weight of the next average."""
        saved = super().state_dict()
        for group in saved["param_groups"]:
            for state in filter(None, map(saved["state"].get, group["params"])):
                state["mu"] = np.array(1 / max(1, state["step"] - group["t0"]))
        return saved

    def load_state(self, p: Tensor, values: Mapping[str, Any]) -> dict[str, Any]:
        """A parameter's state; ``mu`` follows from the number of the step."""
        return super().load_state(p, {k: v for k, v in values.items() if k != "mu"})
