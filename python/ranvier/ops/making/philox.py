"""Helpers of random draws: NumPy's Philox generators, keys of streams, and ranges of numbers.

The core draws the numbers of a NumPy generator on Philox itself, faster than NumPy and with the same bits;
for this it reads and writes the generator's state in memory.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import observers
from ranvier.tensors.dtypes import finfo
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import HALVES, Array, require_numbers
from ranvier.tensors.recording import host
from ranvier.tensors.types import DtypeLike, ShapeLike

I64 = np.dtype(np.int64)
_NAMES = {"f": "float32", "d": "float64"}
Order = np.ndarray[Any, np.dtype[np.intp]]
_MASK = (1 << 64) - 1


@functools.cache
def _is_known() -> bool:
    """True if the core knows where this version of NumPy has the state of a Philox in memory."""
    bits = np.random.Philox(1)
    np.random.Generator(bits).integers(9, size=3)  # so that no part of the state is 0
    state: Any = bits.state
    parts = *state["state"]["counter"], *state["state"]["key"], *state["buffer"]
    last = state["buffer_pos"], state["has_uint32"], state["uinteger"]
    return _core._knows_philox(bits, [int(n) for n in (*parts, *last)])


def bits_of(draw: Any) -> Any:
    """The bit generator of a NumPy generator, if the core can draw from it; else None."""
    bits = getattr(draw, "bit_generator", None)
    if type(bits) is np.random.Philox and _is_known():
        return bits
    return None


def permutation(n: int, seed: int, out: Order | None = None) -> Order:
    """The same as ``np.random.Generator(np.random.Philox(seed)).permutation(n)``, several times faster.

    The seed is at least 0 and below 2**64. out: n contiguous elements for the result.
    """
    order = np.empty(n, np.intp) if out is None else out
    if n >= 2**32:  # The core counts in 32 bits.
        order[:] = np.random.Generator(np.random.Philox(seed)).permutation(n)
        return order
    # the core reads a signed number of 64 bits
    _core.permute(order, seed if seed < 2**63 else seed - 2**64)
    return order


def permutations(n: int, seeds: list[int]) -> Order:
    """The permutations with these seeds, one in each row."""
    orders = np.empty((len(seeds), n), np.intp)
    for row, seed in zip(orders, seeds, strict=True):
        permutation(n, seed, row)
    return orders


def mixed(seed: int, number: int) -> int:
    """Key `number` of a seed: neighbouring numbers and seeds give unrelated keys. For streams that depend on
    a place, such as those of batches (data/batches.py), not on what was drawn before."""
    return _mix(_mix(seed) + number)


def _mix(x: int) -> int:  # the finaliser of SplitMix64 (Steele, Lea, Flood 2014)
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def bernoulli(draw: Any, limit: Any, out: Array) -> None:
    """Writes ``draw.random() < limit`` to out. Raises TypeError or ValueError if the core cannot draw it."""
    if observers or (bits := bits_of(draw)) is None:
        raise TypeError("another generator")
    _core._next_bernoulli(bits, limit, out)


def check_range(name: str, low: Any, high: Any, dtype: DtypeLike | None) -> None:
    """Raises ValueError unless there are numbers low <= n < high, and the dtype can hold them."""
    if dtype is I64 and type(low) is type(high) is int and -(2**63) <= low < high <= 2**63:
        return
    kind = np.dtype(dtype)
    require_numbers(name, kind)
    if not low < high:
        raise OpError(f"[{name}] got {low} to {high}; expected a lower number first")
    least, most = (0, 1) if kind.kind == "b" else (-math.inf, math.inf)
    if kind.kind in "iu":
        least = np.iinfo(kind).min
        most = np.iinfo(kind).max
    elif kind.kind == "f":
        least = finfo(kind).min
        most = finfo(kind).max
    if low < least or high - 1 > most:
        raise OpError(f"[{name}] got {low} to {high}; expected numbers that {kind} can hold")


def held(low: int, high: int, dtype: DtypeLike | None) -> tuple[int, int]:
    """The limits of whole numbers, low <= n < high. For a dtype of floats the limits are moved inwards, as in
    PyTorch, so that no number is rounded to `high` or to a number below `low`."""
    kind = np.dtype(dtype)
    if kind.kind != "f":
        return low, high
    digits = 1 - int(math.log2(finfo(kind).eps))
    least = int(np.array(float(low + 1)).astype(kind))
    most = int(np.array(float(high - 1)).astype(kind))
    if least < low:
        low = least + (1 << abs(low + 1).bit_length() - digits)
    if most >= high:
        high = most - (1 << abs(high - 1).bit_length() - digits)
    return low, high


def numbers(kernel: str, shape: ShapeLike, dtype: np.dtype[Any], a: float, b: float, key: Any) -> Any:
    """Random numbers in a dtype of floats. kernel: "random_uniform", in [a, b), or "random_normal", with mean
    a and standard deviation b.

    Half floats are drawn in float32 and rounded. A uniform number that is rounded to the upper limit becomes
    the lower limit, as in PyTorch.
    """
    draw = getattr(_core, kernel)
    if dtype not in HALVES:
        return draw(shape, _NAMES.get(dtype.char) or str(dtype), a, b, key)
    limits = (a, b) if kernel == "random_uniform" else ()
    return host(_halves, draw(shape, "float32", a, b, key), dtype, *limits)


def _halves(values: Array, dtype: np.dtype[Any], *limits: float) -> Any:
    """float32 numbers as half floats; limits: of uniform numbers."""
    values = values.astype(dtype)
    if limits:
        low, high = np.array(limits).astype(dtype)
        values[values == high] = low
    return values
