"""einsum in plain NumPy: every operand over the whole grid of all indices, multiplied and added up.

For "ij,jk->ik" the grid has the axes i, j, k; element (i, j, k) of the product is a[i, j] b[j, k], and is
added to y[i, k]. This is slow, but it is the definition.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _grid(equation: str, arrays: tuple[Array, ...]) -> tuple[list[tuple[Array, ...]], tuple[Array, ...]]:
    """For each operand, and for the result, the indices of each point of the grid; letters only."""
    left, right = equation.split("->")
    sizes: dict[str, int] = {}
    for letters, array in zip(left.split(","), arrays, strict=True):
        for letter, n in zip(letters, array.shape, strict=True):
            sizes[letter] = max(n, sizes.get(letter, 0)) if n else 0
    axes = dict(zip(sizes, np.indices(tuple(sizes.values())), strict=True))
    places = [
        tuple(axes[letter] % n for letter, n in zip(letters, array.shape, strict=True))  # size 1: place 0
        for letters, array in zip(left.split(","), arrays, strict=True)
    ]
    return places, tuple(axes[letter] for letter in right)


def _product(arrays: tuple[Array, ...], places: list[tuple[Array, ...]]) -> Any:
    result: Any = 1.0
    for array, place in zip(arrays, places, strict=True):
        result = result * array[place]
    return result


def _add_at(target: Array, places: tuple[Array, ...], values: Any) -> None:
    if places:
        np.add.at(target, places, values)
    else:  # one place for all
        target += np.sum(values)


def einsum(equation: str, *arrays: Array) -> Array:
    places, to = _grid(equation, arrays)
    y = np.zeros([int(axis.max()) + 1 if axis.size else 0 for axis in to])
    _add_at(y, to, _product(arrays, places))
    return y


def einsum_backward(dy: Array, equation: str, *arrays: Array) -> tuple[Array, ...]:
    """Each operand's element gets, from every point it is part of, dy times the other operands."""
    places, to = _grid(equation, arrays)
    gradients = []
    for i, array in enumerate(arrays):
        others = _product(arrays[:i] + arrays[i + 1 :], places[:i] + places[i + 1 :])
        dx = np.zeros(array.shape)
        _add_at(dx, places[i], np.asarray(dy)[to] * others)
        gradients.append(dx)
    return tuple(gradients)
