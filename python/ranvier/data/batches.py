"""How batches are made: from the indices of a sampler, with random numbers that belong to the pass.

Each batch has a stream of its own, seeded by the pass's key and its number, so that a batch can be made in
another thread, or again after a resume, with the same numbers. `ahead` makes batches in a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor, wrap
from ranvier.data.checks import raw
from ranvier.data.collate import default_collate, default_collate_fn_map, default_convert
from ranvier.data.dataset import Indices, whole_arrays
from ranvier.data.sampler import SequentialSampler
from ranvier.ops.making import philox, random
from ranvier.tensors.memory import Array, gather

if TYPE_CHECKING:
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")
_INTEGERS = (int, np.integer)

Chosen: TypeAlias = Any
"""What a batch is made of: the indices of its samples (an array, or what a user's sampler yields), one index
where samples are yielded alone, or the samples themselves of a stream."""


def drawn_with(key: int, indices: Iterable[Any]) -> Iterator[Any]:
    """Yields `indices`; random numbers that they draw come from a stream of the pass with this key."""
    stream = random.Generator().manual_seed(philox.mixed(key, 0))
    end = object()
    with random.using(stream):
        rest = iter(indices)
    while True:
        with random.using(stream):
            chosen = next(rest, end)
        if chosen is end:
            return
        yield chosen


def parts(samples: Iterable[Any], size: int | None, drop_last: bool) -> Iterator[Any]:
    """Lists of `size` samples, the last one perhaps shorter; single samples without a size."""
    if size is None:
        yield from samples
        return
    rest = iter(samples)
    part = list(islice(rest, size))
    while len(part) == size:
        yield part
        part = list(islice(rest, size))
    if part and not drop_last:
        yield part


class LoaderSettings(Protocol):
    """The attributes of a DataLoader by which its batches are made."""

    sampler: Any
    collate_fn: Any
    augment: Any
    transform: Any
    _stream: bool  # samples come one after the other, by no index

    @property
    def _auto_collation(self) -> bool: ...


class Batches:
    """Makes the batches of one pass. It has no reference to the loader, which a thread would keep alive.

    Args:
        loader: the loader, whose settings are read once.
        key: the key of the pass; None if random numbers come from the generator that is in force.
        dataset: that of the loader, or a worker's copy of it.

    Attributes:
        whole: the arrays of a TensorDataset and the indices of a Subset of it (`whole_arrays`), from which a
            batch is copied at once; None if samples are read one by one.
        gathers_only: whether batches are only rows of these arrays, so that no code of the program runs.
    """

    def __init__(self, loader: LoaderSettings, key: int | None, dataset: Any) -> None:
        self.key = key
        self.dataset = dataset
        self.stream = loader._stream
        self.collate = loader.collate_fn
        self.whole = None
        uses_defaults = self.collate in (default_collate, default_convert) and not default_collate_fn_map
        if uses_defaults and not self.stream:
            self.whole = whole_arrays(dataset)
        self.in_order = type(loader.sampler) is SequentialSampler  # batches of slices
        self.single = not loader._auto_collation
        self.several = getattr(dataset, "__getitems__", None)  # many samples by one call
        self.augment = loader.augment
        self.transform = loader.transform
        changes = bool(self.augment or self.transform)
        self.gathers_only = self.whole is not None and not (self.single or changes)

    def __call__(self, numbered: tuple[int, Chosen]) -> Any:
        """The batch of (its number in the pass, its indices)."""
        number, chosen = numbered
        # No random numbers are needed, or they come from the generator that the program uses.
        if self.gathers_only or self.key is None:
            return self.made(chosen)
        stream = random.Generator().manual_seed(philox.mixed(self.key, number + 1))
        with random.using(stream):
            return self.made(chosen)

    def made(self, chosen: Chosen) -> Any:
        """The batch of these indices, or of these samples of a stream."""
        try:
            batch = self._collated(chosen)
        except (TypeError, ValueError):
            if not self.stream:
                self._require_indices(chosen)  # The reason may be that the sampler yields no indices.
            raise
        if self.augment or self.transform:
            return self._changed(batch)
        return batch

    def _require_indices(self, chosen: Chosen) -> None:
        """Raise TypeError if a sampler has yielded something that cannot be indices of these samples."""
        is_batch = isinstance(chosen, Iterable)
        if not is_batch and not self.single:
            raise TypeError(f"[DataLoader] got {chosen!r} from the sampler; expected indices") from None
        needs_integers = self.whole is not None or isinstance(self.dataset, (list, tuple))
        if not needs_integers:
            return
        indices = [chosen] if self.single else chosen
        for index in indices:
            if not hasattr(index, "__index__"):
                raise TypeError(f"[DataLoader] got {index!r} from the sampler; expected indices") from None

    def _collated(self, chosen: Chosen) -> Any:
        """The batch, as collate_fn makes it."""
        if self.stream:  # the samples themselves
            return self.collate(chosen)
        if self.single:
            # A batch sampler gives the index as an array.
            if isinstance(chosen, np.ndarray):
                chosen = chosen.tolist()
            return self.collate(self._sample(chosen))
        if self.whole is not None:
            arrays, indices = self.whole
            return self._rows(arrays, indices, chosen)
        if self.several is not None:
            many = chosen.tolist() if isinstance(chosen, np.ndarray) else list(chosen)
            return self.collate(self.several(many))
        return self.collate([self._sample(i) for i in chosen])

    def _rows(self, arrays: tuple[Array, ...], indices: Indices | None, chosen: Chosen) -> list[Tensor]:
        """Rows of the arrays of a TensorDataset; indices: those of a Subset, whose entries are chosen."""
        if self.in_order and indices is None and len(chosen):
            rows = slice(int(chosen[0]), int(chosen[-1]) + 1)
            # copies, so that a change of a batch in place does not change the dataset
            return [wrap(array[rows].copy()) for array in arrays]
        if len(chosen) == 0:
            chosen = np.empty(0, np.intp)
        chosen = np.asarray(chosen)
        casting = "safe" if chosen.dtype.kind == "f" else "unsafe"  # "safe" refuses floats
        chosen = chosen.astype(np.intp, casting=casting, copy=False)
        if indices is not None:
            chosen = indices[chosen]
        return [wrap(gather(array, chosen)) for array in arrays]

    def _sample(self, index: object) -> Any:
        """The sample at an index; NumPy's integers are given as Python's."""
        if isinstance(index, _INTEGERS):
            return self.dataset[int(index)]
        return self.dataset[index]

    def _changed(self, batch: Any) -> Any:
        """The batch after `augment` and `transform`, which get its first array (and the labels to mix)."""
        fields = list(batch) if isinstance(batch, (list, tuple)) else [batch]
        if not fields or not isinstance(fields[0], (Tensor, np.ndarray)):
            raise TypeError(
                f"[DataLoader] got a batch of type {type(batch).__name__} to augment or transform; "
                "expected an array or a list that begins with one"
            )
        if self.augment is not None:
            if not getattr(self.augment, "mixes_labels", False):
                fields[0] = self.augment(raw(fields[0]))
            elif len(fields) < 2:
                raise ValueError("[DataLoader] got batches without labels to mix; expected (x, y)")
            else:
                fields[:2] = self.augment(raw(fields[0]), raw(fields[1]))
        if self.transform is not None:
            fields[0] = self.transform(raw(fields[0]))
        for i, field in enumerate(fields):
            if not isinstance(field, Tensor):
                fields[i] = default_convert(field)
        if isinstance(batch, (list, tuple)):
            return fields
        return fields[0]


def ahead(make: Callable[[A], B], arguments: Iterable[A], depth: int) -> Generator[B, None, None]:
    """`map(make, arguments)`, in order, with up to `depth` results computed ahead in a thread.

    The caller's thread reads `arguments`. An error of `make` is raised when its result is due, with the
    thread's traceback. The thread ends with the iterator: at its end, when it is closed, or deleted. Kernels
    in `make` run on that thread alone and never occupy the team of the program's kernels.
    """
    from concurrent.futures import ThreadPoolExecutor  # its import takes 10 ms

    rest: Iterator[Any] = iter(arguments)
    pending: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(1, "ranvier-prefetch", initializer=_core.set_alone, initargs=(True,))
    try:
        pending.extend(pool.submit(make, argument) for argument in islice(rest, depth))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(make, argument) for argument in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
