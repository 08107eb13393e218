"""Batches of a sparse matrix, which are made dense one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.data import RandomSampler

__all__ = ["SparseBatches"]

Array = npt.NDArray[Any]


class SparseBatches:
    """Batches `(x, y)` or `(x, y, weights)` of a CSR matrix, in the order in which the Trainer takes arrays.

    Args:
        x: the matrix, (n, features).
        arrays: y and weights, where there are any.
        batch_size: rows of a batch; the last one may be smaller.
        shuffle: a new random order for each pass.
    """

    def __init__(
        self, x: Any, arrays: tuple[Array, ...] = (), batch_size: int = 1024, shuffle: bool = False
    ) -> None:
        self.x, self.arrays, self.batch_size = x, arrays, batch_size
        self.shuffle = shuffle
        self._sampler = RandomSampler(np.empty(x.shape[0], bool))

    def __len__(self) -> int:
        return -(-int(self.x.shape[0]) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        n = self.x.shape[0]
        order = self._sampler.order(self._sampler.draw()) if self.shuffle else np.arange(n)
        for start in range(0, n, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield (self.x[rows].toarray(), *(array[rows] for array in self.arrays))
