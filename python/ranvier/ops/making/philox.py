"""NumPy's Philox generators, whose numbers the core draws in less time; keys and ranges of draws."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import observers
from ranvier.tensors.dtypes import finfo
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import require_numbers
from ranvier.tensors.recording import host

I64 = np.dtype(np.int64)
Array = np.ndarray[Any, Any]
Order = np.ndarray[Any, np.dtype[np.intp]]
_MASK = (1 << 64) - 1


@functools.cache
def _is_known() -> bool:
    """Whether the core knows how this NumPy has the state of a Philox in memory."""
    bits = np.random.Philox(1)
    np.random.Generator(bits).integers(9, size=3)  # so that no part of the state is 0
    state: Any = bits.state
    parts = *state["state"]["counter"], *state["state"]["key"], *state["buffer"]
    last = state["buffer_pos"], state["has_uint32"], state["uinteger"]
    return _core._knows_philox(bits, [int(n) for n in (*parts, *last)])


def bits_of(draw: Any) -> Any:
    """The bit generator of NumPy's, if the core draws NumPy's numbers from it; else None."""
    bits = getattr(draw, "bit_generator", None)
    return bits if type(bits) is np.random.Philox and _is_known() else None


def permutation(n: int, seed: int, out: Order | None = None) -> Order:
    """The same as ``np.random.Generator(np.random.Philox(seed)).permutation(n)``, several times faster.

    n is below 2**32, the seed at least 0 and below 2**64. out: n contiguous elements for the result.
    """
    order = np.empty(n, np.intp) if out is None else out
    _core.permute(order, seed if seed < 2**63 else seed - 2**64)
    return order


def mixed(seed: int, number: int) -> int:
    """Key `number` of a seed: neighbouring numbers and seeds give unrelated keys."""
    return _mix(_mix(seed) + number)


def _mix(x: int) -> int:  # the finaliser of SplitMix64 (Steele, Lea, Flood 2014)
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def bernoulli(draw: Any, limit: Any, out: Array) -> None:
    """out takes ``draw.random() < limit``. TypeError or ValueError where the core does not draw that."""
    if observers or (bits := bits_of(draw)) is None:
        raise TypeError("another generator")
    _core._next_bernoulli(bits, limit, out)


def check_range(name: str, low: Any, high: Any, dtype: Any) -> None:
    """Raises ValueError unless there are numbers low <= n < high, and the dtype can hold them."""
    if dtype is I64 and type(low) is type(high) is int and -(2**63) <= low < high <= 2**63:
        return
    kind = np.dtype(dtype)
    require_numbers(name, kind)
    if not low < high:
        raise OpError(f"[{name}] got {low} to {high}; expected a lower number first")
    least, most = (0, 1) if kind.kind == "b" else (-math.inf, math.inf)
    if kind.kind in "iu":
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
    elif kind.kind == "f":
        least, most = finfo(kind).min, finfo(kind).max
    if low < least or high - 1 > most:
        raise OpError(f"[{name}] got {low} to {high}; expected numbers that {kind} can hold")


def halves(kernel: str, dtype: np.dtype[Any]) -> Any:
    """The kernel of random numbers for half floats, with the arguments of that for float32."""

    def draw(shape: Any, kind: str, low: float, high: float, key: Any) -> Any:
        return host(_halves, getattr(_core, kernel)(shape, "float32", low, high, key), kernel, dtype)

    return draw


def _halves(values: Any, kernel: str, dtype: np.dtype[Any]) -> Any:
    values = values.astype(dtype)
    if kernel == "random_uniform":
        values[values == 1] = 0  # of rounding, as in PyTorch
    return values
