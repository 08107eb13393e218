"""DataLoader, which iterates over a dataset in batches.

A batch of a TensorDataset (or of a Subset of one) is one copy per array. Other Datasets are read sample by
sample.

The random numbers of a pass over the data depend on one key, drawn at its beginning: the order on the key,
the numbers drawn for a batch (augmentation, noise of a dataset) on the key and the number of the batch. So a
batch is the same whether it is made when needed, ahead of time in a thread, or in a resumed process.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ranvier.extension as extension
from ranvier.data.batches import Batches, ahead, drawn_with, parts
from ranvier.data.collate import default_collate, default_convert
from ranvier.data.dataset import Indexed, IterableDataset
from ranvier.data.sampler import (
    BatchSampler,
    OrderSampler,
    RandomSampler,
    Seed,
    SequentialSampler,
    require_indices,
    stream_of,
)
from ranvier.data.workers import Turns, Worker, started
from ranvier.ops.making import random
from ranvier.ops.making.creation import empty
from ranvier.tensors.dtypes import int64
from ranvier.tensors.errors import count, flag, number, one_of

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = ["DataLoader"]

T = TypeVar("T")
# attributes that cannot be set once the loader is made
_FIXED = (
    "dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "drop_last", "persistent_workers",
)  # fmt: skip


class _DatasetKind:
    """PyTorch's codes for a data set that is indexed, and for one that is iterated over."""

    Map = 0
    Iterable = 1


class DataLoader(Generic[T]):
    """Iterates over a dataset in batches, as `torch.utils.data.DataLoader`.

    Every pass over the loader is an epoch. With `shuffle` each epoch has a new order, drawn from the
    library's generator (`rv.manual_seed`), which does not depend on the number of threads.

    Args:
        dataset: a TensorDataset, a Subset, or any object with `__getitem__` and `__len__`; or an
            IterableDataset, which gives the order itself.
        batch_size: samples per batch; None yields single samples.
        shuffle: a new random order for each epoch.
        sampler: the order: a sampler of `ranvier.data` or another iterable of indices.
        batch_sampler: yields the indices of each batch, in place of batch_size and sampler.
        collate_fn: makes a batch from a list of samples; `default_collate` stacks arrays, numbers and
            Tensors.
        drop_last: leave out a last batch that is not full.
        generator: an integer or generator to draw from instead of the library's.
        prefetch: the number of batches that a thread makes ahead; batches and order do not change. Its errors
            are raised when the batch is due. It costs about 20 us per batch, so it pays if making a batch
            takes longer (images are read or augmented), not for arrays.
        augment: from `rv.data.augment`, or a function that replaces the first array of each batch; one that
            mixes labels (Mixup) replaces the first two arrays.
        transform: a function of the first array of each batch, after `augment` (`rv.data.Normalize` ...).
        num_workers: the number of workers, which make batches in turn, each with its copy of the dataset and
            its random numbers. They run one after the other in this process, without `prefetch`;
            `rv.utils.data.get_worker_info()` tells which one runs. Batches that are only rows of arrays (of
            a TensorDataset, with the default `collate_fn`, without `augment`, `transform` and
            `worker_init_fn`) are made without workers: they would be the same.
        worker_init_fn: called in each worker with its number before its first batch.
        persistent_workers: each pass has the same workers.
        timeout: the seconds that a worker has for a batch.
        prefetch_factor: the number of indices for each worker that are drawn ahead.
        pin_memory, pin_memory_device, multiprocessing_context, in_order: PyTorch's; kept without effect.

    `dataset`, `batch_size`, `shuffle`, `sampler`, `batch_sampler`, `drop_last` and `persistent_workers`
    cannot be set afterwards.

    Yields:
        A list of Tensors, or whatever `collate_fn` returns.

    Raises ValueError: batch_size below 1, or options that exclude each other.
    Raises TypeError: a dataset without length or samples.

    >>> import numpy as np
    >>> from ranvier.data import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5.0)), batch_size=2, prefetch=1)
    >>> [batch.tolist() for (batch,) in loader]
    [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """

    # True if the random numbers of a pass depend on its key alone. With PyTorch's generator in place of the
    # library's (torch/functions/twister.py, which sets False here), they come from the generator, as in
    # PyTorch.
    _keyed = True

    def __init__(
        self,
        dataset: Indexed | Iterable[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], object] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        generator: Seed = None,
        *,
        prefetch: int = 0,
        augment: Callable[..., Any] | None = None,
        transform: Callable[[Any], Any] | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self._stream = isinstance(dataset, IterableDataset)  # samples come one after the other, by no index
        self._dataset_kind = _DatasetKind.Iterable if self._stream else _DatasetKind.Map
        _require_order(self._stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self._check_workers(
            num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context
        )
        functions = {"collate_fn": collate_fn, "augment": augment, "transform": transform}
        for name, function in functions.items():
            if not (function is None or callable(function)):
                type_name = type(function).__name__
                raise TypeError(f"[DataLoader] got {name} of type {type_name}; expected a function")
        if getattr(dataset, "ndim", 1) == 0:
            raise TypeError("[DataLoader] got a dataset of no dimension; expected samples")
        self.dataset: Any = dataset
        if batch_size is None or batch_sampler:
            self.batch_size = None
        else:
            self.batch_size = count("DataLoader", "batch_size", batch_size)
        self.drop_last = bool(drop_last)
        single_samples = batch_size is None and batch_sampler is None
        default_fn = default_convert if single_samples else default_collate
        self.collate_fn = collate_fn or default_fn
        self.augment = augment
        self.transform = transform
        self.prefetch = count("DataLoader", "prefetch", prefetch) if prefetch else 0
        if prefetch and num_workers:
            raise ValueError(
                f"[DataLoader] got prefetch {prefetch} and num_workers {num_workers}; expected one of them: "
                "workers make their batches in turn"
            )
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.in_order = in_order
        if isinstance(multiprocessing_context, str):
            import multiprocessing  # This import takes a millisecond.

            multiprocessing_context = multiprocessing.get_context(multiprocessing_context)
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self._workers: list[Worker] | None = None  # the persistent workers, once a pass has started them
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        # An integer seeds a stream of numbers, so that the second epoch differs from the first.
        self.generator = stream_of(generator, "DataLoader")
        indices = sampler
        batches = batch_sampler
        if batch_sampler is not None:
            require_indices("DataLoader", "batch_sampler", batch_sampler)
            indices = getattr(batch_sampler, "sampler", None)
        elif sampler is not None:
            require_indices("DataLoader", "sampler", sampler)
        elif not self._stream:
            indices = self._made_sampler(bool(shuffle))
        if self.batch_size is not None and not self._stream:
            batches = BatchSampler(indices, self.batch_size, drop_last)  # type: ignore[arg-type]
        self.sampler = indices
        self.batch_sampler = batches
        self._start: int | None = None  # the key of the pass in progress; None between passes
        self._done = 0  # how many batches of that pass were yielded
        self._resumed = False  # True if the next `iter` continues a loaded pass

    def _made_sampler(self, shuffle: bool) -> Iterable[int]:
        """The order of a loader without a sampler; it refuses a dataset without length."""
        if shuffle:
            return RandomSampler(self.dataset, generator=self.generator)
        return SequentialSampler(self.dataset)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and "_start" in self.__dict__:
            raise ValueError(f"[DataLoader] got {name} of a loader that is made; expected a new DataLoader")
        if name == "generator" and "_start" in self.__dict__:
            value = stream_of(value, "DataLoader")
            draws_from = getattr(self.sampler, "generator", None)
            if draws_from is self.generator and isinstance(self.sampler, RandomSampler):
                self.sampler.generator = value  # The loader has made the sampler, for shuffle=True.
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if self._stream:  # TypeError where the dataset has no __len__
            n = len(self.dataset)
            size = self.batch_size or 1
            if self.drop_last:
                return n // size
            return -(-n // size)  # n / size, rounded up
        return len(self._index_sampler)

    def __iter__(self) -> Iterator[Any]:
        if not self._resumed:
            self._start = self._draw()
            self._done = 0
        self._resumed = False
        return self._get_iterator()

    def _get_iterator(self) -> Iterator[Any]:
        """A pass over the data; PyTorch's name, which its programs override."""
        if self._start is None:
            self._start = self._draw()
            self._done = 0
        # The library's samplers need the length of their data source, other samplers have none to check: the
        # empty tuple has a length, so it passes.
        source = getattr(self.sampler, "data_source", ())
        if not (self._stream or (hasattr(self.dataset, "__getitem__") and hasattr(source, "__len__"))):
            kind = type(self.dataset).__name__
            raise TypeError(f"[DataLoader] got a dataset of type {kind}; expected __getitem__ and __len__")
        return _BaseDataLoaderIter(self, self._start, self._done)

    @property
    def _auto_collation(self) -> bool:
        """True if samples are put together to batches; else each one is yielded alone."""
        return self.batch_sampler is not None or self.batch_size is not None

    @property
    def _index_sampler(self) -> Any:
        """The sampler that yields the indices of each batch, or of each sample."""
        if self.batch_sampler is None:
            return self.sampler
        return self.batch_sampler

    # --- the position in a pass

    def state_dict(self) -> dict[str, Any]:
        """The position in the pass over the data, with which another process can continue it.

        Returns:
            `{"batch": yielded batches (0 between passes), "start": key of the pass (None between passes),
            "generator", "sampler": state of the generator of the loader and of the sampler, or None}`: plain
            values, for JSON. Batches that a thread has made ahead do not count as yielded.
        """
        generator, sampler_generator = self._generators()
        generator_state = None if generator is None else generator.plain_state()
        sampler_state = None if sampler_generator is None else sampler_generator.plain_state()
        return {
            "batch": self._done,
            "start": self._start,
            "generator": generator_state,
            "sampler": sampler_state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the pass of a state_dict: the next `iter` yields its remaining batches.

        The random state of the library does not change: see `rv.set_rng_state`. A sampler of another library
        starts again and is fast-forwarded; its own random state must be restored by the caller.
        """
        generator, sampler_generator = self._generators()
        if generator is not None and state["generator"] is not None:
            generator.set_state(state["generator"])
        if sampler_generator is not None and state.get("sampler") is not None:
            sampler_generator.set_state(state["sampler"])
        if not self._keyed and state["start"] is not None:
            raise ValueError(
                "[DataLoader] got a state within a pass of PyTorch's numbers; expected one between passes"
            )
        self._start = state["start"]
        self._done = int(state["batch"])
        self._resumed = self._start is not None

    def _generators(self) -> tuple[random.Generator | None, random.Generator | None]:
        """(the loader's generator, its sampler's); None for those that draw from the library's."""
        sampler_generator = getattr(self.sampler, "generator", None)
        if not isinstance(sampler_generator, random.Generator):
            sampler_generator = None
        return self.generator, sampler_generator

    def _draw(self) -> int:
        """The key of a new pass, from the generator of the sampler, the loader or the library."""
        generator, sampler_generator = self._generators()
        source = sampler_generator or generator or random.current()
        return source.next_key()

    # --- one pass

    def _batches(self, key: int, first: int) -> Iterator[Any]:
        """The batches of one pass from number `first` on."""
        pass_key = key if self._keyed else None
        make = Batches(self, pass_key, self.dataset)
        # Workers are not started where no code of the program would run in them (see num_workers above).
        if self.num_workers and not (make.gathers_only and self.worker_init_fn is None):
            seed = key & (2**63 - 1)  # PyTorch's seeds have 63 bits
            workers = self._workers or started(self, seed)
            self._workers = workers if self.persistent_workers else None
            for worker in workers:
                worker.begin_pass(self)
            indices = itertools.repeat(None) if self._stream else self._indices(key)
            turns = Turns(workers, indices, self.prefetch_factor or 2)
            # The workers' random numbers depend on the batches made so far: a resumed pass makes them again.
            for _ in range(first):
                next(turns, None)
            return turns
        # (number of a batch, its indices); a resumed pass leaves out the batches before `first`
        numbered = itertools.islice(enumerate(self._indices(key)), first, None)
        if self.prefetch:
            return ahead(make, numbered, self.prefetch)
        return map(make, numbered)

    def _indices(self, key: int) -> Iterator[Any]:
        """The indices of each batch: arrays for the library's own samplers, else what the samplers yield. For
        an IterableDataset (a stream), the samples of each batch."""
        if self._stream:
            samples = parts(self.dataset, self.batch_size, self.drop_last)
            if self._keyed:
                return drawn_with(key, samples)
            return samples
        source = self._index_sampler
        if not self._keyed:
            return iter(source)
        is_batch_sampler = type(source) is BatchSampler and source is self.batch_sampler
        # A subclass of a sampler of the library that defines its own __iter__ has an order of its own.
        is_of_library = getattr(type(self.sampler), "__iter__", None) is OrderSampler.__iter__
        if is_of_library and (is_batch_sampler or source is self.sampler):
            order = self.sampler._drawn(key)  # type: ignore[union-attr]
            if is_batch_sampler:
                return iter(source._batches(order))
            return iter(order)
        return drawn_with(key, source)

    @staticmethod
    def _check_workers(
        workers: int,
        timeout: float,
        prefetch_factor: int | None,
        persistent_workers: bool,
        context: str | BaseContext | None,
    ) -> None:
        """Refuses settings of workers that are out of range, or given without workers."""
        if workers:
            count("DataLoader", "num_workers", workers)
        if prefetch_factor is not None:
            count("DataLoader", "prefetch_factor", prefetch_factor)
        number("DataLoader", "timeout", timeout, low=0.0)
        settings = {
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers or None,
            "multiprocessing_context": context,
        }
        for name, value in settings.items():
            if value is not None and not workers:
                raise ValueError(
                    f"[DataLoader] got {name} {value!r} with num_workers 0; expected at least 1 worker"
                )
        if isinstance(context, str):
            one_of("DataLoader", "multiprocessing_context", context, ("fork", "spawn", "forkserver"))


class _BaseDataLoaderIter:
    """One pass over the data of a DataLoader, with PyTorch's name. Without a key, `loader` is an object of
    another library that has the attributes of PyTorch's DataLoader."""

    def __init__(self, loader: DataLoader[Any], key: int | None = None, first: int = 0) -> None:
        self._loader = loader
        self._key = key
        self._num_yielded = 0  # PyTorch's name of the number of batches so far
        self._batches: Iterator[Any]
        if key is None:
            self._batches = _foreign_batches(loader)
        else:
            self._batches = loader._batches(key, first)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return len(self._loader)

    def __next__(self) -> Any:
        if self._key is None:
            batch = next(self._batches)
            self._num_yielded += 1
            return batch
        position = self._loader.__dict__  # written past `__setattr__`, which would take longer
        try:
            batch = next(self._batches)
        except StopIteration:
            if position["_start"] == self._key:  # Otherwise another pass has begun since.
                position.update(_start=None, _done=0)
            raise
        position["_done"] += 1
        self._num_yielded += 1
        return batch


def _foreign_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of an object with PyTorch's attributes of a DataLoader, made in this process."""
    collate = loader.collate_fn
    is_batched = loader._auto_collation  # otherwise each sample is yielded alone
    # PyTorch draws a seed for its workers here, even without workers. The number is not used, but the draw
    # moves the generator on: the numbers after it are then those that follow in PyTorch.
    empty((), dtype=int64).random_(generator=loader.generator)
    if loader._dataset_kind == _DatasetKind.Iterable:
        samples = iter(loader.dataset)
    else:
        samples = None
    for index in loader._index_sampler:
        if samples is None:
            if is_batched:
                yield collate([loader.dataset[i] for i in index])
            else:
                yield collate(loader.dataset[index])
            continue
        size = len(index) if is_batched else 1
        batch = list(itertools.islice(samples, size))
        if not batch or (is_batched and loader.drop_last and len(batch) < size):
            return
        if is_batched:
            yield collate(batch)
        else:
            yield collate(batch[0])


def _require_order(
    stream: bool,
    batch_size: int | None,
    shuffle: bool | None,
    sampler: Iterable[Any] | None,
    batch_sampler: Iterable[Any] | None,
    drop_last: bool,
) -> None:
    """Refuse options that exclude each other; stream: whether the dataset is an IterableDataset."""
    flags = {"shuffle": shuffle, "drop_last": drop_last}
    for name, value in flags.items():
        if not isinstance(value, int):  # programs give 0 and 1, too
            flag("DataLoader", name, value or False)
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError(
            "[DataLoader] got batch_sampler with batch_size, shuffle, sampler or drop_last; expected it alone"
        )
    if sampler is not None and shuffle:
        raise ValueError("[DataLoader] got a sampler and shuffle; expected one of them")
    if batch_size is None and drop_last:
        raise ValueError("[DataLoader] got drop_last without batch_size; expected both or neither")
    if stream and (shuffle or sampler is not None or batch_sampler is not None):
        raise ValueError(
            "[DataLoader] got an IterableDataset with shuffle, sampler or batch_sampler; expected none: "
            "the dataset gives the order"
        )


extension.loaded(__name__)
