"""Calls on 16 elements, by the same code for ranvier and PyTorch: the cost beyond the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# name: the call, with t the library; its answer in NumPy
OPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu(x)": (lambda t, x, y: t.relu(x), lambda x, y: np.maximum(x, 0)),
    "exp(x)": (lambda t, x, y: t.exp(x), lambda x, y: np.exp(x)),
    "x * 2.0": (lambda t, x, y: x * 2.0, lambda x, y: x * 2),
    "x + y": (lambda t, x, y: x + y, lambda x, y: x + y),
    "x / y": (lambda t, x, y: x / y, lambda x, y: x / y),
    "x @ y": (lambda t, x, y: x @ y, lambda x, y: x @ y),
    "linear(x, y)": (lambda t, x, y: t.nn.functional.linear(x, y), lambda x, y: x @ y.T),
    "x[0]": (lambda t, x, y: x[0], lambda x, y: x[0]),
    "x.reshape(16)": (lambda t, x, y: x.reshape(16), lambda x, y: x.reshape(16)),
    "x.transpose(0, 1)": (lambda t, x, y: x.transpose(0, 1), lambda x, y: x.T),
    "x.sum()": (lambda t, x, y: x.sum(), lambda x, y: x.sum()),
    "x.mean(1)": (lambda t, x, y: x.mean(1), lambda x, y: x.mean(1)),
    "cat([x, y])": (lambda t, x, y: t.cat([x, y]), lambda x, y: np.concatenate([x, y])),
    "mse_loss(x, y)": (
        lambda t, x, y: t.nn.functional.mse_loss(x, y),
        lambda x, y: np.mean((x - y) ** 2),
    ),
}
LINKS = 20
FACTOR = 1.01


def on_the_tape(library: Any, case: str, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """The op on tensors that require gradients."""
    op = OPS[case][0]
    a, b = (library.tensor(array).requires_grad_() for array in (x, y))
    call: Any = lambda: op(library, a, b)  # noqa: E731
    call.answer = lambda: call().detach()
    return call


def chain_backward(library: Any, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """The backward alone of a chain of small ops, half of them products with a number, half ReLUs."""
    leaf, dy = library.tensor(x).requires_grad_(), library.tensor(y)
    h = leaf
    for _ in range(LINKS // 2):
        h = library.relu(h * FACTOR)

    def call() -> Any:
        leaf.grad = None
        h.backward(dy, retain_graph=True)
        return leaf.grad

    return call
