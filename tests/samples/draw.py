"""Arrays at random for samples: the `x` of the functions in this folder.

The numbers depend on the op's name and a seed only, so that a failure repeats. They stay away from the op's
kinks (where it has no derivative), so that gradients can be compared with differences.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SIZE = 7  # the value of `x.n`


class Draw:
    """Arrays at random, for one op always the same ones."""

    def __init__(self, op: Any, width: int = SIZE, seed: int = 0) -> None:
        self.name, self.kinks, self.width = op.name, op.kinks, width
        self.draws_shapes = self.has_size = False
        self.rng = np.random.default_rng([zlib.crc32(op.name.encode()), seed])

    @property
    def n(self) -> int:
        """7, or another size that a property puts in its place."""
        self.has_size = True
        return self.width

    def __call__(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Array:
        """Floats, none near a kink or, where there are few, near another of the array."""
        count = int(np.prod(shape))
        places = self.rng.permutation(count) + self.rng.uniform(0.2, 0.8, count)
        array = low + (high - low) * places / max(count, 1)
        for kink in self.kinks:
            array = np.where(np.abs(array - kink) < 0.01, array + 0.03, array)
        return np.asarray(array.reshape(shape))

    def integers(self, low: int, high: int, *shape: int, dtype: Any = np.int64) -> Array:
        """Integers from low to high - 1, as labels and indices are."""
        return self.rng.integers(low, high, shape).astype(dtype)

    def size(self, low: int, high: int) -> int:
        """A size from low to high; another one in each random call."""
        self.draws_shapes = True
        return int(self.rng.integers(low, high + 1))

    def shape(self, least: int = 0, most: int = 4, high: int = 9) -> tuple[int, ...]:
        """A shape of `least` to `most` dimensions; another one in each random call."""
        return tuple(self.size(min(self.size(0, 9), 1), high) for _ in range(self.size(least, most)))

    def bools(self, *shape: int) -> Array:
        return self.rng.random(shape) < 0.5

    def signs(self, *shape: int) -> Array:
        """-1.0 and 1.0"""
        return self.rng.choice([-1.0, 1.0], shape)


def images(x: Draw) -> Array:
    """The inputs of layers of images."""
    return x(2, 4, 8, 8)


def sequences(x: Draw) -> Array:
    return x(2, 4, 9)
