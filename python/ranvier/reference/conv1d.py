"""conv1d: the cross-correlation of signals with kernels, and its gradients.

    x (n, c, l), w (k, c / groups, s), bias (k), y (n, k, q)
    y[n, k, q] = bias[k] + sum over c, s of x[n, c, q * stride + s * dilation - padding] * w[k, c, s]

For one tap s, every output sees one sample of the padded signal, and those samples are a slice of it. Each
group of channels is a convolution of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    signal = np.pad(x, ((0, 0), (0, 0), _padding(padding, w.shape[2], dilation)))
    q = (signal.shape[2] - dilation * (w.shape[2] - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], w.shape[0], q), x.dtype)
    for inputs, outputs in channel_groups(x.shape[1], w.shape[0], groups):
        for s in range(w.shape[2]):
            seen = signal[:, inputs, s * dilation : s * dilation + stride * (q - 1) + 1 : stride]
            y[:, outputs] += np.einsum("ncq,kc->nkq", seen, w[outputs, :, s])
    return y if bias is None else y + bias[:, None]


def conv1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """dx, dw, db: a tap that took x[i] * w to y[o] takes dy[o] * w back to dx[i] and dy[o] * x[i] to dw."""
    before, after = _padding(padding, w.shape[2], dilation)
    signal = np.pad(x, ((0, 0), (0, 0), (before, after)))
    dsignal, dw, q = np.zeros_like(signal), np.zeros_like(w), dy.shape[2]
    for inputs, outputs in channel_groups(x.shape[1], w.shape[0], groups):
        for s in range(w.shape[2]):
            seen = slice(s * dilation, s * dilation + stride * (q - 1) + 1, stride)
            dsignal[:, inputs, seen] += np.einsum("nkq,kc->ncq", dy[:, outputs], w[outputs, :, s])
            dw[outputs, :, s] = np.einsum("nkq,ncq->kc", dy[:, outputs], signal[:, inputs, seen])
    return dsignal[:, :, before : before + x.shape[2]], dw, dy.sum((0, 2))


def channel_groups(inputs: int, outputs: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The input and the output channels of each group."""
    c, k = inputs // groups, outputs // groups
    for g in range(groups):
        yield slice(g * c, (g + 1) * c), slice(g * k, (g + 1) * k)


def _padding(padding: int | str, taps: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after the signal; 'same' puts the odd one after."""
    if isinstance(padding, int):
        return padding, padding
    reach = dilation * (taps - 1) if padding == "same" else 0
    return reach // 2, reach - reach // 2
