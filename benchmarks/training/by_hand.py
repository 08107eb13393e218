"""The same training steps in plain NumPy: in float64 the expected losses, in float32 the NumPy peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.training.networks import CHECKED_STEPS, LR, MOMENTUM, Layer, Network, conv_sizes, parameters

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
NORM_EPS = 1e-5
Weights = tuple[np.ndarray, np.ndarray]


def padded(x: np.ndarray, padding: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding))) if padding else x


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, padding: int) -> np.ndarray:
    """x (n, c, h, w), w (k, c, r, r) -> (n, k, p, q)."""
    windows = sliding_window_view(padded(x, padding), w.shape[2:], (2, 3))  # (n, c, p, q, r, r)
    return np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + b[:, None, None]


def conv_backward(dy: np.ndarray, x: np.ndarray, w: np.ndarray, padding: int) -> tuple[np.ndarray, ...]:
    windows = sliding_window_view(padded(x, padding), w.shape[2:], (2, 3))
    dw = np.tensordot(dy, windows, ((0, 2, 3), (0, 2, 3)))  # (k, c, r, r)
    flipped = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    dx = conv(dy, flipped, np.zeros(w.shape[1], w.dtype), w.shape[2] - 1 - padding)
    return dx, dw, dy.sum((0, 2, 3))


def pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each 2x2 window, odd edges dropped; and its index in the window."""
    n, c, h, w = x.shape
    windows = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
    windows = windows.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    where = windows.argmax(-1)
    return np.take_along_axis(windows, where[..., None], -1)[..., 0], where


def pool_backward(dy: np.ndarray, where: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, c, p, q = dy.shape
    windows = np.zeros((n, c, p, q, 4), dy.dtype)
    np.put_along_axis(windows, where[..., None], dy[..., None], -1)
    dx = np.zeros(shape, dy.dtype)
    spread = windows.reshape(n, c, p, q, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    dx[:, :, : 2 * p, : 2 * q] = spread.reshape(n, c, 2 * p, 2 * q)
    return dx


def norm(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch norm over n, h, w: y, the normalised x and 1 / deviation (c, 1, 1)."""
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    rstd = 1 / np.sqrt(variance + x.dtype.type(NORM_EPS))
    normed = (x - mean) * rstd
    return normed * w[:, None, None] + b[:, None, None], normed, rstd


def norm_backward(dy: np.ndarray, normed: np.ndarray, rstd: np.ndarray, w: np.ndarray) -> tuple[Any, ...]:
    db, dw = dy.sum((0, 2, 3)), (dy * normed).sum((0, 2, 3))
    count = dy.dtype.type(dy[:, 0].size)
    g = dy * w[:, None, None]
    means = [s.sum((0, 2, 3), keepdims=True) / count for s in (g, g * normed)]
    return (g - means[0] - normed * means[1]) * rstd, dw, db


def binary_loss(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean binary cross-entropy of logits z, and its gradient."""
    value = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return float(value.mean()), (1 / (1 + np.exp(-z)) - y) / z.dtype.type(z.size)


def class_loss(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy of logits z (n, classes), and its gradient."""
    rows = np.arange(len(z))
    log_p = z - z.max(1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    dz = np.exp(log_p)
    dz[rows, y] -= 1
    return float(-log_p[rows, y].mean()), dz / z.dtype.type(len(z))


def square_loss(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    return float(np.square(z - y).mean()), (z - y) * z.dtype.type(2 / z.size)


LOSSES: dict[str, Callable[..., tuple[float, np.ndarray]]] = {
    "classes": class_loss,
    "binary": binary_loss,
    "squares": square_loss,
}


def forward(layer: Layer, x: np.ndarray, weights: Iterator[Weights]) -> tuple[np.ndarray, Any]:
    """The layer's result, and what its backward needs. Without running averages: no loss needs them."""
    kind = layer[0]
    if kind in ("linear", "conv", "norm"):
        w, b = next(weights)
        if kind == "linear":
            return x @ w.T + b, (x, w)
        if kind == "conv":
            padding = conv_sizes(layer)[3]
            return conv(x, w, b, padding), (x, w, padding)
        y, normed, rstd = norm(x, w, b)
        return y, (normed, rstd, w)
    if kind == "relu":
        return np.maximum(x, 0), (x > 0,)
    if kind == "tanh":
        y = np.tanh(x)
        return y, (1 - y * y,)
    if kind == "pool":
        y, where = pool(x)
        return y, (where, x.shape)
    return x.reshape(len(x), -1), (x.shape,)


def backward(kind: Any, dy: np.ndarray, saved: Any, gradients: list[np.ndarray], first: bool) -> np.ndarray:
    """The gradient of the layer's input; those of its parameters are appended, the last one first."""
    if kind == "linear":
        x, w = saved
        gradients += [dy.sum(0), dy.T @ x]
        return dy if first else dy @ w
    if kind in ("conv", "norm"):
        dx, dw, db = (conv_backward if kind == "conv" else norm_backward)(dy, *saved)
        gradients += [db, dw]
        return dx
    if kind in ("relu", "tanh"):
        return dy * saved[0]
    return pool_backward(dy, *saved) if kind == "pool" else dy.reshape(saved[0])


def predictions(network: Network, arrays: dict[str, np.ndarray], dtype: Any) -> np.ndarray:
    """The loss of the first batch."""
    p, x = [p.astype(dtype) for p in parameters(arrays)], arrays["x"][0].astype(dtype)
    weights = iter(zip(p[::2], p[1::2], strict=True))
    for layer in network.layers:
        x, _ = forward(layer, x, weights)
    return x


class HandSteps:
    """One training step a call, as ``models.Steps``."""

    def __init__(self, network: Network, arrays: dict[str, np.ndarray], dtype: Any) -> None:
        self.network = network.without_dropout()
        self.p = [p.astype(dtype) for p in parameters(arrays)]
        self.m = [np.zeros_like(p) for p in self.p]
        self.v = [np.zeros_like(p) for p in self.p]
        self.t = 0
        targets = arrays["y"] if network.loss == "classes" else arrays["y"].astype(dtype)
        self.batches = cycle(list(zip(arrays["x"].astype(dtype), targets, strict=True)))

    def __call__(self) -> float:
        x, y = next(self.batches)
        saved = []
        weights = iter(zip(self.p[::2], self.p[1::2], strict=True))
        for layer in self.network.layers:
            x, kept = forward(layer, x, weights)
            saved.append((layer[0], kept))
        value, dy = LOSSES[self.network.loss](x, y)
        gradients: list[np.ndarray] = []
        for i in reversed(range(len(saved))):
            dy = backward(saved[i][0], dy, saved[i][1], gradients, first=i == 0)
        self._update(gradients[::-1])
        return value

    def _update(self, gradients: list[np.ndarray]) -> None:
        self.t += 1
        if self.network.optimizer == "SGD":
            for p, m, g in zip(self.p, self.m, gradients, strict=True):
                m *= MOMENTUM
                m += g
                p -= LR * m
            return
        step, scale = LR / (1 - BETA1**self.t), np.sqrt(1 - BETA2**self.t)
        for p, m, v, g in zip(self.p, self.m, self.v, gradients, strict=True):
            m += (1 - BETA1) * (g - m)
            v += (1 - BETA2) * (g * g - v)
            p -= step * m / (np.sqrt(v) / scale + EPS)

    def losses(self) -> np.ndarray:
        return np.array([self() for _ in range(CHECKED_STEPS)])

    answer = losses
