"""Orthogonal polynomials of torch.special, by their recurrences (DLMF 18.9) in float64, rounded once.

As in PyTorch the degree n may be a tensor, whose numbers lose their fractions; below 0 the result is 0, and
no polynomial has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ranvier import Tensor
from ranvier.ops.elementwise.decorator import elementwise
from ranvier.tensors.types import TensorLike
from ranvier.torch.functions.bessel import Array, Values, rounded_once

Step = Callable[[int, Array, Array, Array], Array]


def _by_recurrence(first: Callable[[Array], Array], step: Step) -> Values:
    """The values p_n(x) of p_0 = 1, p_1 = first(x) and p_(k + 1) = step(k, x, p_k, p_(k - 1))."""

    def values(x: Array, n: Array) -> Array:
        x, n = np.broadcast_arrays(x, np.trunc(n))
        before = np.ones_like(x)
        here = first(x)
        y = np.where(n < 0, 0.0, np.where(n == 0, 1.0, here))
        y = np.where(np.isnan(n) | np.isnan(x), math.nan, y)
        highest = int(np.max(n, initial=0, where=np.isfinite(n)))
        for k in range(1, highest):
            following = step(k, x, here, before)
            before = here
            here = following
            y = np.where(n == k + 1, here, y)
        return y

    return rounded_once(values)


def _chebyshev(slope: float, shift: float, shifted: bool) -> Values:
    """p_1 = slope t + shift and p_(k + 1) = 2 t p_k - p_(k - 1), at t = x, or 2 x - 1 for shifted ones."""

    def place(x: Array) -> Array:
        if shifted:
            return 2 * x - 1
        return x

    def first(x: Array) -> Array:
        return slope * place(x) + shift

    def step(_: int, x: Array, here: Array, before: Array) -> Array:
        return 2 * place(x) * here - before

    return _by_recurrence(first, step)


@elementwise(numpy=_chebyshev(1, 0, False))
def chebyshev_polynomial_t(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial T of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_t(rv.tensor([2.0]), 2)
    tensor([7.])
    """


@elementwise(numpy=_chebyshev(2, 0, False))
def chebyshev_polynomial_u(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial U of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_u(rv.tensor([2.0]), 2)
    tensor([15.])
    """


@elementwise(numpy=_chebyshev(2, -1, False))
def chebyshev_polynomial_v(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial V of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_v(rv.tensor([2.0]), 2)
    tensor([11.])
    """


@elementwise(numpy=_chebyshev(2, 1, False))
def chebyshev_polynomial_w(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial W of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_w(rv.tensor([2.0]), 2)
    tensor([19.])
    """


@elementwise(numpy=_chebyshev(1, 0, True))
def shifted_chebyshev_polynomial_t(input: TensorLike, n: TensorLike) -> Tensor:
    """T of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_t(rv.tensor([1.5]), 2)
    tensor([7.])
    """


@elementwise(numpy=_chebyshev(2, 0, True))
def shifted_chebyshev_polynomial_u(input: TensorLike, n: TensorLike) -> Tensor:
    """U of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_u(rv.tensor([1.5]), 2)
    tensor([15.])
    """


@elementwise(numpy=_chebyshev(2, -1, True))
def shifted_chebyshev_polynomial_v(input: TensorLike, n: TensorLike) -> Tensor:
    """V of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_v(rv.tensor([1.5]), 2)
    tensor([11.])
    """


@elementwise(numpy=_chebyshev(2, 1, True))
def shifted_chebyshev_polynomial_w(input: TensorLike, n: TensorLike) -> Tensor:
    """W of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_w(rv.tensor([1.5]), 2)
    tensor([19.])
    """


def _same(x: Array) -> Array:
    return x


def _twice(x: Array) -> Array:
    return 2 * x


def _one_minus(x: Array) -> Array:
    return 1 - x


def _hermite_h(k: int, x: Array, here: Array, before: Array) -> Array:
    return 2 * x * here - 2 * k * before


def _hermite_he(k: int, x: Array, here: Array, before: Array) -> Array:
    return x * here - k * before


@elementwise(numpy=_by_recurrence(_twice, _hermite_h))
def hermite_polynomial_h(input: TensorLike, n: TensorLike) -> Tensor:
    """The physicists' Hermite polynomial.

    >>> import ranvier as rv
    >>> hermite_polynomial_h(rv.tensor([2.0]), 2)
    tensor([14.])
    """


@elementwise(numpy=_by_recurrence(_same, _hermite_he))
def hermite_polynomial_he(input: TensorLike, n: TensorLike) -> Tensor:
    """The probabilists' Hermite polynomial.

    >>> import ranvier as rv
    >>> hermite_polynomial_he(rv.tensor([2.0]), 2)
    tensor([3.])
    """


def _laguerre(k: int, x: Array, here: Array, before: Array) -> Array:
    return ((2 * k + 1 - x) * here - k * before) / (k + 1)


def _legendre(k: int, x: Array, here: Array, before: Array) -> Array:
    return ((2 * k + 1) * x * here - k * before) / (k + 1)


@elementwise(numpy=_by_recurrence(_one_minus, _laguerre))
def laguerre_polynomial_l(input: TensorLike, n: TensorLike) -> Tensor:
    """Laguerre's polynomial.

    >>> import ranvier as rv
    >>> laguerre_polynomial_l(rv.tensor([2.0]), 2)
    tensor([-1.])
    """


@elementwise(numpy=_by_recurrence(_same, _legendre))
def legendre_polynomial_p(input: TensorLike, n: TensorLike) -> Tensor:
    """Legendre's polynomial.

    >>> import ranvier as rv
    >>> legendre_polynomial_p(rv.tensor([2.0]), 2)
    tensor([5.5000])
    """
