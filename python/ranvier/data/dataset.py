"""Collections of samples, with PyTorch's names, and batches of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Tensor, wrap
from ranvier.autograd.errors import own_errors, renamed
from ranvier.autograd.memory import Array, plain
from ranvier.ops.rows import examples

__all__ = [
    "ConcatDataset", "Dataset", "IterableDataset", "Subset", "TensorDataset", "default_collate",
    "default_convert",
]  # fmt: skip

T = TypeVar("T")
Indices = npt.NDArray[np.intp]


class Dataset(Generic[T]):
    """A collection of samples: subclasses define `__getitem__(index)` and `__len__()`; `a + b` concatenates.

    >>> from ranvier.data import Dataset
    >>> class Squares(Dataset):
    ...     def __getitem__(self, i): return i, i * i
    ...     def __len__(self): return 3
    >>> (Squares() + Squares())[4]
    (1, 1)
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"[{type(self).__name__}] expected a __getitem__ method")

    def __len__(self) -> int:
        raise NotImplementedError(f"[{type(self).__name__}] expected a __len__ method")

    def __add__(self, other: Dataset[T]) -> ConcatDataset[T]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples one after the other, as from a stream: subclasses define `__iter__()`, and `__len__()` if they
    know it.

    A DataLoader makes batches of them in this order, and iterates anew in each epoch.

    >>> from ranvier.data import DataLoader, IterableDataset
    >>> class Lines(IterableDataset):
    ...     def __iter__(self): return iter([1, 2, 3])
    >>> [batch.tolist() for batch in DataLoader(Lines(), batch_size=2)]
    [[1, 2], [3]]
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"[{type(self).__name__}] expected an __iter__ method")

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"[{type(self).__name__}] has no samples by index; expected a loop over it")

    def __len__(self) -> int:
        raise TypeError(f"[{type(self).__name__}] has no length; expected a __len__ method")


class TensorDataset(Dataset[Any]):
    """Samples along axis 0 of one or more arrays or Tensors of equal length.

    `dataset[i]` is a tuple of Tensors, one per array.

    Raises ValueError: no arrays, a number instead of an array, or arrays of unequal length.
    | rv.data.TensorDataset(rv.arange(6.0).reshape(3, 2), rv.tensor([0, 1, 1]))[1]
    -> (tensor([2., 3.]), tensor(1))"""

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tensors
        self._arrays = tuple(raw(tensor) for tensor in tensors)
        length_of("TensorDataset", self._arrays)

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(wrap(np.asarray(array[index])) for array in self._arrays)

    def __len__(self) -> int:
        return len(self._arrays[0])


class Subset(Dataset[T]):
    """The samples of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int] | Indices) -> None:
        self.dataset = dataset
        np.asarray(indices, np.intp)  # for its errors
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, (int, np.integer)):
            return self.dataset[int(self.indices[index])]  # type: ignore[index]
        return self.dataset[np.asarray(self.indices, np.intp)[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T]):
    """The samples of several datasets in sequence.

    Raises ValueError: no datasets; IndexError: an index beyond the last sample.

    >>> import numpy as np
    >>> from ranvier.data import ConcatDataset, TensorDataset
    >>> both = ConcatDataset([TensorDataset(np.arange(3)), TensorDataset(np.arange(10, 12))])
    >>> len(both), both[3][0].item(), both[-1][0].item()
    (5, 10, 11)
    """

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("[ConcatDataset] got no datasets; expected at least one")
        self._ends = np.cumsum([len(dataset) for dataset in self.datasets])

    @property
    def cumulative_sizes(self) -> list[int]:
        return self._ends.tolist()

    def __getitem__(self, index: Any) -> T:
        n = len(self)
        at = int(index)
        if not -n <= at < n:
            raise IndexError(f"[ConcatDataset] got index {at} for {n} samples")
        at %= n
        which = int(np.searchsorted(self._ends, at, side="right"))
        return self.datasets[which][at - int(self._ends[which - 1]) if which else at]

    def __len__(self) -> int:
        return int(self._ends[-1])


def one_of(name: str, argument: str, value: Any, names: Sequence[str]) -> str:
    """`value` if it is one of the names, else the error of `name` about `argument`."""
    if value not in names:
        raise ValueError(f"[{name}] got {argument} {value!r}; expected one of {', '.join(names)}")
    return str(value)


def length_of(name: str, arrays: Sequence[Array]) -> int:
    """The number of samples, the same in all arrays; raises the error of `name`."""
    if not arrays:
        raise ValueError(f"[{name}] got no arrays; expected at least one")
    if any(array.ndim == 0 for array in arrays):
        raise ValueError(f"[{name}] got a number; expected arrays of samples")
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) != 1:
        raise ValueError(f"[{name}] got arrays of {lengths} samples; expected equal lengths")
    return lengths[0]


def raw(value: Any) -> Array:
    """The array of a Tensor or of an array-like object. Raises TypeError for a masked array."""
    return value._array if isinstance(value, Tensor) else np.asarray(plain("data", value))


def like(original: Any, y: Array) -> Any:
    """A Tensor if a Tensor was given, else the array."""
    return wrap(y) if isinstance(original, Tensor) else y


def whole_arrays(dataset: Any) -> tuple[tuple[Array, ...], Indices | None] | None:
    """The arrays of a TensorDataset, or of Subsets of one, and the indices of the subset.

    Only for exactly these classes: the `__getitem__` of a subclass must be called.
    """
    indices: Indices | None = None
    while type(dataset) is Subset:
        own = np.asarray(dataset.indices, np.intp)
        indices = own if indices is None else own[indices]
        dataset = dataset.dataset
    return (dataset._arrays, indices) if type(dataset) is TensorDataset else None


def get_worker_info() -> None:
    """None, PyTorch's answer in the main process: a loader makes batches in threads of this process.
    | print(rv.utils.data.get_worker_info()) -> None"""


def default_collate(batch: list[Any]) -> Any:
    """A batch of samples: numbers, arrays and Tensors become one Tensor; tuples and dicts part by part.

    Raises ValueError: arrays of different shapes.
    | rv.data.default_collate([({"x": 1}, 0), ({"x": 2}, 1)]) -> [{'x': tensor([1, 2])}, tensor([0, 1])]"""
    try:
        return _collated(batch)
    except Exception as error:
        raise renamed(error, "default_collate", default_collate, (batch,)) from None


def _collated(batch: Any) -> Any:
    first = batch[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic, int, float, bool)):
        return wrap(_stacked(batch))
    if isinstance(first, Mapping):
        return {key: _collated([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        lengths = sorted({len(sample) for sample in batch})
        if len(lengths) > 1:
            raise ValueError(f"[default_collate] got samples of {lengths} parts; expected as many in each")
        columns = [_collated(list(part)) for part in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns  # a named tuple stays one
    if not isinstance(first, (str, bytes)):
        raise TypeError(
            f"[default_collate] got samples of type {type(first).__name__}; expected Tensors, arrays, "
            "numbers, texts, or dicts and lists of these: pass a collate_fn"
        )
    return batch


def _stacked(batch: list[Any]) -> Array:
    """One array of numbers, arrays or Tensors; what is usual is decided for all samples at once."""
    kinds = set(map(type, batch))
    if len(kinds) == 1 and isinstance(batch[0], (np.generic, int, float)):
        numbers = np.array(batch)
        if numbers.ndim == 1 and numbers.dtype.kind in "biuf":
            return numbers
    if kinds == {Tensor}:
        arrays = [sample._array for sample in batch]
    elif kinds == {np.ndarray} and all(sample.dtype.isnative for sample in batch):
        arrays = [raw(batch[0]), *batch[1:]]  # its errors are those of the others
    else:
        arrays = [raw(sample) for sample in batch]
    shapes, dtypes = {array.shape for array in arrays}, {array.dtype for array in arrays}
    if len(shapes) != 1:
        raise ValueError(f"[default_collate] got samples of shapes {sorted(shapes)}; expected equal shapes")
    if any(dtype.kind not in "biuf" for dtype in dtypes):
        raise TypeError(f"[default_collate] got samples {batch[:3]!r}; expected numbers in all or in none")
    if arrays[0].ndim == 0:
        return np.stack(arrays) if len(dtypes) > 1 else np.fromiter(arrays, dtypes.pop(), len(arrays))
    return np.concatenate(arrays).reshape(len(arrays), *arrays[0].shape)


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
        values = [default_convert(value) for value in data]
        return type(data)(*values) if hasattr(data, "_fields") else tuple(values)
    return [default_convert(value) for value in data] if isinstance(data, list) else data


own_errors(globals(), "default_collate default_convert", __all__)
examples(globals())
