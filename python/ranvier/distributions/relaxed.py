"""Bernoulli and one-hot variables relaxed to continuous ones, through whose samples gradients pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution, moment, tensors
from ranvier.distributions.constraints import positive, real, real_vector, simplex, unit_interval
from ranvier.distributions.discrete import Categorical, _OfTrials
from ranvier.distributions.transforms import ExpTransform, SigmoidTransform, TransformedDistribution
from ranvier.distributions.utils import clamp_probs, expanded
from ranvier.ops.making.random import rand
from ranvier.tensors.types import ArrayLike, Shape


class _Tempered(Distribution):
    """A distribution with a temperature, which broadcasts with samples and does not enlarge the batch: by its
    name, the attribute is not broadcast by `expand` (base.py)."""

    has_rsample = True

    @moment
    def temperature(self) -> Tensor:
        return self._unbroadcasted_temperature

    def _set_temperature(self, temperature: ArrayLike, beside: Tensor) -> None:
        """Stores the temperature, if it is a number in the dtype of `beside`, and checks that it is > 0."""
        self._unbroadcasted_temperature = tensors(temperature, beside)[0]
        if self._validate_args and not positive.holds(self.temperature):
            name = type(self).__name__
            raise ValueError(f"[{name}] got temperature outside its range; expected {positive.text}")


class LogitRelaxedBernoulli(_Tempered, _OfTrials):
    """log(y / (1 - y)) of a :class:`RelaxedBernoulli` variable y."""

    support = real

    def __init__(
        self,
        temperature: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._set(probs, logits, validate_args)
        self._set_temperature(temperature, self._param)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probs = clamp_probs(expanded(self.probs, self._extended_shape(sample_shape)))
        u = clamp_probs(rand(probs.shape, dtype=probs.dtype))
        return (ops.log(u) - ops.log1p(-u) + ops.log(probs) - ops.log1p(-probs)) / self.temperature

    def log_prob(self, value: ArrayLike) -> Tensor:
        difference = self.logits - self._value(value) * self.temperature
        return ops.log(self.temperature) + difference - 2 * ops.softplus(difference)


class _Relaxed(TransformedDistribution):
    """A TransformedDistribution with the parameters of its base distribution as attributes."""

    has_rsample = True

    @moment
    def temperature(self) -> Tensor:
        return self.base_dist.temperature

    @moment
    def probs(self) -> Tensor:
        return self.base_dist.probs

    @moment
    def logits(self) -> Tensor:
        return self.base_dist.logits


class RelaxedBernoulli(_Relaxed):
    """Numbers in (0, 1), near 0 or 1 at a low temperature: sigmoid((logits + logistic noise) / temperature).

    Source: Maddison et al., "The Concrete Distribution" (2017).

    >>> import ranvier as rv
    >>> rv.distributions.RelaxedBernoulli(rv.tensor(1.0), 0.5).log_prob(rv.tensor(0.25))
    tensor(0.)
    """

    arg_constraints: ClassVar[Any] = {"probs": unit_interval, "logits": real}
    support = unit_interval

    def __init__(
        self,
        temperature: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args)
        super().__init__(base, SigmoidTransform(), validate_args)


class ExpRelaxedCategorical(_Tempered):
    """The logarithm of a :class:`RelaxedOneHotCategorical` variable."""

    arg_constraints: ClassVar[Any] = {"probs": simplex, "logits": real_vector}
    support = real_vector

    @moment
    def probs(self) -> Tensor:
        return self._categorical.probs

    @moment
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Shape:
        return self._categorical.param_shape

    def __init__(
        self,
        temperature: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args)
        self._set_temperature(temperature, self._categorical._param)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = clamp_probs(rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        noise = -ops.log(-ops.log(u))
        return ops.log_softmax((self.logits + noise) / self.temperature, -1)

    def log_prob(self, value: ArrayLike) -> Tensor:
        count = self._categorical._num_events
        score = ops.log_softmax(self.logits - self._value(value) * self.temperature, -1)
        scale = math.lgamma(count) + ops.log(self.temperature) * (count - 1)
        return ops.sum(score, -1) + scale


class RelaxedOneHotCategorical(_Relaxed):
    """Points of a simplex, near its corners at a low temperature: softmax((logits + Gumbel noise) /
    temperature).

    Source: Maddison et al., "The Concrete Distribution" (2017).

    >>> import ranvier as rv
    >>> d = rv.distributions.RelaxedOneHotCategorical(rv.tensor(1.0), rv.ones(2))
    >>> d.log_prob(rv.tensor([0.5, 0.5])), d.rsample().shape
    (tensor(0.), (2,))
    """

    arg_constraints: ClassVar[Any] = {"probs": simplex, "logits": real_vector}
    support = simplex

    def __init__(
        self,
        temperature: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)
