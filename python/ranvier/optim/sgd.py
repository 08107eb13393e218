"""SGD: steps with a momentum; ASGD averages the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.tensor import wrap
from ranvier.optim.optimizer import ANY, Group, Rule


class SGD(Rule):
    """Stochastic gradient descent, plain, with momentum or with Nesterov's momentum.

    g = gradient + weight_decay p; v = momentum v + (1 - dampening) g (v = g in the first step);
    p -= lr v, with nesterov p -= lr (g + momentum v), without momentum p -= lr g.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in
    PyTorch's form.
    """

    _example = "lr=0.1", 0.8
    _name = _rule = "sgd"
    _optional, _limits = {"momentum_buffer": "momentum"}, {"dampening": ANY}
    _counts = False

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

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
    _states, _limits = ("ax",), dict.fromkeys(("lambd", "alpha", "t0"), ANY)
    _number, _derived = "eta", ("mu",)

    lr: float = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """As every optimizer's; with PyTorch's ``mu``, the weight of the next average."""
        saved = super().state_dict()
        for group in saved["param_groups"]:
            for state in filter(None, map(saved["state"].get, group["params"])):
                state["mu"] = wrap(np.array(1 / max(1.0, state["step"].item() - group["t0"])))
        return saved
