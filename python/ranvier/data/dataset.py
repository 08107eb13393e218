"""Collections of samples, with PyTorch's names."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.data.checks import raw
from ranvier.ops.making.creation import as_tensor
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset",
    "TensorDataset",
]  # fmt: skip

T = TypeVar("T")
Indices = np.ndarray[Any, np.dtype[np.intp]]


class Indexed(Protocol):
    """Samples by index: a Dataset, a list, an array. Most have a length, too."""

    def __getitem__(self, index: Any, /) -> Any: ...


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

    def __add__(self, other: Dataset[T]) -> ConcatDataset[T]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples one after the other, as from a stream: subclasses define `__iter__()`, and `__len__()` if they
    know it; `a + b` chains.

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

    def __add__(self, other: Dataset[T]) -> ChainDataset[T]:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[Any]):
    """Samples along axis 0 of one or more arrays or Tensors of equal length.

    `dataset[i]` is a tuple of Tensors, one per array.

    Raises ValueError: no arrays, a number instead of an array, or arrays of unequal length.

    >>> import ranvier as rv
    >>> rv.data.TensorDataset(rv.arange(6.0).reshape(3, 2), rv.tensor([0, 1, 1]))[1]
    (tensor([2., 3.]), tensor(1))
    """

    def __init__(self, *tensors: Tensor | npt.ArrayLike) -> None:
        arrays: list[Any] = [*tensors]
        for i, values in enumerate(arrays):
            if not isinstance(values, (Tensor, np.ndarray)):
                arrays[i] = raw(values)
        self.tensors = tuple(arrays)
        length_of("TensorDataset", self._arrays)

    @property
    def _arrays(self) -> tuple[Array, ...]:
        return tuple(map(raw, self.tensors))

    @property
    def _has_gradients(self) -> bool:
        return any(isinstance(t, Tensor) and t.requires_grad for t in self.tensors)

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        if self._has_gradients:
            return tuple(as_tensor(t)[index] for t in self.tensors)
        return tuple(wrap(np.asarray(array[index])) for array in self._arrays)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[T]):
    """The samples of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int] | Indices) -> None:
        self.dataset = dataset
        np.asarray(indices, np.intp)  # This is called for the errors that it raises.
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, (int, np.integer)):
            return self.dataset[int(self.indices[index])]  # type: ignore[index]
        chosen = np.asarray(self.indices, np.intp)[index]
        if isinstance(self.indices, list):
            return self.dataset[chosen.tolist()]
        return self.dataset[chosen]

    def __getitems__(self, indices: Sequence[int]) -> list[T]:
        """Returns several samples in one call; used by DataLoader."""
        if type(self).__getitem__ is not Subset.__getitem__:
            return [self[i] for i in indices]
        return _several(self.dataset, [int(self.indices[i]) for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T]):
    """The samples of several datasets in sequence.

    Raises ValueError: no datasets; IndexError: an index beyond the last sample; TypeError: a stream.

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
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise TypeError(
                "[ConcatDataset] got an IterableDataset; expected datasets with an index: use ChainDataset"
            )
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence: Iterable[Any]) -> list[int]:
        """The numbers of samples up to the end of each dataset."""
        return list(accumulate(map(len, sequence)))

    def __getitem__(self, index: Any) -> T:
        n = len(self)
        at = int(index)
        if not -n <= at < n:
            raise IndexError(f"[ConcatDataset] got index {at} for {n} samples")
        at %= n  # an index from the end
        which = bisect_right(self.cumulative_sizes, at)
        if which > 0:
            at -= self.cumulative_sizes[which - 1]  # the index within its dataset
        return self.datasets[which][at]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T]):
    """The samples of several streams in sequence.

    >>> import ranvier as rv
    >>> list(rv.data.ChainDataset([]))
    []
    """

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = datasets

    def _streams(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise TypeError(f"[ChainDataset] got a {type(dataset).__name__}; expected IterableDatasets")
            yield dataset

    def __iter__(self) -> Iterator[T]:
        for dataset in self._streams():
            yield from dataset

    def __len__(self) -> int:
        return sum(map(len, self._streams()))


class StackDataset(Dataset[Any]):
    """The samples of several datasets side by side: a tuple of them, or a dict of those with names.

    Raises ValueError: no datasets, some with and some without names, or unequal lengths.

    >>> import ranvier as rv
    >>> rv.data.StackDataset(image=[1, 2], text=["a", "b"])[1]
    {'image': 2, 'text': 'b'}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "[StackDataset] got no datasets, or some without names; expected all with or without"
            )
        self.datasets: Any = args or kwargs
        lengths = [len(dataset) for dataset in args or kwargs.values()]
        if len(set(lengths)) != 1:
            raise ValueError(f"[StackDataset] got datasets of {lengths} samples; expected equal lengths")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Returns several samples in one call; used by DataLoader."""
        if not isinstance(self.datasets, dict):
            columns = [_several(dataset, indices) for dataset in self.datasets]
            return list(zip(*columns, strict=True))
        columns = [_several(dataset, indices) for dataset in self.datasets.values()]
        rows = zip(*columns, strict=True)
        return [dict(zip(self.datasets, row, strict=True)) for row in rows]

    def __len__(self) -> int:
        return self._length


def _several(dataset: Indexed, indices: Sequence[int]) -> list[Any]:
    """The samples at several indices, by one call where the dataset has `__getitems__`."""
    several = getattr(dataset, "__getitems__", None)
    if several is None:
        return [dataset[i] for i in indices]
    samples: list[Any] = several(indices)
    if len(samples) != len(indices):
        raise ValueError(f"[{type(dataset).__name__}] gave {len(samples)} samples; expected {len(indices)}")
    return samples


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


def whole_arrays(dataset: Any) -> tuple[tuple[Array, ...], Indices | None] | None:
    """The arrays of a TensorDataset, and None; or of a Subset of one, or a Subset of such a Subset, and the
    indices of the samples in these arrays.

    With them a DataLoader copies the rows of a batch at once (`Batches._rows`), and its workers share the
    arrays (`workers.started`). None for any other data set. Only exactly these classes count, since the
    `__getitem__` of a subclass must be called. A TensorDataset with Tensors that require gradients does not
    count either.
    """
    indices: Indices | None = None
    while type(dataset) is Subset:
        outer = np.asarray(dataset.indices, np.intp)
        indices = outer if indices is None else outer[indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or dataset._has_gradients:
        return None
    return dataset._arrays, indices
