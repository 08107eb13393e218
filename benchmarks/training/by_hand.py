"""The same training steps in plain NumPy: in float64 the expected losses, in float32 the NumPy peer."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.training.networks import CHECKED_STEPS, LR, Network, parameters

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x (n, c, h, w), w (k, c, 3, 3) -> (n, k, h - 2, w - 2)."""
    windows = sliding_window_view(x, (3, 3), (2, 3))  # (n, c, p, q, 3, 3)
    return np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + b[:, None, None]


def conv_backward(dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dw = np.tensordot(dy, sliding_window_view(x, (3, 3), (2, 3)), ((0, 2, 3), (0, 2, 3)))  # (k, c, 3, 3)
    padded = np.pad(dy, ((0, 0), (0, 0), (2, 2), (2, 2)))
    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    dx = conv(padded, turned, np.zeros(w.shape[1], w.dtype))
    return dx, dw, dy.sum((0, 2, 3))


def pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each 2x2 window, odd edges dropped; and where it lies in its window."""
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


class HandSteps:
    """One training step a call, as ``networks.Steps``."""

    def __init__(self, network: Network, arrays: dict[str, np.ndarray], dtype: Any) -> None:
        self.network = network
        self.p = [p.astype(dtype) for p in parameters(arrays)]
        self.m = [np.zeros_like(p) for p in self.p]
        self.v = [np.zeros_like(p) for p in self.p]
        self.t = 0
        labels = arrays["y"].astype(dtype) if network.binary else arrays["y"]
        self.batches = cycle(list(zip(arrays["x"].astype(dtype), labels, strict=True)))

    def __call__(self) -> float:
        x, y = next(self.batches)
        saved = []
        weights = iter(zip(self.p[::2], self.p[1::2], strict=True))
        for kind, *_ in self.network.layers:
            x = self._forward(kind, x, weights, saved)
        value, dy = (binary_loss if self.network.binary else class_loss)(x, y)
        gradients: list[np.ndarray] = []
        for i in reversed(range(len(saved))):
            dy = self._backward(dy, saved[i], gradients, first=i == 0)
        self._update(gradients[::-1])
        return value

    def _forward(self, kind: str, x: np.ndarray, weights: Any, saved: list[Any]) -> np.ndarray:
        if kind in ("linear", "conv"):
            w, b = next(weights)
            saved.append((kind, x, w))
            return x @ w.T + b if kind == "linear" else conv(x, w, b)
        if kind == "relu":
            saved.append((kind, x > 0, None))
            return np.maximum(x, 0)
        if kind == "pool":
            y, where = pool(x)
            saved.append((kind, where, x.shape))
            return y
        saved.append((kind, x.shape, None))
        return x.reshape(len(x), -1)

    def _backward(self, dy: np.ndarray, saved: Any, gradients: list[np.ndarray], first: bool) -> np.ndarray:
        kind, kept, extra = saved
        if kind == "linear":
            gradients += [dy.sum(0), dy.T @ kept]
            return dy if first else dy @ extra
        if kind == "conv":
            dx, dw, db = conv_backward(dy, kept, extra)
            gradients += [db, dw]
            return dx
        if kind == "relu":
            return dy * kept
        return pool_backward(dy, kept, extra) if kind == "pool" else dy.reshape(kept)

    def _update(self, gradients: list[np.ndarray]) -> None:
        self.t += 1
        step, scale = LR / (1 - BETA1**self.t), np.sqrt(1 - BETA2**self.t)
        for p, m, v, g in zip(self.p, self.m, self.v, gradients, strict=True):
            m += (1 - BETA1) * (g - m)
            v += (1 - BETA2) * (g * g - v)
            p -= step * m / (np.sqrt(v) / scale + EPS)

    def answer(self) -> np.ndarray:
        return np.array([self() for _ in range(CHECKED_STEPS)])
