"""Splitting arrays into train and test parts, and Datasets into random subsets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.data.dataset import Dataset, Indices, Subset, length_of
from ranvier.data.sampler import Seed, permutation
from ranvier.tensors.errors import number
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["random_split", "train_test_split"]


def train_test_split(
    *arrays: npt.ArrayLike,
    test_size: float | int | None = None,
    train_size: float | int | None = None,
    random_state: Seed = None,
    shuffle: bool = True,
    stratify: npt.ArrayLike | None = None,
) -> list[Array]:
    """Split arrays of equal length into a train and a test part, as scikit-learn's function of that name.

    Args:
        arrays: any number of arrays with the same number of samples (axis 0).
        test_size: share (0 < float < 1) or number (int) of test samples; a quarter if no size is given.
        train_size: the same for the train part; by default the rest.
        random_state: an integer or a generator; None draws from the library's generator (`rv.manual_seed`).
        shuffle: select at random; otherwise the first samples are the train part.
        stratify: one label per sample; both parts get the proportions of the classes.

    Returns: `[a_train, a_test, b_train, b_test, ...]`.

    Raises ValueError: no arrays, unequal lengths, sizes that do not fit, or a class that is too small.

    >>> import numpy as np
    >>> from ranvier.data import train_test_split
    >>> x, y = np.arange(10), np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=0, stratify=y)
    >>> np.bincount(y_train).tolist(), np.bincount(y_test).tolist()
    ([3, 2], [3, 2])
    """
    inputs = [np.asarray(plain("train_test_split", array)) for array in arrays]
    n = length_of("train_test_split", inputs)
    n_train, n_test = _sizes(n, train_size, test_size)
    if stratify is not None:
        if not shuffle:
            raise ValueError("[train_test_split] got stratify with shuffle=False; expected one of them")
        train, test = _stratified(np.asarray(stratify), n, n_train, n_test, random_state)
    else:
        order = permutation(n, random_state) if shuffle else np.arange(n)
        train = order[:n_train]
        test = order[n_train : n_train + n_test]
    parts = []
    for array in inputs:
        parts += [array[train], array[test]]
    return parts


def _count(name: str, size: float | int, n: int, rounded: Callable[[float], int]) -> int:
    """The number of samples of an argument `name`: a share of n, which is rounded, or a number."""
    if isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, float, np.integer, np.floating)):
        raise TypeError(f"[train_test_split] got {name} {size!r}; expected a number")
    if isinstance(size, (float, np.floating)):
        if not 0 < size < 1:
            raise ValueError(f"[train_test_split] got {name} {size}; expected a share between 0 and 1")
        return int(rounded(size * n))
    if not 0 < size < n:
        raise ValueError(f"[train_test_split] got {name} {size} of {n} samples; expected 1 to {n - 1}")
    return int(size)


def _sizes(n: int, train_size: float | int | None, test_size: float | int | None) -> tuple[int, int]:
    """Numbers of train and test samples; shares are rounded as in scikit-learn: test up, train down."""
    if train_size is None and test_size is None:
        test_size = 0.25
    if test_size is None:
        n_test = None
    else:
        n_test = _count("test_size", test_size, n, math.ceil)
    if train_size is None:
        n_train = None
    else:
        n_train = _count("train_size", train_size, n, math.floor)
    if n_train is None:
        assert n_test is not None
        n_train = n - n_test
    if n_test is None:
        n_test = n - n_train
    if n_train < 1 or n_test < 1 or n_train + n_test > n:
        raise ValueError(
            f"[train_test_split] {n} samples do not split into {n_train} for training and {n_test} "
            "for testing"
        )
    return n_train, n_test


def _shares(counts: Indices, total: int) -> Indices:
    """`total` places for the classes in proportion to `counts`; the rest goes to the largest remainders."""
    exact = counts * total / counts.sum()
    places = np.floor(exact).astype(np.intp)
    order = np.argsort(places - exact, kind="stable")
    places[order[: total - places.sum()]] += 1
    return places


def _stratified(labels: Array, n: int, n_train: int, n_test: int, seed: Seed) -> tuple[Indices, Indices]:
    """(train, test): indices in random order, with the proportions of the classes in both."""
    if labels.shape != (n,):
        raise ValueError(f"[train_test_split] got stratify of shape {labels.shape}; expected ({n},)")
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"[train_test_split] got one sample of class {classes[counts.argmin()].item()!r} to stratify; "
            "expected at least two of each"
        )
    if min(n_train, n_test) < len(classes):
        raise ValueError(
            f"[train_test_split] {len(classes)} classes do not stratify into {n_train} train and "
            f"{n_test} test samples; expected at least one place for each class in both"
        )
    test_counts = _shares(counts, n_test)
    # the train part is drawn from the rest, so that no class has too few samples
    train_counts = _shares(counts - test_counts, n_train)
    order = permutation(n, seed)
    train = []
    test = []
    for code in range(len(classes)):
        members = order[codes[order] == code]
        end_of_test = test_counts[code]
        end_of_train = end_of_test + train_counts[code]
        test.append(members[:end_of_test])
        train.append(members[end_of_test:end_of_train])
    # restore the random order, so that the parts are not sorted by class
    place = np.empty(n, np.intp)
    place[order] = np.arange(n)
    return _in_order_of(place, np.concatenate(train)), _in_order_of(place, np.concatenate(test))


def _in_order_of(place: Indices, samples: Indices) -> Indices:
    """Samples sorted by their places."""
    return samples[np.argsort(place[samples])]


def random_split(
    dataset: Dataset[Any], lengths: Sequence[float | int], generator: Seed = None
) -> list[Subset[Any]]:
    """Split a dataset at random into subsets, as `torch.utils.data.random_split`.

    Args:
        lengths: numbers of samples with the sum `len(dataset)`, or shares with the sum 1.
        generator: an integer or a generator; None draws from the library's generator (`rv.manual_seed`).

    Raises ValueError: the lengths do not have this sum.

    >>> import numpy as np
    >>> from ranvier.data import TensorDataset, random_split
    >>> subsets = random_split(TensorDataset(np.arange(10)), [0.7, 0.3], generator=0)
    >>> [len(subset) for subset in subsets]
    [7, 3]
    """
    n = len(dataset)  # type: ignore[arg-type]  # the base class has no length, as in PyTorch
    sizes = _lengths(n, lengths)
    order = permutation(n, generator)
    subsets = []
    start = 0
    for size in sizes:
        subsets.append(Subset(dataset, order[start : start + size].tolist()))
        start += size
    return subsets


def _lengths(n: int, lengths: Sequence[float | int]) -> list[int]:
    lengths = [number("random_split", f"lengths[{i}]", length) for i, length in enumerate(lengths)]
    if any(length < 0 for length in lengths):
        raise ValueError(f"[random_split] got lengths {list(lengths)}; expected none below 0")
    if math.isclose(sum(lengths), 1) and any(isinstance(length, float) for length in lengths):
        sizes = [math.floor(n * share) for share in lengths]
        for i in range(n - sum(sizes)):  # the rest goes to the first subsets, as in PyTorch
            sizes[i % len(sizes)] += 1
        return sizes
    sizes = [int(length) for length in lengths]
    if sum(sizes) != n or any(size != length for size, length in zip(sizes, lengths, strict=True)):
        raise ValueError(
            f"[random_split] got lengths {list(lengths)} for {n} samples; expected numbers that sum to {n} "
            "or shares that sum to 1"
        )
    return sizes
