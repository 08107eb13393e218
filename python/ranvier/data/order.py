"""Random orders: drawn from the library's generator, or from a seed or generator of one's own."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ranvier.autograd import random

__all__ = ["Seed", "permutation"]

Seed: TypeAlias = int | np.random.Generator | None


def permutation(n: int, seed: Seed = None) -> npt.NDArray[np.intp]:
    """The numbers 0 to n - 1 in random order; None draws from the generator that `rv.manual_seed` seeds.

    Raises:
        TypeError: a seed that is neither an integer nor a NumPy Generator.
        ValueError: a seed below 0.
    """
    if seed is None:
        generator = random.generator()
    elif isinstance(seed, np.random.Generator):
        generator = seed
    elif isinstance(seed, (int, np.integer)):
        if seed < 0:
            raise ValueError(f"[permutation] got seed {seed}; expected at least 0")
        generator = np.random.Generator(np.random.Philox(int(seed)))
    else:
        raise TypeError(
            f"[permutation] got a seed of type {type(seed).__name__}; expected an int or numpy Generator"
        )
    return generator.permutation(n)
