"""How a DataLoader puts samples together: a list of samples becomes Tensors in the samples' containers.

A sample may be anything that a dataset gives: a number, an array, a Tensor, or dicts, lists and tuples of
these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.data.checks import raw
from ranvier.ops.making.creation import tensor
from ranvier.ops.shape.join import stack
from ranvier.tensors.errors import own_error
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import Array, native

__all__ = ["default_collate", "default_convert"]

Batch: TypeAlias = Sequence[Any]  # a list of samples: errors of `batch` say so (tensors/errors.py)
CollateFunctions: TypeAlias = Mapping[Any, Callable[..., Any]]
"""{class of samples, or a tuple of classes: function}; called as `f(batch, collate_fn_map=...)`."""

# A program can add functions here, by the class of samples that they collate, as in PyTorch.
default_collate_fn_map: dict[Any, Callable[..., Any]] = {}


@own_error
def default_collate(batch: Batch) -> Any:
    """A batch of samples: numbers, arrays and Tensors become one Tensor; containers part by part.

    Mappings, named tuples and sequences keep their class; a tuple becomes a list, as in PyTorch. Texts stay.

    Raises ValueError: arrays of different shapes; KeyError: a sample lacks a key of the first one.

    >>> import ranvier as rv
    >>> rv.data.default_collate([({"x": 1}, 0), ({"x": 2}, 1)])
    [{'x': tensor([1, 2])}, tensor([0, 1])]
    """
    return _collated(batch, default_collate_fn_map)


def collate(batch: Sequence[Any], *, collate_fn_map: CollateFunctions | None = None) -> Any:
    """As `default_collate`, with functions of your own for classes of samples.

    collate_fn_map: {class: function}; a function is called as `f(batch, collate_fn_map=...)`.
    """
    return _collated(batch, collate_fn_map or {})


def collate_tensor_fn(batch: Sequence[Tensor], *, collate_fn_map: CollateFunctions | None = None) -> Any:
    """Tensors, which keep their class and their place on the tape."""
    return stack(batch)


def _collated(batch: Sequence[Any], functions: CollateFunctions) -> Any:
    """The batch; functions: those of the program, which come before what is done here."""
    first = batch[0]
    for sample_class, function in functions.items():
        if isinstance(first, sample_class):
            return function(batch, collate_fn_map=functions)
    if isinstance(first, (str, bytes)):  # Texts of NumPy are str and bytes, too.
        return batch
    if isinstance(first, Tensor):
        if type(first) is not Tensor:  # before requires_grad: the class may be asked for each attribute read
            return collate_tensor_fn(batch)
        if any(getattr(sample, "requires_grad", False) for sample in batch):
            return collate_tensor_fn(batch)
    if isinstance(first, (Tensor, np.ndarray, np.generic, int, float)):
        return wrap(native(_stacked(batch)))
    if isinstance(first, Mapping):
        for place, sample in enumerate(batch):
            lacking = [key for key in first if key not in sample]
            if lacking:
                text = f"got sample {place} without {lacking[0]!r}; expected the same keys in each"
                raise KeyError(f"[default_collate] {text}")
        fields = {}
        for key in first:
            fields[key] = _collated([sample[key] for sample in batch], functions)
        return _rebuilt(first, fields)
    if not isinstance(first, Sequence):
        raise TypeError(
            f"[default_collate] got samples of type {type(first).__name__}; expected Tensors, arrays, "
            "numbers, texts, or dicts and lists of these: pass a collate_fn"
        )
    lengths = sorted({len(sample) for sample in batch})
    if len(lengths) > 1:
        raise OpError(f"[default_collate] got samples of {lengths} parts; expected as many in each")
    return _rebuilt(first, [_collated(column, functions) for column in zip(*batch, strict=True)])


def _rebuilt(original: Any, values: dict[Any, Any] | list[Any]) -> Any:
    """The values in a container of the original's class; in a dict or list if none can be made."""
    container_class = type(original)
    if container_class in (dict, list):
        return values
    if isinstance(original, tuple):
        if hasattr(original, "_fields"):  # a named tuple
            return container_class(*values)
        return values
    try:
        if isinstance(original, MutableMapping):
            mapping = copy(original)  # with further attributes that it may have
            mapping.update(values)
            return mapping
        if isinstance(original, MutableSequence):
            sequence = copy(original)
            for i, value in enumerate(values):
                sequence[i] = value
            return sequence
        return container_class(values)
    except TypeError:
        return values


def _stacked(batch: Sequence[Any]) -> Array:
    """One array of numbers, arrays or Tensors; the usual types are handled for all samples together."""
    types = set(map(type, batch))
    if len(types) == 1 and isinstance(batch[0], (np.generic, int, float)):
        numbers = np.array(batch)
        if numbers.ndim == 1 and numbers.dtype.kind in "biuf":
            return numbers
    if types == {Tensor}:
        arrays = [sample._array for sample in batch]
    elif types == {np.ndarray} and all(sample.dtype.isnative for sample in batch):
        # Of plain arrays `raw` checks the size, which is that of all: other shapes are refused below.
        arrays = [raw(batch[0]), *batch[1:]]
    elif types <= {bool, int, float}:
        dtype = np.float64 if isinstance(batch[0], float) else None
        return tensor(list(batch), dtype=dtype)._array
    else:
        arrays = [raw(sample) for sample in batch]
    shapes = {array.shape for array in arrays}
    dtypes = {array.dtype for array in arrays}
    if len(shapes) != 1:
        raise OpError(f"[default_collate] got samples of shapes {sorted(shapes)}; expected equal shapes")
    if any(dtype.kind not in "biuf" for dtype in dtypes):
        raise TypeError(f"[default_collate] got samples {batch[:3]!r}; expected numbers in all or in none")
    if arrays[0].ndim == 0:
        if len(dtypes) > 1:
            return np.stack(arrays)
        return np.fromiter(arrays, dtypes.pop(), len(arrays))
    return np.concatenate(arrays).reshape(len(arrays), *arrays[0].shape)


def default_convert(data: Any) -> Any:
    """One sample with its arrays as Tensors, as a DataLoader without batch size yields it.

    >>> import numpy as np
    >>> from ranvier.data import default_convert
    >>> default_convert({"x": np.ones(2, np.float32), "name": "a"})
    {'x': tensor([1., 1.]), 'name': 'a'}
    """
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        if data.dtype.kind in "SUO":
            return data
        return wrap(raw(data))
    if isinstance(data, Mapping):
        return _rebuilt(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence):
        return _rebuilt(data, [default_convert(value) for value in data])
    return data
