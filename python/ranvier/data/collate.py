"""Batches from samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.data.dataset import raw

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: list[Any]) -> Any:
    """A batch of samples: numbers, arrays and Tensors become one Tensor; tuples and dicts part by part.

    Raises ValueError: arrays of different shapes.

    >>> from ranvier.data import default_collate
    >>> x, y = default_collate([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    >>> [part.tolist() for part in x], y.tolist()
    ([[1.0, 3.0], [2.0, 4.0]], [0, 1])
    """
    first = batch[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic, int, float, bool)):
        arrays = [raw(sample) for sample in batch]
        if len({array.shape for array in arrays}) != 1:
            shapes = sorted({array.shape for array in arrays})
            raise ValueError(f"[default_collate] got samples of shapes {shapes}; expected equal shapes")
        if any(array.dtype.kind not in "biuf" for array in arrays):
            raise TypeError(
                f"[default_collate] got samples {batch[:3]!r}; expected numbers in all or in none"
            )
        return wrap(np.stack(arrays))
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        lengths = sorted({len(sample) for sample in batch})
        if len(lengths) > 1:
            raise ValueError(f"[default_collate] got samples of {lengths} parts; expected as many in each")
        parts = [default_collate(list(part)) for part in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts  # a named tuple stays one
    return batch


def default_convert(data: Any) -> Any:
    """One sample with its arrays as Tensors, as a DataLoader without batch size yields it.

    >>> import numpy as np
    >>> from ranvier.data import default_convert
    >>> default_convert((np.ones(2, np.float32), "name"))
    (tensor([1., 1.]), 'name')
    """
    if isinstance(data, (np.ndarray, np.generic)):
        return wrap(raw(data))
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple):
        parts = [default_convert(part) for part in data]
        return type(data)(*parts) if hasattr(data, "_fields") else tuple(parts)
    return [default_convert(part) for part in data] if isinstance(data, list) else data
