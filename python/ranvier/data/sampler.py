"""Orders of the samples in a DataLoader, with PyTorch's names, and where their random numbers come from.

A random order is a function of one number, its key. A sampler draws a key for each epoch; with the key, a
loader can compute the order again and continue in the middle of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from ranvier.autograd import wrap
from ranvier.data.checks import raw
from ranvier.data.dataset import Indices
from ranvier.ops.making import philox, random
from ranvier.tensors.errors import count, renamed

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
    "WeightedRandomSampler",
]  # fmt: skip

T_co = TypeVar("T_co", covariant=True)
Seed: TypeAlias = "int | np.random.Generator | random.Generator | None"


def permutation(n: int, seed: Seed = None) -> npt.NDArray[np.intp]:
    """The numbers 0 to n - 1 in random order; None draws from the generator that `rv.manual_seed` seeds.

    Raises TypeError: a seed that is neither an integer nor a generator; ValueError: a seed below 0.
    """
    if type(seed) is int and 0 <= seed < 2**64:
        return philox.permutation(n, seed)
    return numpy_generator(seed, "permutation").permutation(n)


def numpy_generator(seed: Seed, name: str) -> np.random.Generator:
    """NumPy's generator of a seed; `name` is the function in the errors."""
    if seed is None:
        return random.generator()
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, random.Generator):
        return seed.numpy()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if seed < 0:
            raise ValueError(f"[{name}] got seed {seed}; expected at least 0")
        return np.random.Generator(np.random.Philox(int(seed)))
    raise TypeError(
        f"[{name}] got a seed of type {type(seed).__name__}; expected an int, rv.Generator or numpy Generator"
    )


def stream_of(seed: Seed, name: str) -> random.Generator | None:
    """The Generator of a seed; None means the library's."""
    if seed is None or isinstance(seed, random.Generator):
        return seed
    if isinstance(seed, np.random.Generator):
        return random.Generator().manual_seed(int(seed.integers(2**63)))
    numpy_generator(seed, name)  # This is called for the errors that it raises.
    return random.Generator().manual_seed(seed)


class Sampler(Generic[T_co]):
    """An order of samples: subclasses define `__iter__()`, which yields indices, and usually `__len__()`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"[{type(self).__name__}] expected an __iter__ method")


class OrderSampler(Sampler[int]):
    """A sampler whose epochs are arrays of indices, each a function of the epoch's key."""

    generator: random.Generator | None = None  # None: the library's generator
    num_samples: int  # how many indices an epoch has

    def _order(self, key: int) -> Indices:
        """The indices of the epoch with this key."""
        raise NotImplementedError

    def _draw(self) -> int:
        """The key of the next epoch."""
        generator = self.generator
        if generator is None:
            generator = random.current()
        return generator.next_key()

    def _drawn(self, key: int) -> Indices | Iterator[int]:
        """The indices of the epoch with this key, or an iterator over them if the array would be large."""
        return self._order(key)

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        try:
            chosen = self._drawn(self._draw())
        except Exception as error:
            raise renamed(error, type(self).__name__) from None
        if isinstance(chosen, np.ndarray):
            return iter(chosen.tolist())
        return iter(chosen)


class SequentialSampler(OrderSampler):
    """0, 1, 2 ... `len(data_source)` - 1."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def _order(self, key: int = 0) -> Indices:
        return np.arange(len(self.data_source))

    def _draw(self) -> int:
        return 0

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(OrderSampler):
    """A random order; with `replacement`, `num_samples` independent draws.

    Args:
        data_source: anything with a length.
        replacement: draw each index from all indices.
        num_samples: the number of indices in an epoch; by default the length of `data_source`. More than that
            without replacement appends further random orders, as in PyTorch.
        generator: an integer or generator to draw from instead of the library's (`rv.manual_seed`).

    Raises ValueError: num_samples below 1.

    >>> import ranvier as rv
    >>> sorted(rv.data.RandomSampler(range(4)))
    [0, 1, 2, 3]
    """

    _part = 2**16  # how many draws with replacement are in memory at a time

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Seed = None,
    ) -> None:
        len(data_source)  # A data source without a length raises the error here.
        self.data_source = data_source
        self.replacement = bool(replacement)
        if num_samples is not None:
            num_samples = count("RandomSampler", "num_samples", num_samples)
        self._num_samples = num_samples
        self.generator = stream_of(generator, "RandomSampler")

    @property
    def num_samples(self) -> int:  # type: ignore[override]
        if self._num_samples is None:
            return len(self.data_source)
        return self._num_samples

    def _drawn(self, key: int) -> Indices | Iterator[int]:
        if not self.replacement or self.num_samples <= self._part or not len(self.data_source):
            return self._order(key)
        # These are the numbers that `_order` draws at once: NumPy draws the same in parts. (In this method
        # and in `_order`, `count` is a number and hides the imported function.)
        return self._drawn_in_parts(key)

    def _drawn_in_parts(self, key: int) -> Iterator[int]:
        draws = numpy_generator(key, "RandomSampler")
        n = len(self.data_source)
        for start in range(0, self.num_samples, self._part):
            size = min(self._part, self.num_samples - start)
            yield from draws.integers(n, size=size, dtype=np.intp).tolist()

    def _order(self, key: int) -> Indices:
        n = len(self.data_source)
        count = self.num_samples
        if n == 0:
            return np.arange(0)
        if self.replacement:
            return numpy_generator(key, "RandomSampler").integers(n, size=count, dtype=np.intp)
        if count <= n:
            return permutation(n, key)[:count]
        draws = numpy_generator(key, "RandomSampler")
        n_orders = -(-count // n)  # count / n, rounded up
        orders = [draws.permutation(n) for _ in range(n_orders)]
        return np.concatenate(orders)[:count]


class SubsetRandomSampler(OrderSampler):
    """The given indices in random order.

    >>> import ranvier as rv
    >>> sorted(rv.data.SubsetRandomSampler([5, 2, 9]))
    [2, 5, 9]
    """

    def __init__(self, indices: Sequence[int] | Indices, generator: Seed = None) -> None:
        require_indices("SubsetRandomSampler", "indices", indices)
        self.indices = indices
        self.generator = stream_of(generator, "SubsetRandomSampler")

    def _order(self, key: int) -> Indices:
        return np.asarray(self.indices, np.intp)[permutation(len(self.indices), key)]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(OrderSampler):
    """`num_samples` indices, index i with probability `weights[i] / sum(weights)`.

    Without replacement, these are the indices of the `num_samples` largest of `log(u_i) / w_i`, with
    u_i uniform in (0, 1] (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).

    Args:
        weights: one weight per sample, none below 0, not all 0; their sum need not be 1.
        num_samples: indices per epoch.
        replacement: draw each index from all indices.
        generator: an integer or generator to draw from instead of the library's (`rv.manual_seed`).

    Raises ValueError: other weights, or, without replacement, more samples than weights above 0.

    >>> import ranvier as rv
    >>> set(rv.data.WeightedRandomSampler([0.0, 1.0, 0.0], 4))
    {1}
    """

    def __init__(
        self, weights: npt.ArrayLike, num_samples: int, replacement: bool = True, generator: Seed = None
    ) -> None:
        w = np.asarray(raw(weights), np.float64)
        self.weights = wrap(w)
        self.num_samples = count("WeightedRandomSampler", "num_samples", num_samples)
        self.replacement = bool(replacement)
        self.generator = stream_of(generator, "WeightedRandomSampler")
        is_valid = np.isfinite(w).all() and (w >= 0).all() and 0 < w.sum() < np.inf
        if w.ndim != 1 or not is_valid:
            raise ValueError(
                f"[WeightedRandomSampler] got weights of shape {w.shape}; expected one finite number >= 0 "
                "per sample, not all 0"
            )
        if not replacement and self.num_samples > np.count_nonzero(w):
            raise ValueError(
                f"[WeightedRandomSampler] got num_samples {num_samples} for {np.count_nonzero(w)} weights "
                "above 0; expected no more without replacement"
            )

    def _order(self, key: int) -> Indices:
        draws = numpy_generator(key, "WeightedRandomSampler")
        w = self.weights._array
        if not self.replacement:
            with np.errstate(divide="ignore"):  # weight 0: last
                ranks = np.log(1 - draws.random(len(w))) / w
            ranks[w == 0] = -np.inf
            return np.argsort(-ranks, kind="stable")[: self.num_samples]
        # Index i has the part of [0, sum of all weights) that ends at ends[i].
        ends = np.cumsum(w)
        draw = draws.random(self.num_samples) * ends[-1]
        chosen = np.searchsorted(ends, draw, side="right")
        # Rounding may give an index beyond the last one whose weight is above 0.
        return np.minimum(chosen, np.flatnonzero(w)[-1])


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices from another sampler.

    >>> import ranvier as rv
    >>> list(rv.data.BatchSampler(rv.data.SequentialSampler(range(5)), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        require_indices("BatchSampler", "sampler", sampler)
        self.sampler = sampler
        self.batch_size = count("BatchSampler", "batch_size", batch_size)
        self.drop_last = bool(drop_last)

    def _batches(self, indices: Iterable[int]) -> Iterator[Any]:
        """`indices` in parts of the batch size: arrays of an array, else lists."""
        if isinstance(indices, np.ndarray):
            n = len(indices)
            stop = n - n % self.batch_size if self.drop_last else n
            for start in range(0, stop, self.batch_size):
                yield indices[start : start + self.batch_size]
            return
        rest = iter(indices)
        chosen = list(islice(rest, self.batch_size))
        while chosen:
            if len(chosen) == self.batch_size or not self.drop_last:
                yield chosen
            chosen = list(islice(rest, self.batch_size))

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches(iter(self.sampler))

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]  # a sampler without length has no number of batches
        if self.drop_last:
            return n // self.batch_size
        return -(-n // self.batch_size)


def require_indices(name: str, key: str, value: object) -> None:
    """Raises TypeError for values that are no indices: not iterable, text, or Tensors of floats."""
    is_iterable = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    is_text = isinstance(value, (str, bytes))
    dtype = getattr(value, "dtype", None)
    holds_floats = getattr(dtype, "kind", "i") == "f"
    if is_text or holds_floats or not is_iterable or getattr(value, "ndim", 1) == 0:
        raise TypeError(f"[{name}] got {key} {value!r}; expected indices")
