"""Random shapes and axes for the draws of OpCase: sizes of one, sizes around vector widths, none empty."""

import numpy as np

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)


def any_shape(rng: np.random.Generator, least: int = 0, most: int = 5) -> tuple[int, ...]:
    """``least`` to ``most`` dimensions, a few thousand elements at most."""
    shape: list[int] = []
    for _ in range(int(rng.integers(least, most + 1))):
        shape.append(int(rng.choice([n for n in SIZES if n * int(np.prod(shape)) <= 4000])))
    return tuple(rng.permutation(shape).tolist())


def broadcast_shapes(rng: np.random.Generator, count: int = 2) -> list[tuple[int, ...]]:
    """Shapes that broadcast with each other: some dimensions are 1, some leading ones left out."""
    whole = any_shape(rng)
    shapes = []
    for _ in range(count):
        mine = [n if rng.random() < 0.7 else 1 for n in whole]
        left_out = int(rng.integers(0, len(mine) + 1)) if rng.random() < 0.4 else 0
        shapes.append(tuple(mine[left_out:]))
    return shapes


def any_axis(rng: np.random.Generator, ndim: int) -> int:
    return int(rng.integers(-ndim, ndim))
