"""The state of NumPy's generators, from which the core draws the same numbers in less time."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.failures import OpError
from ranvier.autograd.recording import host, recordings

I64 = np.dtype(np.int64)
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


def bits_of(draw: Any) -> Any:
    """The bit generator of NumPy's, if the core draws NumPy's numbers from it; else None."""
    bits = getattr(draw, "bit_generator", None)
    return bits if type(bits) is np.random.Philox and _is_known() else None


def bernoulli(draw: Any, limit: Any, out: Array) -> None:
    """out takes ``draw.random() < limit``. TypeError or ValueError where the core does not draw that."""
    if recordings or (bits := bits_of(draw)) is None:
        raise TypeError("another generator")
    _core._next_bernoulli(bits, limit, out)


def check_range(name: str, low: Any, high: Any, dtype: Any) -> None:
    """Raises ValueError unless there are numbers low <= n < high, and the dtype can hold them."""
    if dtype is I64 and type(low) is type(high) is int and -(2**63) <= low < high <= 2**63:
        return
    kind = np.dtype(dtype)
    if not low < high:
        raise OpError(f"[{name}] got {low} to {high}; expected a lower number first")
    least, most = (0, 1) if kind.kind == "b" else (-math.inf, math.inf)
    if kind.kind in "iu":
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
    elif kind.kind == "f":
        least, most = float(np.finfo(kind).min), float(np.finfo(kind).max)
    if low < least or high - 1 > most:
        raise OpError(f"[{name}] got {low} to {high}; expected numbers that {kind} can hold")


def halves(kernel: str) -> Any:
    """The kernel of random numbers for float16, with the arguments of that for float32."""

    def draw(shape: Any, kind: str, low: float, high: float, key: Any) -> Any:
        return host(_halves, getattr(_core, kernel)(shape, "float32", low, high, key), kernel)

    return draw


def _halves(values: Any, kernel: str) -> Any:
    values = values.astype(np.float16)
    return (
        values % np.float16(1) if kernel == "random_uniform" else values
    )  # rounded to 1 is 0, as in PyTorch
