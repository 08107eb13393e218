"""Whole numbers and permutations of NumPy's generators, drawn by the core: the same ones, in less time."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.recording import recordings

Array = np.ndarray[Any, Any]


@functools.cache
def _is_known() -> bool:
    """Whether the core knows how this NumPy has the state of a Philox in memory."""
    bits = np.random.Philox(1)
    np.random.Generator(bits).integers(9, size=3)  # so that no part of the state is 0
    state: Any = bits.state
    parts = *state["state"]["counter"], *state["state"]["key"], *state["buffer"]
    last = state["buffer_pos"], state["has_uint32"], state["uinteger"]
    return _core._knows_philox(bits, [int(n) for n in (*parts, *last)])


def _bits(draw: Any) -> Any:
    """The bit generator, if the core draws NumPy's numbers from it; each has a lock."""
    bits = getattr(draw, "bit_generator", None)
    return bits if type(bits) is np.random.Philox and not recordings and _is_known() else None


def integers(draw: Any, low: int, high: int, shape: tuple[int, ...]) -> Array:
    """``draw.integers(low, high, shape)`` in int64."""
    if 0 < high - low <= 2**32 and type(low) is type(high) is int and (bits := _bits(draw)) is not None:
        with bits.lock:
            return _core._next_integers(bits, low, high - low - 1, shape)
    return np.asarray(draw.integers(low, high, shape))


def bernoulli(draw: Any, limit: Any, out: Array) -> None:
    """out takes ``draw.random() < limit``. TypeError or ValueError where the core does not draw that."""
    if (bits := _bits(draw)) is None:
        raise TypeError("another generator")
    with bits.lock:
        _core._next_bernoulli(bits, limit, out)


def permutation(draw: Any, n: int) -> Array:
    """``draw.permutation(n)``"""
    if type(n) is int and 0 <= n < 2**32 and (bits := _bits(draw)) is not None:
        with bits.lock:
            return _core._next_permutation(bits, n)
    return np.asarray(draw.permutation(n))
