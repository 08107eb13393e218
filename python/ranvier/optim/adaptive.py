"""Adadelta, Adagrad, RMSprop and Rprop: the step of each element depends on its earlier gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ranvier.autograd.creation import from_numpy
from ranvier.optim.optimizer import Group, Optimizer, arguments
from ranvier.optim.state import aligned_zeros


class Adadelta(Optimizer):
    """Steps of the running size of earlier steps divided by that of the gradients, so that lr has no unit.

    s = rho s + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(s + eps) g; a = rho a + (1 - rho) d^2; p -= lr d,
    where g = gradient + weight_decay p.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).
    """

    _example = "eps=1e-2", 0.6877
    _name = _rule = "adadelta"
    _states, _limits = ("square_avg", "acc_delta"), {"rho": (0, 1)}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)


class Adagrad(Optimizer):
    """Gradient descent in which the step of each element shrinks with the sum of its squared gradients.

    s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps), where g = gradient + weight_decay p and s
    begins at initial_accumulator_value.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization" (2011).
    """

    _example = "lr=0.1", 0.9
    _name = _rule = "adagrad"
    _states = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def add_param_group(self, param_group: Group) -> None:
        """Adds parameters and creates their sums at once, as in PyTorch."""
        super().add_param_group(param_group)
        added = self.param_groups[-1]
        for p in added["params"]:
            total = aligned_zeros(p._array.shape, p._array.dtype)
            total += added["initial_accumulator_value"]
            self.state[p] = {"step": from_numpy(np.array(0.0)), "sum": from_numpy(total)}


class RMSprop(Optimizer):
    """Gradient descent in which the step of each element is divided by its root mean square gradient.

    s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps). With momentum, b = momentum b + g / (sqrt(s) +
    eps) and p -= lr b. centered: the square of the mean gradient is subtracted from s.

    Sources: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012); centered:
    Graves, "Generating Sequences With Recurrent Neural Networks" (2013).
    """

    _example = "lr=0.01", 0.9
    _name = _rule = "rmsprop"
    _states, _optional = ("square_avg",), {"momentum_buffer": "momentum", "grad_avg": "centered"}

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


class Rprop(Optimizer):
    """Steps against the sign of each element's gradient, of a size that grows while the sign stays.

    With s = g g', g' the gradient of the step before: size *= etas[1] where s > 0, etas[0] where s < 0,
    within step_sizes; g = 0 where s < 0; p -= size sign(g). lr is the first size. For full batches: noise
    changes signs.

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
    algorithm" (1993), in PyTorch's form, without the steps back.
    """

    _example = "lr=0.1", 0.9
    _name = _rule = "rprop"
    _states = ("prev", "step_size")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **ignored: Any,
    ) -> None:
        super().__init__(params, arguments(locals()), ignored)

    def _check(self, group: Group) -> None:
        super()._check(group)
        etas, sizes = group["etas"], group["step_sizes"]
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"[{self._name}] got etas {etas}; expected two numbers, 0 < first < 1 < second")
        if not 0 <= sizes[0] <= sizes[1]:
            raise ValueError(
                f"[{self._name}] got step_sizes {sizes}; expected least and most, 0 <= least <= most"
            )
