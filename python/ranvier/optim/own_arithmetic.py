"""Steps of parameters whose class has arithmetic in place of its own, such as points of a Lie group.

PyTorch's optimizers change a parameter by its methods ``mul_`` (weight decay that is no part of the gradient)
and then ``add_``, ``addcdiv_`` or ``addcmul_``, so that a subclass of Tensor decides what a step does. Here a
step is a kernel that writes into the parameter's memory. For a parameter of such a class the kernel computes
the step on zeros instead, and the class's method adds it.
"""

from __future__ import annotations

import numpy as np

from ranvier.grad_mode import no_grad
from ranvier.observe import refuse
from ranvier.ops.making.creation import ones_like, zeros_like
from ranvier.optim.optimizer_state import Group, Plan, RuleLike, State, plain
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor, wrap

# The method by which PyTorch's rules change a parameter; `addcdiv_` where a rule is not listed.
_METHOD = {"sgd": "add_", "radam": "add_", "adadelta": "add_", "rprop": "addcmul_"}


def step(optimizer: RuleLike, group: Group, p: Tensor) -> None:
    """One step of a parameter, by the methods of its class."""
    rule = optimizer._rule
    if rule == "asgd":  # Its average is computed from the parameter's elements, by the kernel.
        raise OpError(
            f"[asgd] got a parameter of class {type(p).__name__}, which has its own add_; expected another "
            "optimizer, such as SGD: the average is one of the elements"
        )
    refuse(f"an optimizer calls methods of {type(p).__name__}", "the class decides what a step does")
    decay = plain(group.get("weight_decay", 0.0))
    is_decoupled = bool(group.get("decoupled_weight_decay"))
    with no_grad():
        gradient = wrap(p.grad._array)  # type: ignore[union-attr]
        if plain(group.get("maximize", False)):
            gradient = -gradient
        if decay and not is_decoupled:
            gradient = gradient + wrap(p._array) * decay
        change = zeros_like(wrap(p._array))
        change.grad = gradient
        # A group in which the zeros are the only parameter. The decay and the sign are in the gradient
        # already.
        group_of_change = {**group, "params": [change]}
        for name, without_effect in (("weight_decay", 0.0), ("maximize", False)):
            if name in group:
                group_of_change[name] = without_effect
        optimizer.state[change] = optimizer.state[p]
        try:
            plan = Plan(optimizer, group_of_change, [change])
            plan.refresh(optimizer, group_of_change)
            plan.run(optimizer, group_of_change)
        finally:
            del optimizer.state[change]
        loss = optimizer._finite
        if loss is not None and not np.isfinite(loss._array).all():
            return
        if decay and is_decoupled:
            p.mul_(1 - plain(group["lr"]) * decay)
        if group.get("momentum"):
            method = "add_"
        else:
            method = _METHOD.get(rule, "addcdiv_")
        changes: tuple[Tensor, ...] = (change,)
        if rule == "nadam":
            changes = _nadam_changes(group, optimizer.state[p], gradient, change)
        for summand in changes:
            if method == "add_":
                p.add_(summand)
            else:  # addcdiv_ and addcmul_ of ones
                getattr(p, method)(summand, ones_like(summand))


def _nadam_changes(group: Group, state: State, gradient: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """The step of NAdam as the two summands that PyTorch adds: that of the gradient, and that of its mean."""
    count = state["step"].item()
    beta1, beta2 = plain(tuple(group["betas"]))
    mu = beta1 * (1 - 0.5 * 0.96 ** (count * plain(group["momentum_decay"])))
    scale = plain(group["lr"]) * (1 - mu) / (1 - state["mu_product"].item())
    size = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt() + plain(group["eps"])
    first = -scale * gradient / size
    return first, change - first
