"""Ablation: what each part of a network is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ranvier.autograd import random
from ranvier.data.sampler import positive

__all__ = ["ablate"]

Score = Callable[..., float]


def ablate(score: Score, parts: Iterable[str], *, repeats: int = 1, seed: int = 0) -> dict[str, float]:
    """The effect of each part of a network: the score without it, minus that of the whole network.

    Args:
        score: called as `score(convolution=True, pooling=False, ...)`, with a keyword for each part: builds
            the network with the parts that are True, trains it and returns a number.
        parts: their names.
        repeats: calls for each variant, with the random streams of seed, seed + 1 ...; the mean is used.
            Differences below the spread between seeds are chance.
        seed: of the first call.

    Returns: The score of "all", then the difference without each part.

    Raises ValueError: no parts, or repeats below 1.

    >>> import ranvier as rv
    >>> rv.explore.ablate(lambda a, b: 0.5 + 0.25 * a + 0.125 * b, ["a", "b"])
    {'all': 0.875, 'a': -0.25, 'b': -0.125}
    """
    names = list(parts)
    repeats = positive("ablate", "repeats", repeats)
    if not names:
        raise ValueError("[ablate] got no parts; expected the names of some")

    def mean(without: str = "") -> float:
        found = []
        for i in range(repeats):
            with random.using(random.Generator().manual_seed(seed + i)):
                found.append(float(score(**{name: name != without for name in names})))
        return float(np.mean(found))

    whole = mean()
    return {"all": whole, **{name: mean(name) - whole for name in names}}
