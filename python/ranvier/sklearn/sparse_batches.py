"""SparseBatches: a sparse matrix in batches of dense rows, as `Trainer.fit` takes the batches of a loader."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ranvier.ops.making import philox, random
from ranvier.sklearn.types import SparseMatrix
from ranvier.tensors.memory import Array


class SparseBatches:
    """Batches `(x, y)` or `(x, y, weights)` of a CSR matrix, in the order in which the Trainer takes arrays.

    Args:
        x: the matrix, (n, features).
        arrays: (), (y,) or (y, weights).
        batch_size: rows of a batch; the last one may be smaller.
        shuffle: a new random order for each pass.
    """

    def __init__(
        self, x: SparseMatrix, arrays: tuple[Array, ...] = (), batch_size: int = 1024, shuffle: bool = False
    ) -> None:
        self.x = x
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __len__(self) -> int:
        """The number of batches: n / batch_size, rounded up."""
        return -(-int(self.x.shape[0]) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        n = self.x.shape[0]
        if self.shuffle:
            order = philox.permutation(n, random.current().next_key())
        else:
            order = np.arange(n)
        for start in range(0, n, self.batch_size):
            rows = order[start : start + self.batch_size]
            dense = self.x[rows].toarray()
            yield (dense, *(array[rows] for array in self.arrays))
