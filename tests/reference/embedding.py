"""Embedding: rows of a table picked by number.

y[i] = weight[index[i]]. It is a matrix product with one-hot rows, without the zeros; so its gradient adds
each row of dy to the row of the table that it came from.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def embedding(index: Array, weight: Array) -> Array:
    return weight[index]


def embedding_backward(
    dy: Array, index: Array, rows: int, padding: int | None = None, by_frequency: bool = False
) -> Array:
    """padding: a row that gets no gradient. by_frequency: the mean of a row's gradients, not their sum."""
    dweight = np.zeros((rows, dy.shape[-1]), dy.dtype)
    flat = index.reshape(-1)
    np.add.at(dweight, flat, dy.reshape(flat.size, dy.shape[-1]))
    if by_frequency:
        dweight /= np.maximum(np.bincount(flat, minlength=rows), 1)[:, None]
    if padding is not None:
        dweight[padding] = 0
    return dweight
