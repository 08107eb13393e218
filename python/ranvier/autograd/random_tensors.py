"""Functions that make Tensors of random numbers, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.creation import _finish, _size
from ranvier.autograd.data import array_of, shape_of
from ranvier.autograd.random import Generator, fresh_key
from ranvier.autograd.random import generator as numpy_generator
from ranvier.autograd.tensor import Tensor

__all__ = ["rand", "rand_like", "randint", "randn", "randn_like", "randperm"]


def rand(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """Uniform numbers in [0, 1), float32 unless dtype says float64; of the generator, if one is given."""
    kind = str(np.dtype(dtype or np.float32))
    values = _core.random_uniform(_size(size, settings), kind, 0.0, 1.0, key_of("rand", generator))
    return _finish(values, requires_grad, device, settings)


def randn(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """Standard normal numbers, float32 unless dtype says float64; of the generator, if one is given."""
    kind = str(np.dtype(dtype or np.float32))
    values = _core.random_normal(_size(size, settings), kind, 0.0, 1.0, key_of("randn", generator))
    return _finish(values, requires_grad, device, settings)


def key_of(name: str, generator: Any) -> Any:
    """The next key of the process, or of the generator."""
    if generator is None:
        return fresh_key()
    return _given(name, generator).fresh_key()


def _given(name: str, generator: Any) -> Generator:
    if not isinstance(generator, Generator):
        raise TypeError(f"[{name}] got generator {generator!r}; expected a ranvier.Generator")
    return generator


def rand_like(
    input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **settings: Any
) -> Tensor:
    """As :func:`rand`, in the shape and dtype of x."""
    array = array_of("rand_like", input)
    return rand(
        array.shape, dtype=dtype or array.dtype, device=device, requires_grad=requires_grad, **settings
    )


def randn_like(
    input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **settings: Any
) -> Tensor:
    """As :func:`randn`, in the shape and dtype of x."""
    array = array_of("randn_like", input)
    return randn(
        array.shape, dtype=dtype or array.dtype, device=device, requires_grad=requires_grad, **settings
    )


def _integers(name: str, generator: Any) -> np.random.Generator:
    return numpy_generator() if generator is None else _given(name, generator).numpy()


def check_range(name: str, low: Any, high: Any, dtype: Any) -> None:
    """Raises ValueError unless there are numbers low <= n < high, and the dtype can hold them."""
    kind = np.dtype(dtype)
    if not low < high:
        raise ValueError(f"[{name}] got {low} to {high}; expected a lower number first")
    least, most = (0, 1) if kind.kind == "b" else (-math.inf, math.inf)
    if kind.kind in "iu":
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
    elif kind.kind == "f":
        least, most = float(np.finfo(kind).min), float(np.finfo(kind).max)
    if low < least or high - 1 > most:
        raise ValueError(f"[{name}] got {low} to {high}; expected numbers that {kind} can hold")


def randint(
    low: Any = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """Whole numbers, low <= n < high, in int64: ``randint(10, (3,))`` or ``randint(5, 10, (3,))``.

    Raises ValueError unless low < high, and for numbers that the dtype cannot hold.
    """
    if isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    check_range("randint", low, high, dtype or np.int64)
    draw = _integers("randint", generator)
    return _finish(
        draw.integers(low, high, shape_of((size,))).astype(dtype or np.int64), requires_grad, device, settings
    )


def randperm(
    n: int, *, generator: Any = None, dtype: Any = None, device: Any = None, **settings: Any
) -> Tensor:
    """The numbers 0 ... n - 1 in random order. Raises ValueError for n < 0."""
    if n:
        check_range("randperm", 0, n, dtype or np.int64)
    values = _integers("randperm", generator).permutation(n).astype(dtype or np.int64)
    return _finish(values, False, device, settings)
