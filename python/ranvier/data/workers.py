"""The workers of a DataLoader, which run in turn in this process.

Each worker has its own copy of the data set and its own random numbers, which are in force while it makes a
batch: a program sees what it sees with PyTorch's worker processes, in the same order. The memory of large
arrays is copied only where a worker changes it. Objects that cannot be copied, such as open files and locks,
are shared, and so are the variables of modules.
"""

from __future__ import annotations

import itertools
import random as python_random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from ranvier.data.batches import Batches, Chosen, parts
from ranvier.data.dataset import whole_arrays
from ranvier.grad_mode import mode
from ranvier.observe import refuse
from ranvier.ops.making import random
from ranvier.tensors.dtypes import default

__all__ = ["get_worker_info"]

mtrand: Any = np.random  # NumPy's functions for its global generator, as get_bit_generator
_ENDED = object()


@dataclass(frozen=True)
class WorkerInfo:
    """The object that `get_worker_info` returns in a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


class _Local(threading.local):
    info: WorkerInfo | None = None


_local = _Local()


def get_worker_info() -> WorkerInfo | None:
    """The worker of a DataLoader that runs this code, with its id, its seed and its copy of the dataset; None
    outside.

    >>> import ranvier as rv
    >>> print(rv.utils.data.get_worker_info())
    None
    """
    refuse("get_worker_info", "call it outside the step")  # the result differs from thread to thread
    return _local.info


class KeyErrorMessage(str):
    """The text of a KeyError, which Python would show with its line breaks quoted."""

    def __repr__(self) -> str:
        return str(self)


class Worker:
    """One worker: makes the batches whose indices it is given."""

    def __init__(self, loader: Any, number: int, seed: int, parts: tuple[Any, Any, Any]) -> None:
        dataset, self.collate, begin = parts
        self.info = WorkerInfo(number, loader.num_workers, seed + number, dataset)
        self.timeout: float = loader.timeout
        self.generator = random.Generator().manual_seed(seed + number)
        # The seeds of NumPy and Python are those of PyTorch's worker processes.
        words = np.random.SeedSequence((number, seed & 0xFFFFFFFF, seed >> 32, 0)).generate_state(4)
        self.bits: Any = np.random.RandomState(words)._bit_generator
        self.python = python_random.Random(seed + number).getstate()
        self.settings = mode.enabled, default.dtype
        self.failed: Exception | None = None
        if begin is not None:
            self._begin(partial(begin, number))

    def _begin(self, call: Callable[[], Any]) -> Any:
        """The result of a call before the first batch; its error is raised when a batch is asked for."""
        try:
            return self._run(call)
        except Exception as error:
            self.failed = _told(error, self.info.id)

    def begin_pass(self, loader: Any) -> None:
        """Reads the loader's settings, and begins the stream again if the data set is one."""
        self.batches = Batches(loader, None, self.info.dataset)
        self.batches.collate = self.collate  # the worker's copy
        if loader._stream and self.failed is None:
            samples = self._begin(partial(iter, self.info.dataset))
            self.rest = parts(samples, loader.batch_size, loader.drop_last)

    def fetch(self, chosen: Chosen) -> Any:
        """The batch of these indices; `_ENDED` after the last one of a stream."""
        if self.failed is not None:
            raise self.failed
        return self._run(partial(self._made, chosen))

    def _made(self, chosen: Chosen) -> Any:
        """The batch, or `_ENDED`; an error names this worker."""
        try:
            if self.batches.stream:
                chosen = next(self.rest, _ENDED)
                if chosen is _ENDED:
                    return _ENDED
            return self.batches.made(chosen)
        except Exception as error:
            raise _told(error, self.info.id) from None

    def _run(self, call: Callable[[], Any]) -> Any:
        """The result of the call with this worker's random numbers, in a thread if there is a timeout."""
        with self._numbers():
            if not self.timeout:
                return self._inside(call)
            from queue import Empty, SimpleQueue

            answer: SimpleQueue[Any] = SimpleQueue()

            def work() -> None:
                try:
                    answer.put((self._inside(call), None))
                except BaseException as error:
                    answer.put((None, error))

            threading.Thread(target=work, daemon=True).start()
            try:
                result, error = answer.get(timeout=self.timeout)
            except Empty:
                raise RuntimeError(
                    f"[DataLoader] timed out: got no batch within {self.timeout} seconds; expected a longer "
                    "timeout, or 0 for none"
                ) from None
            if error is not None:
                raise error
            return result

    def _inside(self, call: Callable[[], Any]) -> Any:
        """The result of the call with this worker's settings (grad mode, default dtype).

        What the call changes of them is in force for this worker's next call, and not outside.
        """
        info_outside = _local.info
        _local.info = self.info
        settings_outside = mode.enabled, default.dtype
        mode.enabled, default.dtype = self.settings
        try:
            with random.using(self.generator):
                return call()
        finally:
            self.settings = mode.enabled, default.dtype
            _local.info = info_outside
            mode.enabled, default.dtype = settings_outside

    @contextmanager
    def _numbers(self) -> Iterator[None]:
        """Python's and NumPy's global generators have this worker's states within the block."""
        python = python_random.getstate()
        bits = mtrand.get_bit_generator()
        python_random.setstate(self.python)
        mtrand.set_bit_generator(self.bits)
        try:
            yield
        finally:
            self.python = python_random.getstate()
            self.bits = mtrand.get_bit_generator()
            python_random.setstate(python)
            mtrand.set_bit_generator(bits)


def started(loader: Any, seed: int) -> list[Worker]:
    """The workers of a loader, each with its copy of the data set."""
    # It is imported here, because programs without workers need neither it nor what it imports.
    from ranvier.data.worker_copies import copies

    own = loader.collate_fn, loader.worker_init_fn
    n = loader.num_workers
    context = loader.multiprocessing_context
    plain = own[1] is None and isinstance(own[0], FunctionType)
    # No code of the program runs in a worker that could change the arrays, so all workers share them.
    if plain and whole_arrays(loader.dataset) is not None:
        return [Worker(loader, i, seed, (loader.dataset, *own)) for i in range(n)]
    pickled = context is not None and context.get_start_method() != "fork"
    return [Worker(loader, i, seed, x) for i, x in enumerate(copies((loader.dataset, *own), n, pickled))]


class Turns:
    """An iterator over the batches, which the workers make in turn.

    As in PyTorch, the indices of up to `ahead` batches for each worker are drawn before the batches are due,
    a worker whose stream has ended is left out, and after an error the next batch can be asked for.
    """

    def __init__(self, workers: list[Worker], indices: Iterable[Any], ahead: int) -> None:
        self.workers = workers
        self.indices = iter(indices)
        self.active = [True] * len(workers)  # False for a worker whose stream has ended
        self.turns = itertools.cycle(range(len(workers)))
        self.tasks: deque[tuple[int, Chosen]] = deque()  # (number of a worker, the indices of its batch)
        for _ in range(ahead * len(workers)):
            self._put()

    def _put(self) -> None:
        """Draw the indices of one more batch, for the worker whose turn it is."""
        if not any(self.active):
            return
        chosen = next(self.indices, _ENDED)
        if chosen is not _ENDED:
            worker = next(i for i in self.turns if self.active[i])
            self.tasks.append((worker, chosen))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while self.tasks:
            number, chosen = self.tasks.popleft()
            if self.active[number]:
                try:
                    batch = self.workers[number].fetch(chosen)
                    self.active[number] = batch is not _ENDED
                finally:
                    self._put()
                if batch is not _ENDED:
                    return batch
        raise StopIteration


def _told(error: Exception, number: int) -> Exception:
    """The error of a worker, with its traceback in the text."""
    import traceback

    text = "".join(traceback.format_exception(error))
    text = f"Caught {type(error).__name__} in DataLoader worker process {number}.\nOriginal {text}"
    try:
        if type(error) is KeyError:
            return KeyError(KeyErrorMessage(text))
        return type(error)(text)
    except Exception:  # The class of the error takes other arguments than a text.
        return RuntimeError(text)
