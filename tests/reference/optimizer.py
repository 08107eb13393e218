"""Update rules of `ranvier.optim` in plain NumPy: one step for one parameter.

Each takes the parameter p, its gradient g, the state (a dict of arrays, empty before the first step, changed
here) and the rule's settings, and returns the new p. A function has the name of its optimizer in lower case,
its settings and the keys of its state are PyTorch's.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
State = dict[str, Any]


def loss_gradient(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    """What the rule descends: g, or -g for a maximum, and weight_decay p, the gradient of the penalty."""
    if maximize:
        g = -g
    return g + weight_decay * p


def decayed(
    p: Array, g: Array, lr: float, weight_decay: float, decoupled: bool, maximize: bool
) -> tuple[Array, Array]:
    """p and g after the weight decay: it shrinks p itself if decoupled, else it is a part of g."""
    if maximize:
        g = -g
    if decoupled:
        return p - lr * weight_decay * p, g
    return p, g + weight_decay * p


def moments(g: Array, state: State, betas: tuple[float, float]) -> tuple[int, Array, Array]:
    """The number of the step, and the running means of g and of g^2."""
    beta1, beta2 = betas
    state["step"] = state.get("step", 0) + 1
    state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    return state["step"], state["exp_avg"], state["exp_avg_sq"]


def sgd(p, g, state, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    g = loss_gradient(p, g, weight_decay, maximize)
    if momentum:
        if "momentum_buffer" in state:
            v = momentum * state["momentum_buffer"] + (1 - dampening) * g
        else:
            v = g
        state["momentum_buffer"] = v
        g = g + momentum * v if nesterov else v
    return p - lr * g


def rmsprop(
    p, g, state, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False
):
    g = loss_gradient(p, g, weight_decay, maximize)
    variance = alpha * state.get("square_avg", 0.0) + (1 - alpha) * g**2
    state["square_avg"] = variance
    if centered:
        state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
        variance = variance - state["grad_avg"] ** 2
    direction = g / (np.sqrt(variance) + eps)
    if momentum:
        direction = momentum * state.get("momentum_buffer", 0.0) + direction
        state["momentum_buffer"] = direction
    return p - lr * direction


def adam(
    p,
    g,
    state,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    maximize=False,
    decoupled_weight_decay=False,
):
    beta1, beta2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay, maximize)
    t, m, v = moments(g, state, betas)
    if amsgrad:
        v = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
        state["max_exp_avg_sq"] = v
    mean = m / (1 - beta1**t)  # the running means begin at 0, which these divisors undo
    mean_of_squares = v / (1 - beta2**t)
    return p - lr * mean / (np.sqrt(mean_of_squares) + eps)


def adamw(p: Array, g: Array, state: State, lr: float, weight_decay: float = 1e-2, **settings: Any) -> Array:
    return adam(p, g, state, lr, weight_decay=weight_decay, decoupled_weight_decay=True, **settings)


def adagrad(
    p, g, state, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, maximize=False
):
    g = loss_gradient(p, g, weight_decay, maximize)
    t = state.get("step", 0) + 1
    state["step"] = t
    total = state.get("sum", initial_accumulator_value) + g**2
    state["sum"] = total
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(total) + eps)


def adadelta(p, g, state, lr, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    g = loss_gradient(p, g, weight_decay, maximize)
    square = rho * state.get("square_avg", 0.0) + (1 - rho) * g**2
    state["square_avg"] = square
    delta = np.sqrt(state.get("acc_delta", 0.0) + eps) / np.sqrt(square + eps) * g
    state["acc_delta"] = rho * state.get("acc_delta", 0.0) + (1 - rho) * delta**2
    return p - lr * delta


def adamax(p, g, state, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False):
    beta1, beta2 = betas
    g = loss_gradient(p, g, weight_decay, maximize)
    t = state.get("step", 0) + 1
    state["step"] = t
    m = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    state["exp_avg"] = m
    largest = np.maximum(beta2 * state.get("exp_inf", 0.0), np.abs(g) + eps)
    state["exp_inf"] = largest
    return p - lr / (1 - beta1**t) * m / largest


def nadam(
    p,
    g,
    state,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
    maximize=False,
):
    beta1, beta2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay, maximize)
    t, m, v = moments(g, state, betas)
    now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))  # the momentum of this step
    following = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product = state.get("mu_product", 1.0) * now
    state["mu_product"] = product
    ahead = (1 - now) / (1 - product) * g + following / (1 - product * following) * m
    return p - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps)


def radam(
    p,
    g,
    state,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    maximize=False,
):
    beta1, beta2 = betas
    p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay, maximize)
    t, m, v = moments(g, state, betas)
    step_size = lr / (1 - beta1**t)
    limit = 2 / (1 - beta2) - 1  # how many squares the running mean has in the end
    length = limit - 2 * t * beta2**t / (1 - beta2**t)  # and how many it has now
    if length <= 5:  # too few for their mean to be a divisor
        return p - step_size * m
    variance = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    return p - step_size * (variance * (1 - beta2**t)) ** 0.5 * m / (np.sqrt(v) + eps)


def rprop(p, g, state, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), maximize=False):
    """Every element has its own step, of which only the length follows the signs of its gradients."""
    if maximize:
        g = -g
    t = state.get("step", 0) + 1
    state["step"] = t
    if t == 1:
        previous = 0.0 * p
        size = 0.0 * p + lr
    else:
        previous = state["prev"]
        size = state["step_size"]
    turn = np.nan_to_num(np.sign(g * previous))
    back = np.maximum(-turn, 0.0)  # 1 where the sign has changed: a shorter step
    on = np.maximum(turn, 0.0)  # 1 where it is the same: a longer step
    size = size * (1 + on * (etas[1] - 1) + back * (etas[0] - 1))
    size = np.minimum(np.maximum(size, step_sizes[0]), step_sizes[1])
    state["step_size"] = size
    g = g * (1 - back)
    state["prev"] = g
    return p - np.nan_to_num(np.sign(g)) * size  # of NaN: 0


def asgd(p, g, state, lr, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0, maximize=False):
    g = loss_gradient(p, g, weight_decay, maximize)
    t = state.get("step", 0) + 1
    state["step"] = t
    if t == 1:
        eta = lr
        mean = 0.0 * p
    else:
        eta = state["eta"]
        mean = state["ax"]
    p = (1 - lambd * eta) * p - eta * g
    state["ax"] = mean + 1 / max(1, t - 1 - t0) * (p - mean)
    state["eta"] = lr / (1 + lambd * lr * t) ** alpha
    return p


def lbfgs_direction(g: Array, changes: list[Array], steps: list[Array]) -> Array:
    """-H g from the changes y of the gradient and the steps s that brought them, the oldest first.

    H approximates the inverse of the matrix of second derivatives; the two loops apply it without storing it
    (Nocedal and Wright, Numerical Optimization, algorithm 7.4).
    """
    d = -g
    alphas = []
    for y, s in zip(reversed(changes), reversed(steps), strict=True):
        alphas.append(s @ d / (y @ s))
        d = d - alphas[-1] * y
    if changes:
        d = d * (changes[-1] @ steps[-1]) / (changes[-1] @ changes[-1])
    for y, s in zip(changes, steps, strict=True):
        d = d + (alphas.pop() - y @ d / (y @ s)) * s
    return d


def move_towards(average: Array, value: Array, weight: float) -> Array:
    return average + weight * (value - average)


def gradient_norm(gradients: list[Array], norm_type: float = 2.0) -> float:
    """The norm of all gradients as one long vector."""
    flat = np.concatenate([np.abs(g).astype(np.float64).reshape(-1) for g in gradients])
    if np.isinf(norm_type):
        return float(flat.max(initial=0.0))
    return float((flat**norm_type).sum() ** (1 / norm_type))


def clip_by_norm(gradients: list[Array], max_norm: float, norm_type: float = 2.0) -> list[Array]:
    scale = min(1.0, max_norm / (gradient_norm(gradients, norm_type) + 1e-6))
    return [g * scale for g in gradients]


# Penalties on the weights: the sum of their magnitudes (L1) and of their squares (L2), times a strength.


def weight_penalty(p: Array, l1: float, l2: float) -> float:
    """l1 sum |p| + l2 sum p^2, as Keras's L1L2."""
    p = p.astype(np.float64)
    return float(l1 * np.abs(p).sum() + l2 * (p**2).sum())


def weight_penalty_backward(p: Array, l1: float, l2: float) -> Array:
    """Its gradient, with 0 as the slope of |p| at 0."""
    return l1 * np.sign(p) + 2 * l2 * p
