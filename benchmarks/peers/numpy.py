"""NumPy's side of the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.training.by_hand import HandSteps
from benchmarks.training.networks import NETWORKS
from benchmarks.views import viewed


def version() -> str:
    return str(np.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return lambda: a @ b


def elementwise(
    function: str, views: dict[str, str] | None = None, numbers: Sequence[float] = (), **arrays: np.ndarray
) -> Callable[[], Any]:
    operands = (*viewed(arrays, views), *numbers)
    compute = getattr(np, function)
    if function == "where":  # takes no output
        return lambda: compute(*operands)
    out = np.empty_like(compute(*operands))
    return lambda: compute(*operands, out=out)


def activation(x: np.ndarray, function: str, gradient: bool) -> Callable[[], Any]:
    if gradient or function not in ("relu", "tanh"):
        raise ValueError(f"no {function} with gradient={gradient} in NumPy")
    return (lambda: np.maximum(x, 0)) if function == "relu" else (lambda: np.tanh(x))


def kernel_call(x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    return lambda: np.maximum(x, 0)


def arg_reduce(x: np.ndarray, function: str, axis: int) -> Callable[[], Any]:
    return lambda: getattr(np, function)(x, axis)


def reduce(x: np.ndarray, function: str, axes: list[int] | None) -> Callable[[], Any]:
    compute, axis = getattr(np, function), None if axes is None else tuple(axes)
    return lambda: compute(x, axis=axis)


def small_matrices(function: str, **arrays: np.ndarray) -> Callable[[], Any]:
    compute = getattr(np.linalg, function)
    if function == "eigh":
        return lambda: compute(*arrays.values())[0]
    if function == "qr":
        return lambda: compute(*arrays.values())[1]
    return lambda: compute(*arrays.values())


def index_select(x: np.ndarray, rows: np.ndarray) -> Callable[[], Any]:
    return lambda: x[rows]


def cumsum(x: np.ndarray, axis: int) -> Callable[[], Any]:
    return lambda: np.cumsum(x, axis)


def argsort(x: np.ndarray) -> Callable[[], Any]:
    return lambda: np.argsort(x, -1, kind="stable")


def train_step(network: str, **arrays: np.ndarray) -> Callable[[], Any]:
    return HandSteps(NETWORKS[network], arrays, np.float32)
