"""How batches are made: from the indices of a sampler, with random numbers that belong to the pass.

Each batch has a stream of its own, seeded by the pass's key and its number, so that a batch can be made in
another thread, or again after a resume, with the same numbers. `ahead` makes batches in a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor, wrap
from ranvier.data.collate import default_collate, default_collate_fn_map, default_convert
from ranvier.data.dataset import Indices, raw, whole_arrays
from ranvier.data.sampler import SequentialSampler
from ranvier.ops.making import philox, random
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")
_WHOLE = (int, np.integer)


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


class Batches:
    """Makes the batches of one pass. It has no reference to the loader, which a thread would keep alive.

    key: the key of the pass; None if random numbers come from the generator that is in force.
    """

    def __init__(self, loader: Any, key: int | None, dataset: Any) -> None:
        self.key = key
        self.dataset = dataset
        self.stream = loader._stream
        self.collate = loader.collate_fn
        usual = self.collate in (default_collate, default_convert) and not self.stream
        if usual and not default_collate_fn_map:
            self.whole = whole_arrays(dataset)
        else:
            self.whole = None
        self.in_order = type(loader.sampler) is SequentialSampler  # batches of slices
        self.single = not loader._auto_collation
        self.several = getattr(dataset, "__getitems__", None)  # many samples by one call
        self.augment = loader.augment
        self.transform = loader.transform
        self.gathers_only = self.whole is not None and not (self.single or self.augment or self.transform)

    def __call__(self, numbered: tuple[int, Any]) -> Any:
        number, chosen = numbered
        # No random numbers are needed, or they come from the generator that the program uses.
        if self.gathers_only or self.key is None:
            return self.made(chosen)
        with random.using(random.Generator().manual_seed(philox.mixed(self.key, number + 1))):
            return self.made(chosen)

    def made(self, chosen: Any) -> Any:
        """The batch of these indices, or of these samples of a stream."""
        batch = self._of(chosen)
        if self.augment or self.transform:
            return self._changed(batch)
        return batch

    def _of(self, chosen: Any) -> Any:
        try:
            return self._samples(chosen)
        except (TypeError, ValueError):
            numbered = self.whole is not None or isinstance(self.dataset, (list, tuple))
            if isinstance(chosen, Iterable) and not self.single:
                batch = chosen
            else:
                batch = [chosen]
            if self.stream:
                raise
            for i in batch:
                if (numbered and not hasattr(i, "__index__")) or (batch is not chosen and not self.single):
                    raise TypeError(f"[DataLoader] got {i!r} from the sampler; expected indices") from None
            raise

    def _samples(self, chosen: Any) -> Any:
        if self.stream:  # the samples themselves
            return self.collate(chosen)
        if self.single:
            # A batch sampler gives the index as an array.
            if isinstance(chosen, np.ndarray):
                chosen = chosen.tolist()
            return self.collate(self._sample(chosen))
        if self.whole is None:
            if self.several is not None:
                if isinstance(chosen, np.ndarray):
                    many = chosen.tolist()
                else:
                    many = list(chosen)
                return self.collate(self.several(many))
            return self.collate([self._sample(i) for i in chosen])
        arrays, indices = self.whole
        if self.in_order and indices is None and len(chosen):
            here = slice(int(chosen[0]), int(chosen[-1]) + 1)
            # copies, so that a change of a batch in place does not change the dataset
            return [wrap(array[here].copy()) for array in arrays]
        if len(chosen) == 0:
            chosen = np.empty(0, np.intp)
        chosen = np.asarray(chosen)
        casting = "safe" if chosen.dtype.kind == "f" else "unsafe"
        chosen = chosen.astype(np.intp, casting=casting, copy=False)
        if indices is not None:
            chosen = indices[chosen]
        return [wrap(gather(array, chosen)) for array in arrays]

    def _sample(self, index: object) -> Any:
        """The sample at an index; NumPy's integers are given as Python's."""
        if isinstance(index, _WHOLE):
            return self.dataset[int(index)]
        return self.dataset[index]

    def _changed(self, batch: Any) -> Any:
        fields = list(batch) if isinstance(batch, (list, tuple)) else [batch]
        if not fields or not isinstance(fields[0], (Tensor, np.ndarray)):
            raise TypeError(
                f"[DataLoader] got a batch of type {type(batch).__name__} to augment or transform; "
                "expected an array or a list that begins with one"
            )
        if self.augment is not None:
            mixed = 2 if getattr(self.augment, "mixes_labels", False) else 1
            if len(fields) < mixed:
                raise ValueError("[DataLoader] got batches without labels to mix; expected (x, y)")
            result = self.augment(*(raw(field) for field in fields[:mixed]))
            fields[:mixed] = result if mixed == 2 else [result]
        if self.transform is not None:
            fields[0] = self.transform(raw(fields[0]))
        for i, field in enumerate(fields):
            if not isinstance(field, Tensor):
                fields[i] = default_convert(field)
        if isinstance(batch, (list, tuple)):
            return fields
        return fields[0]


def gather(array: Array, chosen: Indices) -> Array:
    # take is twice as fast as indexing, but first copies an array that is not contiguous
    if array.flags.c_contiguous:
        return array.take(chosen, axis=0)
    return array[chosen]


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
