"""Orthogonal polynomials of torch.special, by their recurrences (DLMF 18.9) in float64, rounded once.

As in PyTorch the degree n may be a tensor, whose numbers lose their fractions; below 0 the result is 0, and
no polynomial has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ranvier import Tensor
from ranvier.ops.elementwise.op import Elementwise
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


_chebyshev_polynomial_t_op = Elementwise(numpy=_chebyshev(1, 0, False)).op("chebyshev_polynomial_t")


def chebyshev_polynomial_t(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial T of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_t(rv.tensor([2.0]), 2)
    tensor([7.])
    """
    return _chebyshev_polynomial_t_op(input, n)


_chebyshev_polynomial_u_op = Elementwise(numpy=_chebyshev(2, 0, False)).op("chebyshev_polynomial_u")


def chebyshev_polynomial_u(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial U of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_u(rv.tensor([2.0]), 2)
    tensor([15.])
    """
    return _chebyshev_polynomial_u_op(input, n)


_chebyshev_polynomial_v_op = Elementwise(numpy=_chebyshev(2, -1, False)).op("chebyshev_polynomial_v")


def chebyshev_polynomial_v(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial V of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_v(rv.tensor([2.0]), 2)
    tensor([11.])
    """
    return _chebyshev_polynomial_v_op(input, n)


_chebyshev_polynomial_w_op = Elementwise(numpy=_chebyshev(2, 1, False)).op("chebyshev_polynomial_w")


def chebyshev_polynomial_w(input: TensorLike, n: TensorLike) -> Tensor:
    """Chebyshev's polynomial W of degree n.

    >>> import ranvier as rv
    >>> chebyshev_polynomial_w(rv.tensor([2.0]), 2)
    tensor([19.])
    """
    return _chebyshev_polynomial_w_op(input, n)


_shifted_chebyshev_polynomial_t_op = Elementwise(numpy=_chebyshev(1, 0, True)).op(
    "shifted_chebyshev_polynomial_t"
)


def shifted_chebyshev_polynomial_t(input: TensorLike, n: TensorLike) -> Tensor:
    """T of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_t(rv.tensor([1.5]), 2)
    tensor([7.])
    """
    return _shifted_chebyshev_polynomial_t_op(input, n)


_shifted_chebyshev_polynomial_u_op = Elementwise(numpy=_chebyshev(2, 0, True)).op(
    "shifted_chebyshev_polynomial_u"
)


def shifted_chebyshev_polynomial_u(input: TensorLike, n: TensorLike) -> Tensor:
    """U of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_u(rv.tensor([1.5]), 2)
    tensor([15.])
    """
    return _shifted_chebyshev_polynomial_u_op(input, n)


_shifted_chebyshev_polynomial_v_op = Elementwise(numpy=_chebyshev(2, -1, True)).op(
    "shifted_chebyshev_polynomial_v"
)


def shifted_chebyshev_polynomial_v(input: TensorLike, n: TensorLike) -> Tensor:
    """V of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_v(rv.tensor([1.5]), 2)
    tensor([11.])
    """
    return _shifted_chebyshev_polynomial_v_op(input, n)


_shifted_chebyshev_polynomial_w_op = Elementwise(numpy=_chebyshev(2, 1, True)).op(
    "shifted_chebyshev_polynomial_w"
)


def shifted_chebyshev_polynomial_w(input: TensorLike, n: TensorLike) -> Tensor:
    """W of 2 x - 1.

    >>> import ranvier as rv
    >>> shifted_chebyshev_polynomial_w(rv.tensor([1.5]), 2)
    tensor([19.])
    """
    return _shifted_chebyshev_polynomial_w_op(input, n)


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


_hermite_polynomial_h_op = Elementwise(numpy=_by_recurrence(_twice, _hermite_h)).op("hermite_polynomial_h")


def hermite_polynomial_h(input: TensorLike, n: TensorLike) -> Tensor:
    """The physicists' Hermite polynomial.

    >>> import ranvier as rv
    >>> hermite_polynomial_h(rv.tensor([2.0]), 2)
    tensor([14.])
    """
    return _hermite_polynomial_h_op(input, n)


_hermite_polynomial_he_op = Elementwise(numpy=_by_recurrence(_same, _hermite_he)).op("hermite_polynomial_he")


def hermite_polynomial_he(input: TensorLike, n: TensorLike) -> Tensor:
    """The probabilists' Hermite polynomial.

    >>> import ranvier as rv
    >>> hermite_polynomial_he(rv.tensor([2.0]), 2)
    tensor([3.])
    """
    return _hermite_polynomial_he_op(input, n)


def _laguerre(k: int, x: Array, here: Array, before: Array) -> Array:
    return ((2 * k + 1 - x) * here - k * before) / (k + 1)


def _legendre(k: int, x: Array, here: Array, before: Array) -> Array:
    return ((2 * k + 1) * x * here - k * before) / (k + 1)


_laguerre_polynomial_l_op = Elementwise(numpy=_by_recurrence(_one_minus, _laguerre)).op(
    "laguerre_polynomial_l"
)


def laguerre_polynomial_l(input: TensorLike, n: TensorLike) -> Tensor:
    """Laguerre's polynomial.

    >>> import ranvier as rv
    >>> laguerre_polynomial_l(rv.tensor([2.0]), 2)
    tensor([-1.])
    """
    return _laguerre_polynomial_l_op(input, n)


_legendre_polynomial_p_op = Elementwise(numpy=_by_recurrence(_same, _legendre)).op("legendre_polynomial_p")


def legendre_polynomial_p(input: TensorLike, n: TensorLike) -> Tensor:
    """Legendre's polynomial.

    >>> import ranvier as rv
    >>> legendre_polynomial_p(rv.tensor([2.0]), 2)
    tensor([5.5000])
    """
    return _legendre_polynomial_p_op(input, n)
