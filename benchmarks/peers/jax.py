"""JAX's side of the cases, compiled with ``jax.jit``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.training.by_hand import BETA1, BETA2, EPS
from benchmarks.training.networks import CHECKED_STEPS, LR, NETWORKS, Network, parameters

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


def _logits(network: Network, p: Sequence[Any], x: Any) -> Any:
    weights = iter(zip(p[::2], p[1::2], strict=True))
    for kind, *_ in network.layers:
        if kind == "linear":
            w, b = next(weights)
            x = x @ w.T + b
        elif kind == "conv":
            w, b = next(weights)
            x = jax.lax.conv(x, w, (1, 1), "VALID") + b[:, None, None]
        elif kind == "relu":
            x = jax.nn.relu(x)
        elif kind == "pool":
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        else:
            x = x.reshape(len(x), -1)
    return x


def _loss(network: Network, p: Sequence[Any], x: Any, y: Any) -> Any:
    z = _logits(network, p, x)
    if network.binary:
        return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean()
    return -jax.nn.log_softmax(z)[jnp.arange(len(z)), y].mean()


class _Steps:
    """One jitted step a call: value and gradient, then Adam as in ``training/by_hand.py``."""

    def __init__(self, network: Network, arrays: dict[str, np.ndarray]) -> None:
        p = [jnp.asarray(a) for a in parameters(arrays)]
        self.state = (p, [jnp.zeros_like(a) for a in p], [jnp.zeros_like(a) for a in p], jnp.float32(0))
        pairs = zip(arrays["x"], arrays["y"], strict=True)
        self.batches = cycle([(jnp.asarray(x), jnp.asarray(y)) for x, y in pairs])

        def step(state: Any, x: Any, y: Any) -> Any:
            p, m, v, t = state
            value, g = jax.value_and_grad(lambda q: _loss(network, q, x, y))(p)
            t = t + 1
            m = [a + (1 - BETA1) * (d - a) for a, d in zip(m, g, strict=True)]
            v = [a + (1 - BETA2) * (d * d - a) for a, d in zip(v, g, strict=True)]
            rate, scale = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
            p = [a - rate * b / (jnp.sqrt(c) / scale + EPS) for a, b, c in zip(p, m, v, strict=True)]
            return value, (p, m, v, t)

        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self) -> Any:
        value, self.state = self.step(self.state, *next(self.batches))
        return jax.block_until_ready(value)

    def answer(self) -> np.ndarray:
        return np.array([float(self()) for _ in range(CHECKED_STEPS)])


def train_step(network: str, **arrays: np.ndarray) -> Callable[[], Any]:
    return _Steps(NETWORKS[network], arrays)
