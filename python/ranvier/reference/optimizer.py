"""Update rules in plain NumPy: one step for one parameter.

Each takes the parameter p, its gradient g, the state (a dict of arrays, empty before the first step, changed
here) and the rule's settings, and returns the new p.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
State = dict[str, Any]


def sgd(
    p: Array,
    g: Array,
    state: State,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Array:
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        first = "momentum_buffer" not in state
        v = g if first else momentum * state["momentum_buffer"] + (1 - dampening) * g
        state["momentum_buffer"] = v
        g = g + momentum * v if nesterov else v
    return p - lr * g


def rmsprop(
    p: Array,
    g: Array,
    state: State,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> Array:
    g = (-g if maximize else g) + weight_decay * p
    variance = state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * g**2
    if centered:
        state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
        variance = variance - state["grad_avg"] ** 2
    direction = g / (np.sqrt(variance) + eps)
    if momentum:
        direction = state["momentum_buffer"] = momentum * state.get("momentum_buffer", 0.0) + direction
    return p - lr * direction


def adam(
    p: Array,
    g: Array,
    state: State,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled: bool = False,
) -> Array:
    beta1, beta2 = betas
    g = -g if maximize else g
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    if amsgrad:
        v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
    return p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def adamw(p: Array, g: Array, state: State, lr: float, weight_decay: float = 1e-2, **settings: Any) -> Array:
    return adam(p, g, state, lr, weight_decay=weight_decay, decoupled=True, **settings)


def gradient_norm(gradients: list[Array], norm_type: float = 2.0) -> float:
    """The norm of all gradients as one long vector."""
    flat = np.concatenate([np.abs(g).astype(np.float64).reshape(-1) for g in gradients])
    if np.isinf(norm_type):
        return float(flat.max(initial=0.0))
    return float((flat**norm_type).sum() ** (1 / norm_type))


def clip_by_norm(gradients: list[Array], max_norm: float, norm_type: float = 2.0) -> list[Array]:
    scale = min(1.0, max_norm / (gradient_norm(gradients, norm_type) + 1e-6))
    return [g * scale for g in gradients]
