"""Random calls of the kernels: each answers or refuses in the house's form. Under a sanitizer, also a search
for reads and writes out of bounds. RANVIER_FUZZ_CALLS asks for more calls, RANVIER_FUZZ_SEED for others."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from ranvier import kernels
from support.calls import KERNELS
from support.wrong_input import SAME_VALUES, WRONG_ATTRIBUTES, attempt, describe, flat

CALLS = int(os.environ.get("RANVIER_FUZZ_CALLS", "4000"))
SEED = int(os.environ.get("RANVIER_FUZZ_SEED", "20240229"))
PARTS = 8


def random_array(rng: Any, like: Any) -> Any:
    """Like the array of the right call, often of other sizes, values, rank or memory."""
    x = like
    if rng.random() < 0.5:
        shape = [int(rng.choice([0, 1, 2, 3, 5, 8, 17, 33])) if rng.random() < 0.3 else n for n in x.shape]
        x = np.resize(like, shape) if like.size else np.zeros(shape, like.dtype)
    if rng.random() < 0.1:
        x = x[None] if rng.random() < 0.5 or x.ndim == 0 else x.reshape(-1)
    if rng.random() < 0.15:
        x = x.astype(rng.choice(["float32", "float64", "int64", "uint8", "bool", "float16"]))
    if rng.random() < 0.1 and x.dtype.kind == "f":
        x = np.full_like(x, rng.choice([np.nan, np.inf, -np.inf, 0.0]))
    if rng.random() < 0.1 and x.dtype.kind in "iu":
        x = np.full_like(x, rng.integers(0, 128))
    if rng.random() < 0.3:
        x = SAME_VALUES[rng.integers(len(SAME_VALUES))](np.ascontiguousarray(x))
    if rng.random() < 0.2:
        x = np.asfortranarray(x)
    return x


def random_attribute(rng: Any, right: Any) -> Any:
    if rng.random() < 0.1:
        return WRONG_ATTRIBUTES[rng.integers(len(WRONG_ATTRIBUTES))]
    if isinstance(right, bool):
        return bool(rng.integers(2))
    if isinstance(right, int):
        sizes = rng.integers(-1, 6, 2).tolist()
        return sizes[0] if rng.random() < 0.7 else tuple(sizes)
    if isinstance(right, float):
        return float(rng.normal())
    return right


def random_call(rng: Any) -> tuple[str, list[Any], dict[str, Any]]:
    name = sorted(KERNELS)[rng.integers(len(KERNELS))]
    arrays, attributes = KERNELS[name]
    spoiled = {key: random_attribute(rng, a) if rng.random() < 0.4 else a for key, a in attributes.items()}
    given = [random_array(rng, x) for x in arrays if not isinstance(x, list)]
    if not given:
        return name, [[random_array(rng, x) for x in arrays[0]]], spoiled
    if rng.random() < 0.3 and len(given) > 1:  # shapes that agree are not found by chance
        first = given[0]
        given = [first if x.shape == arrays[0].shape else y for x, y in zip(arrays, given, strict=True)]
    return name, given, spoiled


@pytest.mark.parametrize("part", range(PARTS))
def test_random_calls(part: int) -> None:
    rng = np.random.default_rng([SEED, part])
    answered = 0
    for number in range(CALLS // PARTS):
        name, arrays, attributes = random_call(rng)
        what = f"call {number} of seed {SEED}, {part}: {name}({[describe(x) for x in arrays]}, {attributes})"
        before = [x.copy() if isinstance(x, np.ndarray) else None for x in arrays]
        result = attempt(lambda n=name, a=arrays, k=attributes: getattr(kernels, n)(*a, **k), what)
        answered += bool(flat(result))
        for x, kept in zip(arrays, before, strict=True):
            assert kept is None or x.tobytes() == kept.tobytes(), f"an input changed: {what}"
    assert answered > CALLS // PARTS // 8  # else the calls are too wrong to reach a kernel
