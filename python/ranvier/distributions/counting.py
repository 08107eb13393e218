"""Poisson, Geometric, Binomial, NegativeBinomial and Multinomial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier import arange, binomial, finfo, zeros
from ranvier.autograd import Tensor, no_grad, wrap
from ranvier.distributions.base import Distribution, ExponentialFamily, moment
from ranvier.distributions.discrete import Categorical, _OfTrials
from ranvier.distributions.gamma import standard_gamma
from ranvier.distributions.utils import expanded
from ranvier.ops.making.random import generator
from ranvier.tensors.types import ArrayLike, DtypeLike, Shape


def _drawn(values: ArrayLike, dtype: DtypeLike) -> Tensor:
    """Random numbers from NumPy as a Tensor of the dtype of the parameters."""
    return wrap(np.asanyarray(values).astype(dtype))


class Poisson(ExponentialFamily):
    """k with probability rate^k exp(-rate) / k!

    >>> import ranvier as rv
    >>> rv.distributions.Poisson(4.0).log_prob(rv.tensor(2.0))
    tensor(-1.9206)
    """

    rate: Tensor
    arg_constraints: ClassVar[Any] = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: ArrayLike, validate_args: bool | None = None) -> None:
        self._with(validate_args, rate=rate)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = generator().poisson(self.rate._array, self._extended_shape(sample_shape))
        return _drawn(draws, self.rate.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        return ops.xlogy(x, self.rate) - self.rate - ops.lgamma(x + 1)

    @moment
    def mean(self) -> Tensor:
        return self.rate

    @moment
    def mode(self) -> Tensor:
        return ops.floor(self.rate)

    @moment
    def variance(self) -> Tensor:
        return self.rate


class Geometric(_OfTrials):
    """The failures before the first success: k with probability (1 - p)^k p.

    >>> import ranvier as rv
    >>> rv.distributions.Geometric(0.25).mean
    tensor(3.)
    """

    support = constraints.nonnegative_integer

    def __init__(
        self,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._set(probs, logits, validate_args)
        if self._validate_args and not constraints.positive.holds(self.probs):
            raise ValueError("[Geometric] got probs outside its range; expected 0 < p <= 1")

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        p = self.probs.detach()
        u = zeros(self._extended_shape(sample_shape), dtype=p.dtype)
        u.uniform_(finfo(p.dtype).tiny, 1)
        return ops.floor(ops.log(u) / ops.log1p(-p))

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        if self._by_logits:
            return x * ops.logsigmoid(-self.logits) + ops.logsigmoid(self.logits)
        sure = ops.logical_and(ops.eq(self.probs, 1), ops.eq(x, 0))  # 0 log 0 is 0
        return x * ops.log1p(-ops.where(sure, 0.0, self.probs)) + ops.log(self.probs)

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs

    @moment
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @moment
    def mode(self) -> Tensor:
        return self.probs * 0

    @moment
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs


class Binomial(_OfTrials):
    """The number of successes in n = total_count trials: k with probability C(n, k) p^k (1 - p)^(n - k).

    >>> import ranvier as rv
    >>> rv.distributions.Binomial(4, 0.5).log_prob(rv.tensor(2.0))
    tensor(-0.9808)
    """

    has_enumerate_support = True
    total_count: Tensor
    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.nonnegative_integer,
        **_OfTrials.arg_constraints,
    }

    def __init__(
        self,
        total_count: ArrayLike = 1,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._set(probs, logits, validate_args, total_count=total_count)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(expanded(self.total_count, shape), expanded(self.probs, shape))

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        n = self.total_count
        ways = ops.lgamma(n + 1) - ops.lgamma(x + 1) - ops.lgamma(n - x + 1)
        return ways + x * self.logits + n * ops.logsigmoid(-self.logits)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        what = "[Binomial] enumerate_support"
        n = self.total_count._read(what)
        if n.size and n.min() != n.max():
            raise NotImplementedError(f"{what} is not defined for total_count of several values")
        return self._enumerated(arange(int(n.max(initial=0)) + 1, dtype=self.probs.dtype), expand)

    def entropy(self) -> Tensor:
        logs = self.log_prob(self.enumerate_support(False))
        return -ops.sum(ops.exp(logs) * logs, 0)

    @moment
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @moment
    def mode(self) -> Tensor:
        return ops.minimum(ops.floor((self.total_count + 1) * self.probs), self.total_count)

    @moment
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)


class NegativeBinomial(_OfTrials):
    """The successes before r = total_count failures: k with probability C(k + r - 1, k) (1 - p)^r p^k.

    >>> import ranvier as rv
    >>> rv.distributions.NegativeBinomial(2.0, 0.5).log_prob(rv.tensor(1.0))
    tensor(-1.3863)
    """

    total_count: Tensor
    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.nonnegative,
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._set(probs, logits, validate_args, total_count=total_count)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        p = self.probs.detach()
        # It is a Poisson variable whose rate is a Gamma variable.
        rates = standard_gamma(self.total_count.detach(), shape=shape) * (p / (1 - p))
        return _drawn(generator().poisson(rates._array), p.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        n = self.total_count
        logs = n * ops.logsigmoid(-self.logits) + x * ops.logsigmoid(self.logits)
        ways = ops.lgamma(n + x) - ops.lgamma(1 + x) - ops.lgamma(n)
        # n = x = 0: ways is inf - inf, but 0 successes are certain, with a log of 0.
        return logs + ops.where(ops.eq(n + x, 0), 0.0, ways)

    @moment
    def mean(self) -> Tensor:
        return self.total_count * ops.exp(self.logits)

    @moment
    def mode(self) -> Tensor:
        return ops.clip(ops.floor((self.total_count - 1) * ops.exp(self.logits)), 0.0, None)

    @moment
    def variance(self) -> Tensor:
        return self.mean / ops.sigmoid(-self.logits)


class Multinomial(Distribution):
    """The number of times that each class is drawn in total_count draws of a Categorical.

    >>> import ranvier as rv
    >>> d = rv.distributions.Multinomial(2, rv.tensor([0.5, 0.5]))
    >>> d.log_prob(rv.tensor([1.0, 1.0]))
    tensor(-0.6931)
    """

    arg_constraints: ClassVar[Any] = Categorical.arg_constraints

    def __init__(
        self,
        total_count: int = 1,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, (int, np.integer)) or total_count < 0:
            raise ValueError(f"[Multinomial] got total_count {total_count!r}; expected a whole number >= 0")
        self.total_count = int(total_count)
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical._param.shape
        super().__init__(shape[:-1], shape[-1:], False)  # The Categorical has checked the parameters.
        self._validate_args = self._categorical._validate_args

    @moment
    def probs(self) -> Tensor:
        return self._categorical.probs

    @moment
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Shape:
        return self._categorical.param_shape

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        self._extended_shape(sample_shape)  # This is called for the error that it raises.
        with no_grad():
            classes = self._categorical.sample((self.total_count, *sample_shape))
            return ops.sum(F.one_hot(classes, self._categorical._num_events), 0).to(self.probs.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        never = ops.logical_and(ops.eq(x, 0), ops.eq(self.probs, 0))
        logs = ops.where(never, 0.0, x * self.logits)
        ways = ops.lgamma(ops.sum(x, -1) + 1) - ops.sum(ops.lgamma(x + 1), -1)
        return ways + ops.sum(logs, -1)

    def entropy(self) -> Tensor:
        """-log n! - n sum_i p_i log p_i + sum_i E[log k_i!], where k_i, the count of class i, is
        Binomial(n, p_i).

        The last term is summed over k = 1 ... n, since log 0! is 0.
        """
        n = self.total_count
        counts = Binomial(n, self.probs)
        k = counts.enumerate_support(False)[1:]
        ways = ops.sum(ops.exp(counts.log_prob(k)) * ops.lgamma(k + 1), (0, -1))
        return n * self._categorical.entropy() - math.lgamma(n + 1) + ways

    @moment
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @moment
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)
