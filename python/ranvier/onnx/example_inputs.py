"""The inputs of the runs of a model: which sizes their dynamic axes have, and which values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ranvier.onnx.arguments import Axes
from ranvier.onnx.values import Array
from ranvier.tape.variations import other_values

Sizes = dict[str, int]
"""The size of each dynamic axis, by its name."""


class ExampleInputs(NamedTuple):
    """Makes inputs from those of the example."""

    arrays: list[Array]
    axes: Axes

    def size_of(self, symbol: str) -> int:
        """The size of a dynamic axis in the example."""
        for i, named in self.axes.items():
            for axis, name in named.items():
                if name == symbol:
                    return int(self.arrays[i].shape[axis])
        raise KeyError(symbol)

    def make(self, sizes: Sizes, seed: int, widths: list[int]) -> list[Array]:
        """Inputs of these sizes: the example's values for seed 0, else others (`other_values`).

        widths: for each input how wide a range its values have (`other_values`: 0 to 3).
        """
        made = []
        for i, array in enumerate(self.arrays):
            named = self.axes.get(i, {})
            value = _resized(array, {axis: sizes[name] for axis, name in named.items()})
            if seed:
                value = other_values(value, seed + i, widths[i])
            made.append(value)
        return made


def _resized(array: Array, sizes: dict[int, int]) -> Array:
    """The array with other sizes of some axes; its slices are repeated, or left out."""
    for axis, size in sizes.items():
        places = np.arange(size) % max(array.shape[axis], 1)
        array = np.take(array, places, axis)
    return array


def extreme_inputs(arrays: list[Array], wide: list[Array], seed: int) -> list[Array]:
    """Inputs of unusual values, of the shapes of `arrays`; wide: inputs whose values have a wide range.

    seed 0: zeros. 1: the largest number of `wide` everywhere. 2: no positive numbers (integers: unchanged).
    """
    return [_extreme_values(array, other, seed) for array, other in zip(arrays, wide, strict=True)]


def _extreme_values(array: Array, wide: Array, seed: int) -> Array:
    if seed == 0:
        return np.zeros_like(array)
    if seed == 1:
        return np.full_like(array, wide.max(initial=0))
    if array.dtype.kind == "f":
        return -np.abs(wide)
    return array


# --- sizes
def first_sizes(example_sizes: Sizes) -> list[Sizes]:
    """Sizes at which results are compared after another first call: each axis alone, shorter and longer."""
    plans = []
    for symbol, n in example_sizes.items():
        plans += [{**example_sizes, symbol: max(n - 1, 1)}, {**example_sizes, symbol: 2 * n + 3}]
    return plans


def traced_sizes(example_sizes: Sizes) -> list[Sizes]:
    """The sizes of the traced runs after the first one.

    They are the example's (with other values), each axis alone enlarged by two numbers, and all axes enlarged
    by different numbers.
    """
    plans = [example_sizes]
    for symbol, n in example_sizes.items():
        plans += [{**example_sizes, symbol: n + 1}, {**example_sizes, symbol: 2 * n + 3}]
    if len(example_sizes) > 1:
        plans.append({symbol: n + 2 + i for i, (symbol, n) in enumerate(example_sizes.items())})
    return plans


_MOST_ELEMENTS = 2**22  # of an input in a comparison at a far size


def compared_sizes(example_sizes: Sizes, arrays: list[Array], least: int) -> list[Sizes]:
    """Sizes at which the file is compared. least: all sizes up to this one are among them."""
    elements = max(array.size for array in arrays)
    axes = len(example_sizes)
    plans = []
    for symbol, n in example_sizes.items():
        near = {1, *range(max(n - 2, 1), n + 5), *range(1, least + 1)}
        # times 2: the next prime is less than twice as large
        far = {_next_prime(times * n) for times in (2, 4, 8) if elements * times * 2 < _MOST_ELEMENTS}
        plans += [{**example_sizes, symbol: size} for size in sorted(near | far)]
    if axes > 1:
        plans.append(dict.fromkeys(example_sizes, 1))
    if axes > 1 and elements * 3**axes < _MOST_ELEMENTS:
        plans.append({symbol: _next_prime(2 * n + i) for i, (symbol, n) in enumerate(example_sizes.items())})
    return plans


def _next_prime(n: int) -> int:
    """The least prime that is greater than n."""
    n += 1
    while n < 2 or any(n % divisor == 0 for divisor in range(2, int(n**0.5) + 1)):
        n += 1
    return n
