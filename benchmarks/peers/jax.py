"""JAX's side of the cases, compiled with ``jax.jit``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

if os.environ["RANVIER_PEER_THREADS"] == "1":  # XLA takes its number of threads from the CPUs it may use
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax


def version() -> str:
    return str(jax.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


def compiled(function: Callable[..., Any], *arrays: np.ndarray) -> Callable[[], Any]:
    """A call of the jitted function on arrays that XLA holds; it returns when the answer is there."""
    jitted = jax.jit(function)
    held = [jax.numpy.asarray(a) for a in arrays]
    return lambda: jax.block_until_ready(jitted(*held))


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return compiled(lambda x, y: x @ y, a, b)
