"""PyTorch's random numbers, for programs whose results depend on them: its generator, and how functions draw.

`RANVIER_TORCH_RANDOM=1 python -m ranvier.torch program.py`: torch.manual_seed(0) and torch.rand(3) give then
the numbers of PyTorch. It is asked for, since this library's own numbers are drawn several times faster, and
in captured steps, too. Dropout, trunc_normal_, shuffled DataLoaders and what NumPy draws (gamma, poisson ...)
have other numbers than in PyTorch.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier import Generator
from ranvier.autograd.recording import refuse

_last = threading.local()  # the key that was drawn last on a thread, and the Generator that it is of


class Twister:
    """The Mersenne Twister (Matsumoto and Nishimura, 1998), and the numbers that PyTorch makes of its words.

    >>> Twister(0).uniform(2, "float32")
    array([0.4962566, 0.7682218], dtype=float32)
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed & 0xFFFFFFFF)  # its seeding is PyTorch's
        self._kept: float | None = None  # the second of a pair of normal numbers

    def words(self, n: int) -> Any:
        """n words of 32 bits."""
        return self._words.randint(0, 2**32, n, np.uint32)

    def pairs(self, n: int) -> Any:
        """n words of 64 bits, the upper half drawn first."""
        halves = self.words(2 * n).astype(np.uint64)
        return (halves[0::2] << np.uint64(32)) | halves[1::2]

    def uniform(self, n: int, dtype: str) -> Any:
        """n numbers in [0, 1), of the lower 24 bits of a word, or 53 of two."""
        if dtype == "float32":
            return (self.words(n) & np.uint32(2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)
        return (self.pairs(n) & np.uint64(2**53 - 1)) * 2.0**-53

    def normal(self, n: int, dtype: str) -> Any:
        """n standard normal numbers by Box and Muller (1958): below 16 in float64, in pairs; else in blocks
        of 16, of which the last is drawn anew where n is no multiple."""
        if n < 16:
            return np.array([self._next_normal() for _ in range(n)], dtype)
        values, whole = self.uniform(n, dtype), n // 16 * 16
        values[:whole] = _blocks(values[:whole])
        if whole < n:
            values[-16:] = _blocks(self.uniform(16, dtype))
        return values

    def _next_normal(self) -> float:
        if self._kept is None:
            turn, u = self.uniform(2, "float64").tolist()
            radius = math.sqrt(-2.0 * math.log1p(-u))
            self._kept = radius * math.sin(2.0 * math.pi * turn)
            return radius * math.cos(2.0 * math.pi * turn)
        value, self._kept = self._kept, None
        return value

    def integers(self, low: int, high: int, size: Any = None) -> Any:
        """Whole numbers, low <= n < high: remainders of words."""
        span, n = int(high) - int(low), 1 if size is None else math.prod(size)
        words = self.pairs(n) if span >= 2**32 else self.words(n).astype(np.uint64)
        values = (words % np.uint64(span)).astype(np.int64) + int(low)
        return int(values[0]) if size is None else values.reshape(size)

    def permutation(self, n: int) -> Any:
        """0 to n - 1 in random order: each place gets one of those that follow, or stays."""
        order = list(range(n))
        for i, word in enumerate(self.words(max(n - 1, 0)).tolist()):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def random(self, size: Any = (), dtype: Any = "float64") -> Any:
        """Numbers in [0, 1)."""
        return self.uniform(math.prod(size), np.dtype(dtype).name).reshape(size)

    def exponential(self, scale: float = 1.0, size: Any = ()) -> Any:
        """Numbers of density exp(-x / scale) / scale."""
        return -scale * np.log1p(-self.random(size))

    def __getattr__(self, name: str) -> Any:  # other distributions, of the same words
        return getattr(np.random.Generator(self._words._bit_generator), name)

    @property
    def bit_generator(self) -> Twister:
        """What has the state."""
        return self

    @property
    def state(self) -> dict[str, Any]:
        """The state for `Generator.get_state`, which reads it here and sets it."""
        return {"words": self._words.get_state(legacy=False), "kept": self._kept}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._words.set_state(state["words"])
        self._kept = state["kept"]


def _blocks(u: Any) -> Any:
    """Normal numbers of uniform ones, in blocks of 16: 8 for the radius, 8 for the angle."""
    near, turn = u.reshape(-1, 2, 8).swapaxes(0, 1)
    radius, angle = np.sqrt(-2 * np.log(1 - near)), (2 * math.pi * turn).astype(u.dtype)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)


def _twister(generator: Generator) -> Any:
    """In place of Generator.numpy."""
    if generator._numpy is None:
        generator._numpy = Twister(generator._in_force())  # type: ignore[assignment]
    return generator._numpy


def start() -> None:
    """All Generators draw PyTorch's numbers from now on."""
    uniform, normal, fresh = _core.random_uniform, _core.random_normal, Generator.fresh_key

    def fresh_key(generator: Generator) -> Any:
        key = fresh(generator)
        _last.key, _last.generator = key, generator
        return key

    def drawn(kernel: Any, draw: Any) -> Any:
        def call(shape: Any, dtype: str, a: float, b: float, key: Any) -> Any:
            if getattr(_last, "key", None) is not key:
                return kernel(shape, dtype, a, b, key)
            kernel((0,), dtype, a, b, key)  # checks the arguments
            refuse("a draw of PyTorch's random numbers", "leave RANVIER_TORCH_RANDOM unset")
            return draw(_last.generator.numpy(), math.prod(shape), dtype, a, b).astype(dtype).reshape(shape)

        return call

    _core.random_uniform = drawn(uniform, lambda g, n, dtype, a, b: g.uniform(n, dtype) * (b - a) + a)
    _core.random_normal = drawn(normal, lambda g, n, dtype, a, b: g.normal(n, dtype) * b + a)
    _core._fill_random = None  # type: ignore[assignment]  # which would not ask these two
    Generator.fresh_key, Generator.numpy = fresh_key, _twister  # type: ignore[method-assign, assignment]
