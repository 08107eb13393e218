"""JAX's side of the cases, compiled with ``jax.jit``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.training.by_hand import BETA1, BETA2, EPS, NORM_EPS
from benchmarks.training.models import Predictions, Timed
from benchmarks.training.networks import (
    CHECKED_STEPS,
    LR,
    MOMENTUM,
    NETWORKS,
    Network,
    conv_sizes,
    parameters,
)

if os.environ["RANVIER_PEER_THREADS"] == "1":  # XLA takes its number of threads from the CPUs it may use
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
from jax import numpy as jnp


def version() -> str:
    return str(jax.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


def compiled(function: Callable[..., Any], *arrays: np.ndarray) -> Callable[[], Any]:
    """A call of the jitted function on arrays that XLA holds; it returns when the answer is there."""
    jitted = jax.jit(function)
    held = [jnp.asarray(a) for a in arrays]
    return lambda: jax.block_until_ready(jitted(*held))


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return compiled(lambda x, y: x @ y, a, b)


def conv2d(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, stride: int, padding: int, groups: int
) -> Callable[[], Any]:
    def convolve(x: Any, w: Any, b: Any) -> Any:
        pads = [(padding, padding)] * 2
        y = jax.lax.conv_general_dilated(x, w, (stride, stride), pads, feature_group_count=groups)
        return y + b[:, None, None]

    return compiled(convolve, x, w, bias)


def _logits(network: Network, p: Sequence[Any], x: Any, key: Any = None) -> Any:
    """With a key in training: batch norm by the batch's statistics, dropout by the key's numbers."""
    weights = iter(zip(p[::2], p[1::2], strict=True))
    for i, layer in enumerate(network.layers):
        kind = layer[0]
        if kind == "linear":
            w, b = next(weights)
            x = x @ w.T + b
        elif kind == "conv":
            w, b = next(weights)
            padding = (conv_sizes(layer)[3],) * 2
            x = jax.lax.conv_general_dilated(x, w, (1, 1), (padding, padding)) + b[:, None, None]
        elif kind == "norm":  # the running averages, which the other libraries keep too, are left out
            w, b = next(weights)
            mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
            x = (x - mean) * (w[:, None, None] * jax.lax.rsqrt(variance + NORM_EPS)) + b[:, None, None]
        elif kind == "dropout":
            keep = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - layer[1], x.shape)
            x = jnp.where(keep, x / (1 - layer[1]), 0)
        elif kind in ("relu", "tanh"):
            x = jax.nn.relu(x) if kind == "relu" else jnp.tanh(x)
        elif kind == "pool":
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        else:
            x = x.reshape(len(x), -1)
    return x


def _loss(network: Network, p: Sequence[Any], x: Any, y: Any, key: Any) -> Any:
    z = _logits(network, p, x, key)
    if network.loss == "binary":
        return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean()
    if network.loss == "squares":
        return jnp.square(z - y).mean()
    return -jax.nn.log_softmax(z)[jnp.arange(len(z)), y].mean()


def _sgd(p: list[Any], g: list[Any], m: list[Any]) -> tuple[list[Any], list[Any]]:
    m = [MOMENTUM * a + d for a, d in zip(m, g, strict=True)]
    return [a - LR * b for a, b in zip(p, m, strict=True)], m


def _adam(
    p: list[Any], g: list[Any], m: list[Any], v: list[Any], t: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    m = [a + (1 - BETA1) * (d - a) for a, d in zip(m, g, strict=True)]
    v = [a + (1 - BETA2) * (d * d - a) for a, d in zip(v, g, strict=True)]
    rate, scale = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
    return [a - rate * b / (jnp.sqrt(c) / scale + EPS) for a, b, c in zip(p, m, v, strict=True)], m, v


class _Steps:
    """One jitted step a call: value and gradient, then the update as in ``training/by_hand.py``."""

    def __init__(self, network: Network, arrays: dict[str, np.ndarray]) -> None:
        p = [jnp.asarray(a) for a in parameters(arrays)]
        moments = [[jnp.zeros_like(a) for a in p] for _ in range(2 if network.optimizer == "Adam" else 1)]
        self.state = (p, moments, jnp.float32(0))
        pairs = zip(arrays["x"], arrays["y"], strict=True)
        self.batches = cycle([(jnp.asarray(x), jnp.asarray(y)) for x, y in pairs])
        start = jax.random.key(0)

        def step(state: Any, x: Any, y: Any) -> Any:
            p, moments, t = state
            key = jax.random.fold_in(start, t.astype(jnp.int32))
            value, g = jax.value_and_grad(lambda q: _loss(network, q, x, y, key))(p)
            t = t + 1
            p, *moments = _adam(p, g, *moments, t) if len(moments) == 2 else _sgd(p, g, *moments)
            return value, (p, moments, t)

        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self) -> Any:
        value, self.state = self.step(self.state, *next(self.batches))
        return jax.block_until_ready(value)

    def losses(self) -> np.ndarray:
        return np.array([float(self()) for _ in range(CHECKED_STEPS)])


def train_step(network: str, **arrays: np.ndarray) -> Callable[[], Any]:
    return Timed(NETWORKS[network], lambda form: _Steps(form, arrays))


def inference(network: str, **arrays: np.ndarray) -> Callable[[], Any]:
    p = [jnp.asarray(a) for a in parameters(arrays)]
    predict = jax.jit(lambda p, x: _logits(NETWORKS[network], p, x))
    batches = [jnp.asarray(x) for x in arrays["x"]]
    return Predictions(lambda x: jax.block_until_ready(predict(p, x)), batches)


def small_matrices(function: str, **arrays: np.ndarray) -> Callable[[], Any]:
    jax.config.update("jax_enable_x64", True)
    if function == "solve_triangular":
        solve = jax.vmap(lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True))
        return compiled(solve, *arrays.values())
    call = compiled(getattr(jnp.linalg, function), *arrays.values())
    if function == "eigh":
        return lambda: call()[0]
    if function == "qr":
        return lambda: call()[1]
    return call
