"""What the distributions share."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.creation import tensor
from ranvier.autograd.mode import no_grad
from ranvier.autograd.size import Size
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.constraints import Constraint

Shape = tuple[int, ...]


def parameters(name: str, *values: Any) -> tuple[Tensor, ...]:
    """The parameters as floating tensors of one shape; numbers take the dtype of the tensors beside them."""
    made = tensors(*values)
    try:
        shape = np.broadcast_shapes(*(x.shape for x in made))
    except ValueError as error:
        shapes = " and ".join(str(x.shape) for x in made)
        raise ValueError(
            f"[{name}] got parameters of shapes {shapes}; expected shapes that broadcast"
        ) from error
    return tuple(ops.broadcast_to(x, shape) if x.shape != shape else x for x in made)


def tensors(*values: Any) -> list[Tensor]:
    """The values as floating tensors."""
    dtype = _dtype(values)
    made = [x if isinstance(x, Tensor) else _in(x, dtype) for x in values]
    return [x if x.dtype.kind == "f" else x.to(dtype or np.float32) for x in made]


def _dtype(values: Any) -> Any:
    """The dtype of the first floating tensor, or parameter of a distribution; None where there is none."""
    for x in values:
        if isinstance(x, Tensor) and x.dtype.kind == "f":
            return x.dtype
        if isinstance(x, Distribution) and (dtype := _dtype(vars(x).values())) is not None:
            return dtype
    return None


def _in(x: Any, dtype: Any) -> Tensor:
    """A number, or a sequence of numbers, in this dtype; an array in its own."""
    return tensor(x, dtype=None if isinstance(x, np.ndarray) else dtype)


def require(name: str, what: str, x: Tensor, right: Constraint, expected: str, validate: bool | None) -> None:
    """Raises ValueError where a value is not in the set."""
    if validate is not False and not right.holds(x):
        raise ValueError(f"[{name}] got {what} outside its range; expected {expected}")


class Distribution:
    """A distribution over events of ``event_shape``, with ``batch_shape`` independent sets of parameters.

    Unless validate_args is False, raises ValueError for parameters outside their range, and for a value of
    log_prob that a discrete distribution never takes. The density is 0 where a continuous one has none.
    """

    has_rsample = False
    _by_logits = False  # of a distribution by probabilities or logits: for its text
    batch_shape: Shape = ()
    event_shape: Shape = ()

    def __init__(self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: Any = None) -> None:
        self.batch_shape, self.event_shape = Size(batch_shape), Size(event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples through which gradients reach the parameters, in the shape sample_shape + batch_shape."""
        raise NotImplementedError(f"[{type(self).__name__}] rsample is not defined; use sample and log_prob")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples off the tape, in the shape sample_shape + batch_shape + event_shape."""
        with no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability, of a value."""
        raise NotImplementedError(f"[{type(self).__name__}] log_prob is not defined")

    def entropy(self) -> Tensor:
        """The mean of -log_prob."""
        raise NotImplementedError(f"[{type(self).__name__}] entropy is not defined")

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError(f"[{type(self).__name__}] mean is not defined")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError(f"[{type(self).__name__}] variance is not defined")

    @property
    def stddev(self) -> Tensor:
        return ops.sqrt(self.variance)

    def _shape(self, sample_shape: Any) -> Shape:
        if isinstance(sample_shape, (int, np.integer)):
            raise TypeError(
                f"[{type(self).__name__}] got sample_shape {sample_shape}; expected a tuple: "
                f"({sample_shape},)"
            )
        return (*(int(n) for n in sample_shape), *self.batch_shape, *self.event_shape)

    def _value(self, value: Any) -> Tensor:
        return value if isinstance(value, Tensor) else _in(value, _dtype(vars(self).values()))

    def __repr__(self) -> str:
        names = inspect.signature(type(self).__init__).parameters
        given = {name: self.__dict__[name] for name in names if isinstance(self.__dict__.get(name), Tensor)}
        if {"probs", "logits"} <= given.keys():
            given.pop("probs" if self._by_logits else "logits")
        shown = [f"{k}: {v if v.numel() == 1 else v.shape}" for k, v in given.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


class Independent(Distribution):
    """The last dimensions of a batch as one event: log_prob is summed over them.

    >>> import ranvier as rv
    >>> d = rv.distributions.Independent(rv.distributions.Normal(rv.zeros(3), rv.ones(3)), 1)
    >>> d.log_prob(rv.zeros(3))
    tensor(-2.7568)
    """

    def __init__(
        self, base_distribution: Any, reinterpreted_batch_ndims: int, validate_args: Any = None
    ) -> None:
        self.base_dist, n = base_distribution, reinterpreted_batch_ndims
        whole = base_distribution.batch_shape
        if not 0 <= n <= len(whole):
            raise ValueError(
                f"[Independent] got {n} dimensions for batch_shape {whole}; expected at most all"
            )
        self._dims = tuple(range(-n, 0))
        self.batch_shape = whole[: len(whole) - n]
        self.event_shape = (*whole[len(whole) - n :], *base_distribution.event_shape)
        self.has_rsample = base_distribution.has_rsample

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        result: Tensor = self.base_dist.rsample(sample_shape)
        return result

    def sample(self, sample_shape: Any = ()) -> Tensor:
        result: Tensor = self.base_dist.sample(sample_shape)
        return result

    def log_prob(self, value: Any) -> Tensor:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._summed(self.base_dist.entropy())

    @property
    def mean(self) -> Tensor:
        result: Tensor = self.base_dist.mean
        return result

    @property
    def variance(self) -> Tensor:
        result: Tensor = self.base_dist.variance
        return result

    def __repr__(self) -> str:
        return f"Independent({self.base_dist!r}, {len(self._dims)})"

    def _summed(self, x: Tensor) -> Tensor:
        return ops.sum(x, self._dims) if self._dims else x
