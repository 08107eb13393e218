"""DataLoader, which iterates over a dataset in batches.

A batch of a TensorDataset (or of a Subset of one) is one copy per array. Other Datasets are read sample by
sample.

The random numbers of a pass over the data depend on one key, drawn at its beginning: the order on the key,
the numbers drawn for a batch (augmentation, noise of a dataset) on the key and the number of the batch. So a
batch is the same whether it is made when needed, ahead of time in a thread, or in a resumed process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, random, wrap
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.data.dataset import Indices, IterableDataset, default_collate, default_convert, raw, whole_arrays
from ranvier.data.prefetch import ahead
from ranvier.data.sampler import (
    BatchSampler,
    OrderSampler,
    RandomSampler,
    Seed,
    SequentialSampler,
    positive,
    require_indices,
    stream_of,
)

__all__ = ["DataLoader"]

_WHOLE = (int, np.integer)


def _fixed(name: str) -> Any:
    """An attribute of a DataLoader that is set once, as in PyTorch; `vars` has it."""

    def read(loader: Any) -> Any:
        try:
            return loader.__dict__[name]
        except KeyError:
            raise AttributeError(f"{type(loader).__name__!r} object has no attribute {name!r}") from None

    def write(loader: Any, value: Any) -> None:
        if "_start" in loader.__dict__:
            raise ValueError(f"[DataLoader] got {name} of a loader that is made; expected a new DataLoader")
        loader.__dict__[name] = value

    return property(read, write)


class DataLoader:
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
        num_workers, pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor,
            persistent_workers, pin_memory_device, in_order: PyTorch's; kept without effect. Other unknown
            keywords raise TypeError.

    `dataset`, `batch_size`, `sampler`, `batch_sampler`, `drop_last` and `persistent_workers` cannot be set
    afterwards.

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

    dataset, batch_size, drop_last = map(_fixed, ("dataset", "batch_size", "drop_last"))
    sampler, batch_sampler, persistent_workers = map(
        _fixed, ("sampler", "batch_sampler", "persistent_workers")
    )

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
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
        self._stream = isinstance(dataset, IterableDataset)
        _require_order(self._stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        counted = hasattr(dataset, "__len__") or sampler is not None or batch_sampler is not None
        if not (hasattr(dataset, "__getitem__") and counted):
            kind = type(dataset).__name__
            raise TypeError(f"[DataLoader] got a dataset of type {kind}; expected __getitem__ and __len__")
        for name, function in (("collate_fn", collate_fn), ("augment", augment), ("transform", transform)):
            if not (function is None or callable(function)):
                kind = type(function).__name__
                raise TypeError(f"[DataLoader] got {name} of type {kind}; expected a function")
        self.dataset = dataset
        self.batch_size = (
            None if batch_size is None or batch_sampler else positive("DataLoader", "batch_size", batch_size)
        )
        self.drop_last = bool(drop_last)
        self.collate_fn = collate_fn or (
            default_convert if batch_size is None and batch_sampler is None else default_collate
        )
        self.augment, self.transform = augment, transform
        self.prefetch = positive("DataLoader", "prefetch", prefetch) if prefetch else 0
        if num_workers:
            positive("DataLoader", "num_workers", num_workers)
        self.num_workers = num_workers
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.timeout, self.worker_init_fn, self.in_order = timeout, worker_init_fn, in_order
        self.multiprocessing_context, self.persistent_workers = multiprocessing_context, persistent_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        # an integer seeds a stream, so that the second epoch differs from the first
        self.generator = stream_of(generator, "DataLoader")
        indices, batches = sampler, batch_sampler
        if batch_sampler is not None:
            require_indices("DataLoader", "batch_sampler", batch_sampler)
            indices = getattr(batch_sampler, "sampler", None)
        elif sampler is not None:
            require_indices("DataLoader", "sampler", sampler)
        elif not self._stream:
            indices = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
        if self.batch_size is not None and not self._stream:
            batches = BatchSampler(indices, self.batch_size, drop_last)  # type: ignore[arg-type]
        self.sampler, self.batch_sampler = indices, batches
        self._start: int | None = None  # the key of the pass in progress; None between passes
        self._done = 0  # batches of it that were yielded
        self._resumed = False

    def __len__(self) -> int:
        if self._stream:  # TypeError where the dataset has no __len__
            n, size = len(self.dataset), self.batch_size or 1
            return n // size if self.drop_last else -(-n // size)
        return len(self._index_sampler)

    def __iter__(self) -> Iterator[Any]:
        if not self._resumed:
            self._start, self._done = self._draw(), 0
        self._resumed = False
        return self._get_iterator()

    def _get_iterator(self) -> Iterator[Any]:
        """A pass over the data; PyTorch's name, which its programs override."""
        if self._start is None:
            self._start, self._done = self._draw(), 0
        return self._pass(self._start, self._done)

    @property
    def _auto_collation(self) -> bool:
        """Whether samples are made batches."""
        return self.batch_sampler is not None or self.batch_size is not None

    @property
    def _index_sampler(self) -> Any:
        """What yields the indices of each batch, or of each sample."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    # --- the position in a pass

    def state_dict(self) -> dict[str, Any]:
        """The position in the pass over the data, with which another process can continue it.

        Returns:
            `{"batch": yielded batches (0 between passes), "start": key of the pass (None between passes),
            "generator", "sampler": state of the generator of the loader and of the sampler, or None}`: plain
            values, for JSON. Batches that a thread has made ahead do not count as yielded.
        """
        states = [None if own is None else own.get_state() for own in self._generators()]
        return {"batch": self._done, "start": self._start, "generator": states[0], "sampler": states[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the pass of a state_dict: the next `iter` yields its remaining batches.

        The random state of the library does not change: see `rv.set_rng_state`. A sampler of another library
        starts again and is fast-forwarded; its own random state must be restored by the caller.
        """
        for own, saved in zip(self._generators(), (state["generator"], state.get("sampler")), strict=True):
            if own is not None and saved is not None:
                own.set_state(saved)
        self._start, self._done = state["start"], int(state["batch"])
        self._resumed = self._start is not None

    def _generators(self) -> tuple[random.Generator | None, random.Generator | None]:
        own = getattr(self.sampler, "generator", None)
        return self.generator, own if isinstance(own, random.Generator) else None

    def _draw(self) -> int:
        """The key of a new pass, from the generator of the sampler, the loader or the library."""
        loader, sampler = self._generators()
        return (sampler or loader or random.current()).next_key()

    # --- one pass

    def _pass(self, key: int, first: int) -> Iterator[Any]:
        """The batches of one pass from number `first` on."""
        make = _Batches(self, key)
        numbered = islice(enumerate(self._indices(key)), first, None)
        batches = ahead(make, numbered, self.prefetch) if self.prefetch else (make(one) for one in numbered)
        with closing(batches):  # ends the thread, also if the pass is abandoned
            for batch in batches:
                self._done += 1
                yield batch
        if self._start == key:  # else another pass has begun
            self._start, self._done = None, 0

    def _indices(self, key: int) -> Iterator[Any]:
        """The indices of each batch: arrays for our orders, else what the samplers yield; of a stream its
        samples."""
        if self._stream:
            return _drawn_with(key, _parts(self.dataset, self.batch_size, self.drop_last))
        source = self._index_sampler
        batched = type(source) is BatchSampler and source is self.batch_sampler
        ours = getattr(type(self.sampler), "__iter__", None) is OrderSampler.__iter__  # not a subclass's own
        if ours and (batched or source is self.sampler):
            order = self.sampler.drawn(key)
            return iter(source.batches(order) if batched else order)
        return _drawn_with(key, source)


def _require_order(
    stream: bool,
    batch_size: int | None,
    shuffle: bool | None,
    sampler: Any,
    batch_sampler: Any,
    drop_last: bool,
) -> None:
    """Refuse options that exclude each other."""
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


def _drawn_with(key: int, indices: Iterable[Any]) -> Iterator[Any]:
    """`indices`; their random numbers come from a stream of the pass."""
    stream, end = random.Generator().manual_seed(random.mixed(key, 0)), object()
    with random.using(stream):
        rest = iter(indices)
    while True:
        with random.using(stream):
            chosen = next(rest, end)
        if chosen is end:
            return
        yield chosen


def _parts(samples: Iterable[Any], size: int | None, drop_last: bool) -> Iterator[Any]:
    """Lists of `size` samples, the last one perhaps shorter; single samples without a size."""
    if size is None:
        yield from samples
        return
    part = []
    for sample in samples:
        part.append(sample)
        if len(part) == size:
            yield part
            part = []
    if part and not drop_last:
        yield part


class _Batches:
    """Makes the batches of one pass. It has no reference to the loader, which a thread would keep alive."""

    def __init__(self, loader: DataLoader, key: int) -> None:
        self.key = key
        self.dataset = loader.dataset
        self.stream = loader._stream
        self.collate = loader.collate_fn
        usual = self.collate in (default_collate, default_convert) and not self.stream
        self.whole = whole_arrays(loader.dataset) if usual else None
        self.in_order = type(loader.sampler) is SequentialSampler  # batches of slices
        self.single = not loader._auto_collation
        self.several = getattr(loader.dataset, "__getitems__", None)  # many samples by one call
        self.augment, self.transform = loader.augment, loader.transform
        self.gathers_only = self.whole is not None and not (self.single or self.augment or self.transform)

    def __call__(self, numbered: tuple[int, Any]) -> Any:
        number, chosen = numbered
        if self.gathers_only:  # no random numbers
            return self._of(chosen)
        with random.using(random.Generator().manual_seed(random.mixed(self.key, number + 1))):
            batch = self._of(chosen)
            return self._changed(batch) if self.augment or self.transform else batch

    def _of(self, chosen: Any) -> Any:
        if self.stream:  # the samples themselves
            return self.collate(chosen)
        if self.single:
            if isinstance(chosen, np.ndarray):  # of a batch sampler
                return self.collate(self.dataset[chosen.tolist()])
            return self.collate(self.dataset[int(chosen) if isinstance(chosen, _WHOLE) else chosen])
        if self.whole is None:
            if self.several is not None:
                return self.collate(self.several(chosen if isinstance(chosen, list) else list(chosen)))
            dataset, whole = self.dataset, _WHOLE
            try:
                return self.collate([dataset[int(i) if isinstance(i, whole) else i] for i in chosen])
            except TypeError:
                if isinstance(chosen, Iterable):
                    raise
                raise TypeError(f"[DataLoader] got {chosen!r} from batch_sampler; expected indices") from None
        arrays, indices = self.whole
        if self.in_order and indices is None and len(chosen):
            here = slice(int(chosen[0]), int(chosen[-1]) + 1)
            # copies, so that a change of a batch in place does not change the dataset
            return [wrap(array[here].copy()) for array in arrays]
        chosen = np.asarray(chosen, np.intp)
        return [wrap(gather(array, chosen if indices is None else indices[chosen])) for array in arrays]

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
        fields = [field if isinstance(field, Tensor) else default_convert(field) for field in fields]
        return fields if isinstance(batch, (list, tuple)) else fields[0]


def gather(array: Array, chosen: Indices) -> Array:
    # take is twice as fast as indexing, but first copies an array that is not contiguous
    if array.flags.c_contiguous:
        return array.take(chosen, axis=0)
    gathered: Array = array[chosen]
    return gathered


own_errors(globals(), names=__all__)
