"""NumPy's side of the cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.training.by_hand import HandSteps
from benchmarks.training.networks import NETWORKS


def version() -> str:
    return str(np.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return lambda: a @ b


def train_step(network: str, **arrays: np.ndarray) -> Callable[[], Any]:
    return HandSteps(NETWORKS[network], arrays, np.float32)
