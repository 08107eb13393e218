"""Dropout in plain NumPy, and its random numbers.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) is a function of a key and
a counter: an element's random word follows from its place alone, in any order and on any thread.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def philox4x32(counter: Array, key: Array, rounds: int = 10) -> Array:
    """counter (..., 4), key (2,), both uint32 -> four random words for each counter.

    The constants are those of the paper.
    """
    c = counter.astype(np.uint64)
    k = [int(x) for x in key]
    low_bits = np.uint64(0xFFFFFFFF)
    for _ in range(rounds):
        first = c[..., 0] * np.uint64(0xD2511F53)  # of 64 bits, of which both halves are used
        second = c[..., 2] * np.uint64(0xCD9E8D57)
        c = np.stack(
            [
                (second >> np.uint64(32)) ^ c[..., 1] ^ np.uint64(k[0]),
                second & low_bits,
                (first >> np.uint64(32)) ^ c[..., 3] ^ np.uint64(k[1]),
                first & low_bits,
            ],
            axis=-1,
        )
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c.astype(np.uint32)


def random_words(size: int, key: Array) -> Array:
    """One word for each element: of each 64, word w of 16 counters is the elements 16 w ... 16 w + 15.

    key: a seed and the number of the call, integers of 64 bits. The counter is (number of the counter, number
    of the call), and the seed is the key of `philox4x32`.
    """
    groups = -(-size // 64)
    count = np.arange(16 * groups, dtype=np.uint64)
    seed, call = (int(k) & 0xFFFFFFFFFFFFFFFF for k in key)
    counter = np.stack(
        [
            count & np.uint64(0xFFFFFFFF),
            count >> np.uint64(32),
            np.full_like(count, call & 0xFFFFFFFF),
            np.full_like(count, call >> 32),
        ],
        axis=-1,
    )
    words = philox4x32(counter, np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint64))
    return words.reshape(groups, 16, 4).transpose(0, 2, 1).reshape(-1)[:size]


def keep_mask(shape: tuple[int, ...], p: float, key: Array) -> Array:
    """True where an element is kept: with probability 1 - p, by the element's place in logical order."""
    words = random_words(int(np.prod(shape)), key)
    return (words >= p * 2.0**32).reshape(shape)


def dropout(x: Array, p: float, key: Array) -> Array:
    """x / (1 - p) where kept, so that the mean stays; else 0."""
    if p == 1:
        return np.zeros_like(x)
    return np.where(keep_mask(x.shape, p, key), x / (1 - p), 0)


def channel_dropout(x: Array, p: float, key: Array) -> Array:
    """dropout of whole channels, dimension 1; its gradient is the same function of dy."""
    ones = np.ones((*x.shape[:2], *(1,) * (x.ndim - 2)))
    return x * dropout(ones, p, key)


LOW = -1.0507009873554805 * 1.6732632423543772  # selu's limit


def alpha_dropout(x: Array, p: float, key: Array) -> Array:
    """Dropped elements become selu's limit; then a linear function restores mean 0 and variance 1."""
    a = alpha_scale(p)
    kept = keep_mask(x.shape, p, key) if p < 1 else False
    return a * np.where(kept, x, LOW) - a * p * LOW


def alpha_scale(p: float) -> float:
    """1 / sqrt(variance) after dropping: (1 - p) + p low^2 - (p low)^2."""
    if p == 1:
        return 0.0
    return float((1 - p + p * LOW**2 - (p * LOW) ** 2) ** -0.5)
