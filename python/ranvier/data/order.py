"""Random orders from the library's generator, a seed or another generator."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ranvier.autograd import random
from ranvier.autograd.random import Generator

__all__ = ["Seed", "permutation", "stream_of"]

Seed: TypeAlias = int | np.random.Generator | Generator | None


def permutation(n: int, seed: Seed = None) -> npt.NDArray[np.intp]:
    """The numbers 0 to n - 1 in random order; None draws from the generator that `rv.manual_seed` seeds.

    Raises TypeError: a seed that is neither an integer nor a generator; ValueError: a seed below 0.
    """
    if type(seed) is int and 0 <= seed < 2**64 and n < 2**32:
        return random.permutation(n, seed)
    return numpy_generator(seed, "permutation").permutation(n)


def numpy_generator(seed: Seed, name: str) -> np.random.Generator:
    """NumPy's generator of a seed; `name` is the function in the errors."""
    if seed is None:
        return random.generator()
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, Generator):
        return seed.numpy()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if seed < 0:
            raise ValueError(f"[{name}] got seed {seed}; expected at least 0")
        return np.random.Generator(np.random.Philox(int(seed)))
    raise TypeError(
        f"[{name}] got a seed of type {type(seed).__name__}; expected an int, rv.Generator or numpy Generator"
    )


def stream_of(seed: Seed, name: str) -> Generator | None:
    """The Generator of a seed; None means the library's."""
    if seed is None or isinstance(seed, Generator):
        return seed
    if isinstance(seed, np.random.Generator):
        return Generator().manual_seed(int(seed.integers(2**63)))
    numpy_generator(seed, name)  # for its errors
    return Generator().manual_seed(seed)
