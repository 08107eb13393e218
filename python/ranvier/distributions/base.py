"""What the distributions share."""

from __future__ import annotations

import inspect
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import ranvier.ops as ops
from ranvier import Size, tensor
from ranvier.autograd import Tensor, no_grad
from ranvier.autograd.errors import own_methods
from ranvier.distributions.constraints import independent

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


if TYPE_CHECKING:

    class moment(property):
        """A property that is a Tensor: `mean = moment(lambda d: d.loc)`."""

        def __get__(self, d: Any, kind: Any = None, /) -> Tensor: ...  # type: ignore[override]
else:
    moment = property


class Distribution:
    """A distribution over events of ``event_shape``, with ``batch_shape`` independent sets of parameters.

    Unless validate_args is False, raises ValueError for parameters outside ``arg_constraints``, and for a
    value of log_prob or cdf outside ``support``. With False the density is 0 there.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[Any] = MappingProxyType({})  # the set of each parameter
    support: Any = None  # the set of the values
    _validate_args: bool = True
    _by_logits = False  # of a distribution by probabilities or logits: the other one is not checked
    batch_shape: Shape = ()
    event_shape: Shape = ()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        own_methods(cls, "__init__ cdf icdf log_prob rsample sample")

    def __init__(
        self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: bool | None = None
    ) -> None:
        self.batch_shape, self.event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for what, right in self.arg_constraints.items():
            if what == ("probs" if self._by_logits else "logits"):
                continue
            if what in self.__dict__ and not right.holds(self.__dict__[what]):
                raise ValueError(
                    f"[{type(self).__name__}] got {what} outside its range; expected {right.text}"
                )

    def _with(self, validate_args: bool | None, **values: Any) -> None:
        """Keeps the parameters of a distribution of single numbers, broadcast, and checks them."""
        made = parameters(type(self).__name__, *values.values())
        vars(self).update(zip(values, made, strict=True))
        Distribution.__init__(self, made[0].shape, (), validate_args)

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions without the argument validate_args check parameters and values."""
        Distribution._validate_args = bool(value)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """This distribution with the parameters of batch_shape, to which its own is broadcast."""
        new, n, shape = copy(self), len(self.batch_shape), Size(int(k) for k in batch_shape)
        for name, x in vars(self).items():
            if isinstance(x, Tensor):
                setattr(new, name, ops.broadcast_to(x, (*shape, *x.shape[n:])))
            elif isinstance(x, Distribution):
                setattr(new, name, x.expand((*shape, *x.batch_shape[n:])))
        new.batch_shape = shape
        return new

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples through which gradients reach the parameters, in the shape sample_shape + batch_shape."""
        raise NotImplementedError(f"[{type(self).__name__}] rsample is not defined; use sample and log_prob")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples off the tape, in the shape sample_shape + batch_shape + event_shape."""
        with no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability, of a value."""
        raise self._undefined("log_prob")

    def cdf(self, value: Any) -> Tensor:
        """The probability of values of at most this."""
        raise self._undefined("cdf")

    def icdf(self, value: Any) -> Tensor:
        """The value whose cdf is this: the inverse of cdf."""
        raise self._undefined("icdf")

    def entropy(self) -> Tensor:
        """The mean of -log_prob."""
        raise self._undefined("entropy")

    def perplexity(self) -> Tensor:
        """exp(entropy)"""
        return ops.exp(self.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a finite distribution, in a new first dimension; expand: for each of the batch."""
        raise self._undefined("enumerate_support")

    @moment
    def mean(self) -> Tensor:
        raise self._undefined("mean")

    @moment
    def mode(self) -> Tensor:
        """The value of the largest density or probability."""
        raise self._undefined("mode")

    @moment
    def variance(self) -> Tensor:
        raise self._undefined("variance")

    stddev = moment(lambda d: ops.sqrt(d.variance))

    def _shape(self, sample_shape: Any) -> Shape:
        if isinstance(sample_shape, (int, np.integer)):
            raise TypeError(
                f"[{type(self).__name__}] got sample_shape {sample_shape}; expected a tuple: "
                f"({sample_shape},)"
            )
        return (*(int(n) for n in sample_shape), *self.batch_shape, *self.event_shape)

    def _undefined(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"[{type(self).__name__}] {what} is not defined")

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        n = len(self.event_shape)
        shape = values.shape[:1] + (1,) * len(self.batch_shape) + values.shape[values.ndim - n :]
        values = ops.reshape(values, shape)
        return values.expand(-1, *self.batch_shape, *self.event_shape) if expand else values

    def _tensor(self, value: Any) -> Tensor:
        return value if isinstance(value, Tensor) else _in(value, _dtype(vars(self).values()))

    def _value(self, value: Any) -> Tensor:
        """The value of log_prob or cdf, checked."""
        x = self._tensor(value)
        if not self._validate_args:
            return x
        name, n, whole = type(self).__name__, len(self.event_shape), (*self.batch_shape, *self.event_shape)
        if x.shape != whole:
            if n and x.shape[-n:] != self.event_shape:
                expected = f"last dimensions {tuple(self.event_shape)}"
                raise ValueError(f"[{name}] got a value of shape {x.shape}; expected {expected}")
            try:
                np.broadcast_shapes(x.shape, whole)
            except ValueError as error:
                raise ValueError(
                    f"[{name}] got a value of shape {x.shape}; expected one that broadcasts with {whole}"
                ) from error
        right = self.support
        if right is not None and not right.holds(x):
            raise ValueError(f"[{name}] got a value outside its range; expected {right.text}")
        return x

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
        self.reinterpreted_batch_ndims = n
        whole = base_distribution.batch_shape
        if not 0 <= n <= len(whole):
            raise ValueError(
                f"[Independent] got {n} dimensions for batch_shape {whole}; expected at most all"
            )
        self._dims = tuple(range(-n, 0))
        super().__init__(
            whole[: len(whole) - n], (*whole[len(whole) - n :], *base_distribution.event_shape), validate_args
        )
        self.has_rsample = base_distribution.has_rsample
        self.has_enumerate_support = n == 0 and base_distribution.has_enumerate_support

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._summed(self.base_dist.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        if self._dims:
            raise self._undefined("enumerate_support")
        return self.base_dist.enumerate_support(expand)

    @property
    def support(self) -> Any:
        base = self.base_dist.support
        return base if base is None else independent(base, len(self._dims))

    mean = moment(lambda d: d.base_dist.mean)
    mode = moment(lambda d: d.base_dist.mode)
    variance = moment(lambda d: d.base_dist.variance)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist!r}, {len(self._dims)})"

    def _summed(self, x: Tensor) -> Tensor:
        return ops.sum(x, self._dims) if self._dims else x
