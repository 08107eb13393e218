"""MixtureSameFamily."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.base import Distribution
from ranvier.distributions.discrete import Categorical


class MixtureSameFamily(Distribution):
    """A draw of one of k components of a kind: p(x) = sum over i of p_i p(x | component i).

    mixture_distribution is a Categorical over k; the last dimension of component_distribution's batch_shape
    is k, and the dimensions before are those of the mixture.

    Raises ValueError for a mixture that is no Categorical, and for shapes that do not fit.

    >>> import ranvier as rv
    >>> from ranvier.distributions import Categorical, MixtureSameFamily, Normal
    >>> mixture = MixtureSameFamily(Categorical(rv.ones(2)), Normal(rv.tensor([-1.0, 1.0]), rv.ones(2)))
    >>> mixture.log_prob(rv.tensor(0.0)), mixture.mean, mixture.variance
    (tensor(-1.4189), tensor(0.), tensor(2.))
    """

    def __init__(
        self, mixture_distribution: Any, component_distribution: Any, validate_args: bool | None = None
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                f"[MixtureSameFamily] got a mixture {type(mixture_distribution).__name__}; expected a "
                "Categorical"
            )
        shape, k = component_distribution.batch_shape, mixture_distribution.probs.shape[-1]
        try:
            if shape[-1:] != (k,):
                raise ValueError
            np.broadcast_shapes(mixture_distribution.batch_shape, shape[:-1])
        except ValueError:
            raise ValueError(
                f"[MixtureSameFamily] got {k} probabilities of batch_shape "
                f"{mixture_distribution.batch_shape} and components of batch_shape {shape}; expected shapes "
                "that fit"
            ) from None
        super().__init__(shape[:-1], component_distribution.event_shape)
        self.mixture_distribution, self.component_distribution = mixture_distribution, component_distribution
        self._axis = -1 - len(self.event_shape)  # of the components, in values

    def _weights(self) -> Tensor:
        """The probabilities (..., k, 1 ...), beside values."""
        probs = self.mixture_distribution.probs
        return ops.reshape(probs, (*probs.shape, *(1 for _ in self.event_shape)))

    def log_prob(self, value: Any) -> Tensor:
        x = ops.unsqueeze(self._value(value), self._axis)
        return ops.logsumexp(self.component_distribution.log_prob(x) + self.mixture_distribution.logits, -1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            shape = (*self._shape(sample_shape)[: self._axis + 1 or None],)
            probs = self.mixture_distribution.probs
            probs = ops.broadcast_to(probs, (*self.batch_shape, probs.shape[-1]))
            chosen = Categorical(probs).sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            index = ops.reshape(chosen, (*shape, 1, *(1 for _ in self.event_shape)))
            index = ops.broadcast_to(index, (*shape, 1, *self.event_shape))
            return ops.squeeze(ops.gather(values, self._axis, index), self._axis)

    @property
    def mean(self) -> Tensor:
        return ops.sum(self._weights() * self.component_distribution.mean, self._axis)

    @property
    def variance(self) -> Tensor:
        away = self.component_distribution.mean - ops.unsqueeze(self.mean, self._axis)
        spread = self.component_distribution.variance + away * away
        return ops.sum(self._weights() * spread, self._axis)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
