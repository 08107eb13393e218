"""Gamma, Dirichlet and Beta.

The derivative of a draw x with respect to a concentration a is dx/da = -(dF/da) / p, where F is the
distribution function and p the density (Figurnov, Mohamed and Mnih, "Implicit Reparameterization Gradients",
2018). It is computed for y = log x (Gamma) or y = logit x (Beta), as

    dy/da = -integral over t < y of (d log p(t) / da) p(t) / p(y) dt
          = +integral over t > y of the same

Of the two integrals the one on the side of y where p falls is taken. Its integrand is smooth, so
Gauss-Legendre quadrature with 48 points computes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier import Generator, arange, finfo, randn
from ranvier.autograd import Function, Tensor, wrap
from ranvier.distributions.base import Distribution, ExponentialFamily, moment, parameters, tensors
from ranvier.distributions.utils import expanded
from ranvier.kernels import digamma, lgamma
from ranvier.ops.making.random import numpy_of
from ranvier.tensors.types import ArrayLike

Array = np.ndarray[Any, Any]
_ROWS = 512  # elements at a time, each with 48 points: the arrays fit in a cache
_FAR = 40.0  # integrals end where the density has fallen to exp(-40) of that at y


@cache
def _points() -> tuple[Array, Array]:
    """48 quadrature points in (0, 1), closer together near 0, and their weights, each (48)."""
    x, weights = np.polynomial.legendre.leggauss(48)
    x = (x + 1) / 2
    return x**3, 1.5 * x**2 * weights


def _in_parts(function: Callable[..., Array], *arrays: Array) -> Array:
    """The function of arrays of one shape (...), as float64, at `_ROWS` elements at a time.

    It gets columns (n, 1) and gives (n, ...); the result has the shape of the arrays, then those dimensions.
    """
    columns = [np.asarray(x, np.float64).reshape(-1, 1) for x in arrays]
    with np.errstate(all="ignore"):
        starts = range(0, max(columns[0].size, 1), _ROWS)
        parts = []
        for start in starts:
            rows = [x[start : start + _ROWS] for x in columns]
            parts.append(function(*rows))
    return np.concatenate(parts).reshape(*arrays[0].shape, *parts[0].shape[1:])


def _reach(curve: Array, slope: Array) -> Array:
    """A distance u from y at which the density has fallen to exp(-_FAR) or less of that at y.

    slope * u and curve * u^2 / (u + 2) are lower bounds for the rise of -log p over the distance u. The
    result is the smaller u at which one of them is _FAR.
    """
    k = _FAR / curve
    return np.minimum((k + np.sqrt(k * k + 8 * k)) / 2, _FAR / np.maximum(slope, 1e-300))


def _of_gamma(a: Array, x: Array) -> Array:
    """d log x / da of a draw x of Gamma(a, 1), and the distribution function at x: (n, 2) from (n, 1)."""
    low = x <= a
    # For x > a, over the distance v, -log p of log x rises by x (e^v - 1) - a v, which is at least each of
    # x v^2 / 2, (x - a) v, and from v = 1.26 on x (e^v - 1) / 2. `above`: where the first of them is _FAR.
    far = _FAR / x
    above = np.minimum(np.sqrt(2 * far), np.maximum(1.26, np.log1p(2 * far)))
    above = np.minimum(above, _FAR / np.maximum(x - a, 1e-300))
    at, weights = _points()
    reach = np.where(low, _reach(a, a - x), above)
    sign = np.where(low, -1.0, 1.0)
    v = sign * reach * at
    ratio = np.exp(a * v - x * np.expm1(v)) * weights * reach
    slope = (sign * (np.log(x) + v - digamma(a)) * ratio).sum(-1)
    slope = np.where(a[:, 0] < 1e10, slope, (0.5 + 0.5 * x / a)[:, 0] / x[:, 0])  # that of a normal variable
    side = (np.exp(a * np.log(x) - x - lgamma(a)) * ratio).sum(-1)
    return np.stack([slope, np.where(low[:, 0], side, 1 - side)], -1)


def _of_beta(a: Array, b: Array, x: Array, log_x: Array) -> Array:
    """d logit x / da of a draw x of Beta(a, b): (n) from (n, 1)."""
    n = a + b
    rest = np.maximum(1 - x, 1e-17)  # never 0
    low = x * n <= a
    # c, d and q are a, b and x where the integral is that below y, else b, a and 1 - x. At the distance u
    # from y, -log p has risen by c u + n change.
    c = np.where(low, a, b)
    d = np.where(low, b, a)
    q = np.where(low, x, rest)
    reach = np.minimum(_reach(c * d / n, c - n * q), (_FAR + n * np.log(n / d)) / c)
    at, weights = _points()
    u = reach * at
    change = np.log1p(q * np.expm1(-u))
    ratio = np.exp(-c * u - n * change) * weights * reach
    score = (digamma(n) - digamma(a) + log_x) - change - low * u
    return np.asarray(np.where(low[:, 0], -1.0, 1.0) * (score * ratio).sum(-1))


class _GammaDraw(Function):
    """Draws of Gamma(a, 1), but not below the smallest normal number of the dtype: never 0."""

    def __init__(self, source: Generator | None = None) -> None:
        self.source = source

    def forward(self, a: Array) -> Array:
        self.a, tiny = a, finfo(a.dtype).tiny
        draw = numpy_of("_standard_gamma", self.source)
        self.x = np.maximum(draw.standard_gamma(a), tiny)
        return np.asarray(self.x, a.dtype)

    def backward(self, dy: Array) -> Array:
        return (dy * self.x * _in_parts(_of_gamma, self.a, self.x)[..., 0]).astype(dy.dtype)


class _GammaBelow(Function):
    """The distribution function of Gamma(a, 1)."""

    def forward(self, a: Array, x: Array) -> Array:
        self.a, self.x = np.broadcast_arrays(a, x)
        inside = np.clip(self.x, np.finfo(np.float64).tiny, 1e300)
        self.slope, below = np.moveaxis(_in_parts(_of_gamma, self.a, inside), -1, 0)
        below = np.where(self.x > 0, below, np.where(self.x == 0, 0.0, np.nan))
        return np.asarray(below, x.dtype)

    def backward(self, dy: Array) -> tuple[Array, Array]:
        a = self.a.astype(np.float64)
        x = self.x.astype(np.float64)
        with np.errstate(all="ignore"):
            dx = dy * np.exp((a - 1) * np.log(x) - x - lgamma(a))
        return np.asarray(-dx * x * self.slope, dy.dtype), np.asarray(dx, dy.dtype)


class _DirichletDraw(Function):
    """Draws of Dirichlet(c): Gamma variables divided by their sum.

    Computed from their logarithms, as small variables would underflow to 0.
    """

    def __init__(self, source: Generator | None = None) -> None:
        self.source = source

    def forward(self, c: Array) -> Array:
        self.c = c.astype(np.float64)
        draw = numpy_of("_sample_dirichlet", self.source)
        if hasattr(draw, "log_gamma"):  # a generator of PyTorch's numbers (torch/functions/twister.py)
            logs = draw.log_gamma(self.c)
        else:
            logs = np.log(draw.standard_gamma(self.c + 1)) - draw.standard_exponential(c.shape) / self.c
        logs -= logs.max(-1, keepdims=True)
        self.logs = logs - np.log(np.exp(logs).sum(-1, keepdims=True))
        info = finfo(c.dtype)
        return np.clip(np.exp(self.logs), info.tiny, 1 - info.eps / 2).astype(c.dtype)

    def backward(self, dy: Array) -> Array:
        """x_i is a Beta(c_i, sum of the other c) variable; as c_i changes, the others keep their ratios."""
        if self.c.shape[-1] == 1:
            return np.zeros_like(dy)
        x = np.exp(self.logs)
        least = self.c.min(-1, keepdims=True)
        rest = np.maximum(self.c.sum(-1, keepdims=True) - self.c, least)  # 0 beside a very large part
        slopes = x * _in_parts(_of_beta, self.c, rest, x, self.logs)
        return (slopes * (dy - (x * dy).sum(-1, keepdims=True))).astype(dy.dtype)


def standard_gamma(
    concentration: Tensor, generator: Generator | None = None, *, shape: tuple[int, ...] | None = None
) -> Tensor:
    """Draws of Gamma(concentration, 1) whose gradient reaches the concentration."""
    if shape is not None:
        concentration = expanded(concentration, shape)
    return _GammaDraw(generator).apply(concentration)


def sample_dirichlet(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws of Dirichlet(concentration) along the last axis.

    Without a generator the numbers are those of ``manual_seed``.
    """
    return _DirichletDraw(generator).apply(concentration)


class Gamma(ExponentialFamily):
    """Density rate^a x^(a - 1) exp(-rate x) / gamma(a) for x > 0, a the concentration.

    >>> import ranvier as rv
    >>> rv.distributions.Gamma(2.0, 3.0).log_prob(rv.tensor(1.0))
    tensor(-0.8028)
    """

    has_rsample = True
    concentration: Tensor
    rate: Tensor
    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, concentration: ArrayLike, rate: ArrayLike, validate_args: bool | None = None) -> None:
        self._with(validate_args, concentration=concentration, rate=rate)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = standard_gamma(self.concentration, shape=self._extended_shape(sample_shape)) / self.rate
        return ops.where(draws > 0, draws, finfo(draws.dtype).tiny)

    def cdf(self, value: ArrayLike) -> Tensor:
        return _GammaBelow().apply(*ops.broadcast_tensors(self.concentration, self._value(value) * self.rate))

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        a = self.concentration
        logs = a * ops.log(self.rate) + ops.xlogy(a - 1, x) - self.rate * x - ops.lgamma(a)
        return ops.where(x < 0, -math.inf, logs)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - ops.log(self.rate) + ops.lgamma(a) + (1 - a) * ops.digamma(a)

    @moment
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @moment
    def mode(self) -> Tensor:
        return ops.clip((self.concentration - 1) / self.rate, 0.0, None)

    @moment
    def variance(self) -> Tensor:
        return self.concentration / (self.rate * self.rate)


class Dirichlet(ExponentialFamily):
    """Vectors of positive numbers that add up to 1: density proportional to the product of x_i^(c_i - 1).

    >>> import ranvier as rv
    >>> rv.distributions.Dirichlet(rv.ones(3)).log_prob(rv.tensor([0.2, 0.3, 0.5]))
    tensor(0.6931)
    """

    has_rsample = True
    arg_constraints: ClassVar[Any] = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex

    def __init__(self, concentration: ArrayLike, validate_args: bool | None = None) -> None:
        (self.concentration,) = parameters("Dirichlet", concentration)
        if self.concentration.ndim < 1:
            raise ValueError("[Dirichlet] got concentration of shape (); expected at least one dimension")
        shape = self.concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return sample_dirichlet(expanded(self.concentration, self._extended_shape(sample_shape)))

    def log_prob(self, value: ArrayLike) -> Tensor:
        return ops.sum(ops.xlogy(self.concentration - 1, self._value(value)), -1) - self._log_norm()

    def _log_norm(self) -> Tensor:
        c = self.concentration
        return ops.sum(ops.lgamma(c), -1) - ops.lgamma(ops.sum(c, -1))

    def entropy(self) -> Tensor:
        c = self.concentration
        total = ops.sum(c, -1)
        n = c.shape[-1]
        return self._log_norm() + (total - n) * ops.digamma(total) - ops.sum((c - 1) * ops.digamma(c), -1)

    @moment
    def mean(self) -> Tensor:
        return self.concentration / ops.sum(self.concentration, -1, True)

    @moment
    def mode(self) -> Tensor:
        above = ops.clip(self.concentration - 1, 0.0, None)
        inner = above / ops.sum(above, -1, True)
        corner = F.one_hot(ops.argmax(above, -1), self._event_shape[0]).to(above.dtype)
        return ops.where(ops.all(self.concentration < 1, -1, True), corner, inner)

    @moment
    def variance(self) -> Tensor:
        total = ops.sum(self.concentration, -1, True)
        return self.mean * (1 - self.mean) / (total + 1)


class Beta(ExponentialFamily):
    """Density proportional to x^(a - 1) (1 - x)^(b - 1) in [0, 1]: the first part of a Dirichlet (a, b).

    >>> import ranvier as rv
    >>> rv.distributions.Beta(2.0, 2.0).log_prob(rv.tensor(0.5))
    tensor(0.4055)
    """

    has_rsample = True
    concentration1: Tensor
    concentration0: Tensor
    arg_constraints: ClassVar[Any] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self, concentration1: ArrayLike, concentration0: ArrayLike, validate_args: bool | None = None
    ) -> None:
        self._with(validate_args, concentration1=concentration1, concentration0=concentration0)
        self._dirichlet = Dirichlet(ops.stack([self.concentration1, self.concentration0], -1), False)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        outside = (x < 0) | (x > 1)
        inner = ops.where(outside, 0.5, x)
        return ops.where(outside, -math.inf, self._dirichlet.log_prob(ops.stack([inner, 1 - inner], -1)))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()

    @moment
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @moment
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @moment
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total * total * (total + 1))


class LKJCholesky(Distribution):
    """Lower factors L (dim, dim) of correlation matrices, with density proportional to
    det(L L^T)^(concentration - 1) in the correlations.

    Sampled by the onion method of Lewandowski, Kurowicka and Joe (2009): each row is a direction times the
    root of a Beta variable. Raises ValueError for dim < 2.

    >>> import ranvier as rv
    >>> rv.distributions.LKJCholesky(2, 1.0).log_prob(rv.eye(2))
    tensor(-0.6931)
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: ArrayLike = 1.0, validate_args: bool | None = None) -> None:
        if not isinstance(dim, (int, np.integer)) or dim < 2:
            raise ValueError(f"[LKJCholesky] got dim {dim!r}; expected a whole number of at least 2")
        self.dim = int(dim)
        (self.concentration,) = tensors(concentration)
        super().__init__(self.concentration.shape, (self.dim, self.dim), validate_args)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        dtype = self.concentration.dtype
        # Row i has i elements left of the diagonal, whose squared norm is a Beta(i / 2, concentration +
        # (dim - 1 - i) / 2) variable. Row 0 has none: its share is set to 0.
        rows = np.maximum(np.arange(self.dim), 1)
        other = self.concentration.detach()[..., None] + wrap((self.dim - 1 - rows) / 2).to(dtype)
        shares = Beta(wrap(rows / 2).to(dtype), other).sample(sample_shape)._array.astype(np.float64)
        shares[..., 0] = 0
        lower = np.tril(randn(shape, dtype=dtype)._array.astype(np.float64), -1)
        lower /= np.maximum(np.linalg.norm(lower, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
        lower *= np.sqrt(shares)[..., None]
        least = finfo(dtype).tiny
        lower += np.sqrt(np.maximum(1 - shares, least))[..., None] * np.eye(self.dim)
        return wrap(lower.astype(dtype))

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        a = self.concentration
        n = self.dim
        order = arange(2, n + 1, dtype=a.dtype)
        powers = 2 * ops.unsqueeze(a - 1, -1) + n - order
        logs = ops.sum(powers * ops.log(ops.diagonal(x, 0, -2, -1)[..., 1:]), -1)
        alpha = a + 0.5 * (n - 1)
        gammas = ops.mvlgamma(alpha - 0.5, n - 1) - ops.lgamma(alpha) * (n - 1)
        return logs - (0.5 * (n - 1) * float(np.log(np.pi)) + gammas)
