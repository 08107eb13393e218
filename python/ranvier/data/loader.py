"""Datasets and the loader that walks through them in batches, under PyTorch's names.

Arrays are sliced, shuffled and gathered whole: a batch of a TensorDataset (or of a Subset of one) costs one
copy per array, however many samples it has. A Dataset of one's own works too, sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Tensor, random, wrap
from ranvier.data.order import Seed, permutation

__all__ = ["DataLoader", "Dataset", "Subset", "TensorDataset", "batches", "default_collate"]

T = TypeVar("T")
Array = npt.NDArray[Any]
Indices = npt.NDArray[np.intp]


class Dataset(Generic[T]):
    """A collection of samples: subclasses give `__getitem__(index)` and `__len__()`."""

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"[{type(self).__name__}] expected a __getitem__ method")

    def __len__(self) -> int:
        raise NotImplementedError(f"[{type(self).__name__}] expected a __len__ method")


class TensorDataset(Dataset[Any]):
    """Samples along axis 0 of one or more arrays or Tensors of equal length.

    `dataset[i]` is a tuple of Tensors, one per array.

    Raises:
        ValueError: no arrays, a number instead of an array, or arrays of unequal length.

    >>> import numpy as np
    >>> from ranvier.data import TensorDataset
    >>> dataset = TensorDataset(np.arange(6.0).reshape(3, 2), np.array([0, 1, 1]))
    >>> len(dataset), dataset[1][1].item()
    (3, 1)
    """

    def __init__(self, *tensors: Any) -> None:
        arrays = tuple(_raw(tensor) for tensor in tensors)
        if not arrays:
            raise ValueError("[TensorDataset] got no arrays; expected at least one")
        if any(array.ndim == 0 for array in arrays):
            raise ValueError("[TensorDataset] got a number; expected arrays of samples")
        if len({len(array) for array in arrays}) != 1:
            raise ValueError(
                f"[TensorDataset] got arrays of {[len(array) for array in arrays]} samples; "
                "expected equal lengths"
            )
        self.tensors = tensors
        self._arrays = arrays

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(wrap(np.asarray(array[index])) for array in self._arrays)

    def __len__(self) -> int:
        return len(self._arrays[0])


class Subset(Dataset[T]):
    """The samples of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int] | Indices) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.intp)

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, (int, np.integer)):
            return self.dataset[int(self.indices[index])]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class DataLoader:
    """Iterates over a dataset in batches, as `torch.utils.data.DataLoader`.

    Every pass over the loader is an epoch; with `shuffle` each has an order of its own, drawn from the
    library's generator (`rv.manual_seed`) and so the same from run to run, whatever the number of threads.

    Args:
        dataset: a TensorDataset, a Subset, or any object with `__getitem__` and `__len__`.
        batch_size: samples per batch.
        shuffle: a new random order for each epoch.
        drop_last: leave out a last batch that is not full.
        collate_fn: makes a batch of a list of samples; `default_collate` stacks arrays, numbers and Tensors.
        generator: an integer or generator to draw orders from instead of the library's.
        num_workers, pin_memory: accepted for PyTorch programs; batches are made by the calling thread.

    Yields:
        A list of Tensors, or whatever `collate_fn` returns.

    Raises:
        ValueError: batch_size below 1.
        TypeError: a dataset without length or samples.

    >>> import numpy as np
    >>> from ranvier.data import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5.0)), batch_size=2)
    >>> [batch.tolist() for (batch,) in loader]
    [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        generator: Seed = None,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise TypeError(
                f"[DataLoader] got a dataset of type {type(dataset).__name__}; "
                "expected __getitem__ and __len__"
            )
        self.dataset = dataset
        self.batch_size = positive("DataLoader", "batch_size", batch_size)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.collate_fn = collate_fn
        # an integer seeds a stream, so that the second epoch differs from the first
        self.generator = (
            np.random.Generator(np.random.Philox(generator)) if isinstance(generator, int) else generator
        )
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self._start: Any = None  # the random state that the pass in progress began with; None between passes
        self._done = 0  # batches of it that were handed out
        self._taken_up: dict[str, Any] | None = None

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        state, self._taken_up = self._taken_up, None
        now = self._random_state()
        if state is None:
            self._start, self._done = now, 0
            return self._pass(self._order(), 0)
        self._set_random_state(state["start"])
        order = self._order()
        self._set_random_state(now)
        return self._pass(order, self._done)

    def state_dict(self) -> dict[str, Any]:
        """Where the pass over the data stands, so that another process can take it up.

        A pass draws what is random about it when it begins: its order, and a key from which anything that is
        drawn for a batch later follows together with the number of the batch. So a pass is taken up by
        beginning it anew from the same random state and leaving out the batches that were handed out; those
        that a thread has made ahead do not count.

        Returns:
            `{"batch": batches handed out (0 between passes), "start": random state at the beginning of the
            pass (None between passes), "generator": state of a generator of the loader's own, else None}`:
            plain values, for JSON.
        """
        own = None if self.generator is None else self._random_state()
        return {"batch": self._done, "start": self._start, "generator": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the pass of a state_dict: the next `iter` gives the batches that are left of it.

        The random state of the library itself is not touched: see `rv.set_rng_state`.
        """
        if self.generator is not None:
            self._set_random_state(state["generator"])
        self._start, self._done = state["start"], int(state["batch"])
        self._taken_up = None if self._start is None else dict(state)

    def _random_state(self) -> dict[str, Any]:
        if self.generator is None:
            return random.get_rng_state()
        return random._plain(self.generator.bit_generator.state)

    def _set_random_state(self, state: dict[str, Any]) -> None:
        if self.generator is None:
            random.set_rng_state(state)
        else:
            self.generator.bit_generator.state = random._arrays(state, np)

    def _order(self) -> Indices | None:
        return permutation(len(self.dataset), self.generator) if self.shuffle else None

    def _pass(self, order: Indices | None, first: int) -> Iterator[Any]:
        """The batches of one pass from number `first` on."""
        start = self._start
        for done, batch in enumerate(self._batches(order, first * self.batch_size), first + 1):
            if self._start is start:  # else another pass has begun since
                self._done = done
            yield batch
        if self._start is start:
            self._start, self._done = None, 0

    def _batches(self, order: Indices | None, start: int) -> Iterator[Any]:
        n = len(self.dataset)
        whole = None if self.collate_fn else _whole_arrays(self.dataset)
        stop = len(self) * self.batch_size if self.drop_last else n
        if whole is not None:
            arrays, indices = whole
            if indices is not None:
                order = indices if order is None else indices[order]
            for parts in batches(arrays, self.batch_size, order, start, stop):
                # a slice is a view of the dataset: copied, so that a batch changed in place leaves it alone
                yield [wrap(part.copy() if order is None else part) for part in parts]
            return
        collate = self.collate_fn or default_collate
        order = np.arange(n) if order is None else order
        for first in range(start, stop, self.batch_size):
            yield collate([self.dataset[int(i)] for i in order[first : min(first + self.batch_size, stop)]])


def batches(
    arrays: Sequence[Array],
    batch_size: int,
    order: Indices | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[tuple[Array, ...]]:
    """Batches of arrays: views of slices in their own order, or copies gathered in the given order.

    From sample number `start` on, ending before `stop`; a last batch may be smaller.
    """
    stop = len(arrays[0]) if stop is None else stop
    for first in range(start, stop, batch_size):
        here = slice(first, min(first + batch_size, stop))
        if order is None:
            yield tuple(array[here] for array in arrays)
        else:
            chosen = order[here]
            yield tuple(_gather(array, chosen) for array in arrays)


def _gather(array: Array, chosen: Indices) -> Array:
    # take is twice as fast as indexing, but copies the whole of an array that is not contiguous first
    if array.flags.c_contiguous:
        return array.take(chosen, axis=0)
    gathered: Array = array[chosen]
    return gathered


def positive(name: str, argument: str, value: Any) -> int:
    """`value` as an int of at least 1, else the error of `name` about `argument`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"[{name}] got {argument} {value!r}; expected an integer")
    if value < 1:
        raise ValueError(f"[{name}] got {argument} {value}; expected at least 1")
    return int(value)


def _raw(value: Any) -> Array:
    return value._array if isinstance(value, Tensor) else np.asarray(value)


def _whole_arrays(dataset: Any) -> tuple[tuple[Array, ...], Indices | None] | None:
    """The arrays behind a TensorDataset or Subsets of one, and the indices that are left of them.

    Exactly these classes: a subclass may have a `__getitem__` of its own, which has to be called.
    """
    indices: Indices | None = None
    while type(dataset) is Subset:
        indices = dataset.indices if indices is None else dataset.indices[indices]
        dataset = dataset.dataset
    return (dataset._arrays, indices) if type(dataset) is TensorDataset else None


def default_collate(samples: list[Any]) -> Any:
    """A batch of samples: numbers, arrays and Tensors stacked to a Tensor; tuples and dicts by their parts.

    Raises:
        ValueError: arrays of different shapes.

    >>> from ranvier.data import default_collate
    >>> x, y = default_collate([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    >>> [part.tolist() for part in x], y.tolist()
    ([[1.0, 3.0], [2.0, 4.0]], [0, 1])
    """
    first = samples[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic, int, float, bool)):
        arrays = [_raw(sample) for sample in samples]
        if len({array.shape for array in arrays}) != 1:
            shapes = sorted({array.shape for array in arrays})
            raise ValueError(f"[default_collate] got samples of shapes {shapes}; expected equal shapes")
        return wrap(np.stack(arrays))
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        return [default_collate(list(parts)) for parts in zip(*samples, strict=True)]
    return samples
