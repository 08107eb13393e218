"""Data sets made by formula and chance, with scikit-learn's names and arguments: for first tries.

Each function gives `x`, float32 (n, features), and `y`, int64 (n,); the same `random_state` gives the same
samples, which are not scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.data.order import Seed, numpy_generator

__all__ = ["make_blobs", "make_circles", "make_classification", "make_moons", "make_spirals"]

Array = npt.NDArray[Any]
Samples = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
Counts = int | Sequence[int]


def make_moons(
    n_samples: Counts = 100, *, shuffle: bool = True, noise: float | None = None, random_state: Seed = None
) -> Samples:
    """Two interleaved half circles of radius 1: no straight line parts them.

    Class 0 is (cos t, sin t), class 1 (1 - cos t, 1/2 - sin t), with t evenly spaced over [0, pi].

    Args:
        n_samples: of both classes together, or the number of each.
        shuffle: mix the classes; otherwise class 0 comes first.
        noise: standard deviation of what is added to each coordinate.
        random_state: an integer or a generator; None draws from the library's generator (`rv.manual_seed`).

    Returns:
        `x`, float32 (n, 2), and `y`, int64 (n,).

    Raises:
        ValueError: no samples, or a noise below 0.

    >>> from ranvier.data.datasets import make_moons
    >>> x, y = make_moons(4, shuffle=False)
    >>> x.round(3).tolist(), y.tolist()
    ([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [2.0, 0.5]], [0, 0, 1, 1])
    """
    counts = _counts("make_moons", n_samples, 2)
    outer, inner = (np.linspace(0, np.pi, n) for n in counts)
    upper = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    lower = np.stack([1 - np.cos(inner), 0.5 - np.sin(inner)], axis=1)
    return _finish("make_moons", [upper, lower], noise, shuffle, random_state)


def make_circles(
    n_samples: Counts = 100,
    *,
    shuffle: bool = True,
    noise: float | None = None,
    random_state: Seed = None,
    factor: float = 0.8,
) -> Samples:
    """A circle of radius 1 (class 0) around one of radius `factor` (class 1).

    Args:
        n_samples, shuffle, noise, random_state: as in `make_moons`.
        factor: radius of the inner circle, in [0, 1).

    Returns:
        `x`, float32 (n, 2), and `y`, int64 (n,).

    Raises:
        ValueError: no samples, a noise below 0, or a factor outside [0, 1).

    >>> import numpy as np
    >>> from ranvier.data.datasets import make_circles
    >>> x, y = make_circles(6, factor=0.5)
    >>> np.linalg.norm(x[y == 1], axis=1).round(3).tolist()
    [0.5, 0.5, 0.5]
    """
    if not 0 <= factor < 1:
        raise ValueError(f"[make_circles] got factor {factor}; expected 0 <= factor < 1")
    rings = []
    for n, radius in zip(_counts("make_circles", n_samples, 2), (1.0, factor), strict=True):
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        rings.append(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return _finish("make_circles", rings, noise, shuffle, random_state)


def make_spirals(
    n_samples: Counts = 100,
    *,
    n_classes: int = 2,
    turns: float = 1.0,
    shuffle: bool = True,
    noise: float | None = None,
    random_state: Seed = None,
) -> Samples:
    """Spirals around the origin, one a class, each the first one turned: the hard case for a small network.

    A spiral goes `turns` times around while its radius grows from 0 to 1.

    Args:
        n_samples, shuffle, noise, random_state: as in `make_moons`.
        n_classes: number of spirals.
        turns: of each.

    Returns:
        `x`, float32 (n, 2), and `y`, int64 (n,).

    Raises:
        ValueError: no samples or classes, or a noise below 0.

    >>> from ranvier.data.datasets import make_spirals
    >>> x, y = make_spirals(300, n_classes=3, noise=0.02, random_state=0)
    >>> x.shape, y.max().item()
    ((300, 2), 2)
    """
    _at_least("make_spirals", "n_classes", n_classes, 1)
    arms = []
    for k, n in enumerate(_counts("make_spirals", n_samples, n_classes)):
        radius = np.linspace(0, 1, n)
        angle = 2 * np.pi * (turns * radius + k / n_classes)
        arms.append(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
    return _finish("make_spirals", arms, noise, shuffle, random_state)


def make_blobs(
    n_samples: Counts = 100,
    n_features: int = 2,
    *,
    centers: int | npt.ArrayLike | None = None,
    cluster_std: float | Sequence[float] = 1.0,
    center_box: tuple[float, float] = (-10.0, 10.0),
    shuffle: bool = True,
    random_state: Seed = None,
) -> Samples:
    """Round clouds of normally distributed samples, one a class.

    Args:
        n_samples, shuffle, random_state: as in `make_moons`.
        n_features: of a sample, where centers are drawn.
        centers: their number (if not given 3, or as many as n_samples has), or places (classes, features).
        cluster_std: standard deviation of all clouds, or of each.
        center_box: range from which the centers' coordinates are drawn.

    Returns:
        `x`, float32 (n, features), and `y`, int64 (n,).

    Raises:
        ValueError: no samples or features, numbers that do not fit each other, or a deviation below 0.

    >>> from ranvier.data.datasets import make_blobs
    >>> x, y = make_blobs(6, centers=[[-1.0, 0.0], [1.0, 0.0]], cluster_std=0.0, shuffle=False)
    >>> x[:, 0].tolist(), y.tolist()
    ([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], [0, 0, 0, 1, 1, 1])
    """
    rng = numpy_generator(random_state, "make_blobs")
    if centers is None:
        centers = 3 if isinstance(n_samples, (int, np.integer)) else len(n_samples)
    if isinstance(centers, (int, np.integer)):
        _at_least("make_blobs", "centers", centers, 1)
        _at_least("make_blobs", "n_features", n_features, 1)
        places = rng.uniform(*center_box, (int(centers), n_features))
    else:
        places = np.asarray(centers, float)
        if places.ndim != 2 or not places.size:
            raise ValueError(
                f"[make_blobs] got centers of shape {places.shape}; expected (classes, features)"
            )
    counts = _counts("make_blobs", n_samples, len(places))
    spreads = np.asarray(cluster_std, float)
    if spreads.shape not in ((), (len(places),)) or (spreads < 0).any():
        raise ValueError(
            f"[make_blobs] got cluster_std {cluster_std} for {len(places)} centers; expected a number >= 0, "
            "or one for each"
        )
    spreads = np.broadcast_to(spreads, len(places))
    clouds = [
        center + spread * rng.standard_normal((n, places.shape[1]))
        for n, center, spread in zip(counts, places, spreads, strict=True)
    ]
    return _finish("make_blobs", clouds, None, shuffle, rng)


def make_classification(
    n_samples: int = 100,
    n_features: int = 20,
    *,
    n_informative: int = 2,
    n_redundant: int = 2,
    n_classes: int = 2,
    n_clusters_per_class: int = 2,
    weights: Sequence[float] | None = None,
    flip_y: float = 0.01,
    class_sep: float = 1.0,
    shuffle: bool = True,
    random_state: Seed = None,
) -> Samples:
    """A table of which few columns matter: clusters at the corners of a cube, their mixtures, and noise.

    Args:
        n_samples, shuffle, random_state: as in `make_moons`; the columns are shuffled, too.
        n_features: columns in all; those neither informative nor redundant are noise.
        n_informative: columns in which the clusters lie, at corners of a cube of side `2 class_sep`.
        n_redundant: columns that are weighted sums of the informative ones.
        n_classes, n_clusters_per_class: their clusters are spread over different corners.
        weights: share of each class; equal shares if not given.
        flip_y: share of the labels that are drawn anew, at random.

    Returns:
        `x`, float32 (n_samples, n_features), and `y`, int64 (n_samples,).

    Raises:
        ValueError: more columns of a kind, or more clusters, than there is room for; shares that are none.

    Source: I. Guyon, "Design of experiments for the NIPS 2003 variable selection benchmark", 2003.

    >>> from ranvier.data.datasets import make_classification
    >>> x, y = make_classification(1000, 20, random_state=0)
    >>> x.shape, 0.4 < y.mean().item() < 0.6
    ((1000, 20), True)
    """
    name = "make_classification"
    rng = numpy_generator(random_state, name)
    _at_least(name, "n_informative", n_informative, 1)
    clusters = n_classes * n_clusters_per_class
    if n_informative + n_redundant > n_features or n_redundant < 0:
        raise ValueError(
            f"[{name}] got {n_informative} informative and {n_redundant} redundant features; "
            f"expected at most n_features = {n_features}"
        )
    if not 1 <= clusters <= 2**n_informative:
        raise ValueError(
            f"[{name}] got {clusters} clusters and {n_informative} informative features; expected at most "
            f"{2**n_informative}, one for each corner of their cube"
        )
    if not 0 <= flip_y <= 1:
        raise ValueError(f"[{name}] got flip_y {flip_y}; expected a share from 0 to 1")
    counts = _shares(name, n_samples, n_classes, weights)
    groups = []
    corners = class_sep * _corners(rng, clusters, n_informative).reshape(n_classes, n_clusters_per_class, -1)
    for n, places in zip(counts, corners, strict=True):
        parts = []
        for size, corner in zip(_counts(name, n, n_clusters_per_class), places, strict=True):
            mixing = rng.uniform(-1, 1, (n_informative, n_informative))  # a cloud of any shape, not a ball
            parts.append(corner + rng.standard_normal((size, n_informative)) @ mixing)
        groups.append(np.concatenate(parts))
    informative = np.concatenate(groups)
    redundant = informative @ rng.uniform(-1, 1, (n_informative, n_redundant))
    rest = rng.standard_normal((len(informative), n_features - n_informative - n_redundant))
    x = np.concatenate([informative, redundant, rest], axis=1)
    y = np.repeat(np.arange(n_classes), counts)
    flipped = rng.random(len(y)) < flip_y
    y[flipped] = rng.integers(0, n_classes, int(flipped.sum()))
    if shuffle:
        order = rng.permutation(len(x))
        x, y = x[order][:, rng.permutation(n_features)], y[order]
    return x.astype(np.float32), y.astype(np.int64)


def _corners(rng: np.random.Generator, count: int, dimensions: int) -> Array:
    """`count` different corners of the cube of side 2 around the origin."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        found[tuple(rng.choice([-1, 1], dimensions).tolist())] = None
    return np.array(list(found), float)


def _at_least(name: str, argument: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"[{name}] got {argument} {value!r}; expected an integer")
    if value < least:
        raise ValueError(f"[{name}] got {argument} {value}; expected at least {least}")


def _counts(name: str, n_samples: Counts, classes: int) -> list[int]:
    """How many samples each class has; of an odd number the last classes have one more, as scikit-learn's."""
    if isinstance(n_samples, (int, np.integer)):
        _at_least(name, "n_samples", n_samples, 1)
        return [(int(n_samples) + k) // classes for k in range(classes)]
    counts = list(n_samples)
    if len(counts) != classes:
        raise ValueError(f"[{name}] got n_samples {counts}; expected one number, or {classes}")
    for count in counts:
        _at_least(name, "n_samples", count, 0)
    return counts


def _shares(name: str, n_samples: int, classes: int, weights: Sequence[float] | None) -> list[int]:
    if weights is None:
        return _counts(name, n_samples, classes)
    shares = np.asarray(weights, float)
    if shares.shape != (classes,) or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise ValueError(f"[{name}] got weights {weights}; expected {classes} shares that sum to 1")
    _at_least(name, "n_samples", n_samples, 1)
    ends = np.rint(np.cumsum(shares) * n_samples).astype(int)
    return [int(n) for n in np.diff(ends, prepend=0)]


def _finish(name: str, parts: list[Array], noise: float | None, shuffle: bool, seed: Seed) -> Samples:
    """The classes' samples as one array and their labels, with noise and in random order where asked for."""
    if noise is not None and not noise >= 0:
        raise ValueError(f"[{name}] got noise {noise}; expected a number >= 0")
    rng = numpy_generator(seed, name)
    x = np.concatenate(parts)
    y = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    if noise:
        x = x + noise * rng.standard_normal(x.shape)
    if shuffle:
        order = rng.permutation(len(x))
        x, y = x[order], y[order]
    return x.astype(np.float32), y.astype(np.int64)
