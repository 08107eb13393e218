"""Discrete Fourier transforms as sums over the elements, in float64.

Complex numbers are pairs (real, imaginary) in the last dimension, as in the ops of `ranvier.fft`, whose
arguments these functions have. `dim` counts the dimensions without that of the pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def numbers(x: Array) -> Array:
    """Pairs as complex numbers."""
    return x[..., 0] + 1j * x[..., 1]


def pairs(z: Array) -> Array:
    """Complex numbers as pairs."""
    return np.stack([z.real, z.imag], -1)


def sums(z: Array, n: int | None, dim: int, sign: int, scale: float) -> Array:
    """scale * the sum of z_t exp(sign 2 pi i k t / n) of z along dim, which is cut or filled with 0 to n."""
    z = np.moveaxis(np.asarray(z, complex), dim, -1)
    if n is None:
        n = z.shape[-1]
    missing = max(n - z.shape[-1], 0)
    z = np.pad(z[..., :n], [(0, 0)] * (z.ndim - 1) + [(0, missing)])
    k = np.arange(n)
    exponentials = np.exp(sign * 2j * np.pi / n * (np.outer(k, k) % n))
    return np.moveaxis(z @ exponentials, -1, dim) * scale


def _scale(norm: str | None, n: int, inverse: bool) -> float:
    """The factor of a transform: 1 / n in one of the two directions, or the root of it in both."""
    if norm == "ortho":
        return n**-0.5
    if (norm == "forward") != inverse:
        return 1 / n
    return 1.0


def fft(x: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    z = numbers(x)
    return pairs(sums(z, n, dim, -1, _scale(norm, n or z.shape[dim], inverse=False)))


def ifft(x: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    z = numbers(x)
    return pairs(sums(z, n, dim, 1, _scale(norm, n or z.shape[dim], inverse=True)))


def rfft(x: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    n = n or x.shape[dim]
    y = sums(x, n, dim, -1, _scale(norm, n, inverse=False))
    return pairs(np.take(y, range(n // 2 + 1), dim))


def irfft(x: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The terms above n / 2 are conjugates of those below; the first, and that of n / 2, are real."""
    z = np.moveaxis(numbers(x), dim, -1)
    n = n or 2 * (z.shape[-1] - 1)
    used = min(n // 2 + 1, z.shape[-1])
    full = np.zeros((*z.shape[:-1], n), complex)
    full[..., :used] = z[..., :used]
    full[..., 0] = full[..., 0].real
    if n % 2 == 0:
        full[..., n // 2] = full[..., n // 2].real
    for k in range(n // 2 + 1, n):
        full[..., k] = full[..., n - k].conj()
    return np.moveaxis(sums(full, n, -1, 1, _scale(norm, n, inverse=True)).real, -1, dim)


def stft(
    x: Array,
    n: int,
    hop: int | None = None,
    win: int | None = None,
    window: Array | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Array:
    """The transform of each window, which has zeros around it up to n elements."""
    if window is None:
        window = np.ones(win or n)
    before = (n - len(window)) // 2
    window = np.pad(window, (before, n - len(window) - before))
    signal = x
    if center:
        mode: Any = {"replicate": "edge", "circular": "wrap"}.get(pad_mode, pad_mode)
        signal = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n // 2, n // 2)], mode)
    starts = range(0, signal.shape[-1] - n + 1, hop or n // 4)
    frames = np.stack([signal[..., t : t + n] * window for t in starts], -2)
    scale = n**-0.5 if normalized else 1.0
    y = sums(frames, n, -1, -1, scale)
    if onesided is not False:
        y = y[..., : n // 2 + 1]
    return pairs(np.swapaxes(y, -1, -2))
