"""The base class of distributions, and the helpers by which they read their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import ranvier.ops as ops
from ranvier import Size, get_default_dtype, tensor
from ranvier.autograd import Tensor, grad, no_grad
from ranvier.distributions.constraints import dependent_property, independent, is_dependent
from ranvier.distributions.utils import _sum_rightmost, expanded, lazy_property
from ranvier.tensors.errors import own_errors
from ranvier.tensors.types import ArrayLike

Shape = tuple[int, ...]


def parameters(name: str, *values: ArrayLike) -> tuple[Tensor, ...]:
    """The parameters as floating tensors of one shape; numbers take the dtype of the tensors beside them."""
    made = tensors(*values)
    shapes = [x.shape for x in made]
    if shapes.count(shapes[0]) == len(made):
        return tuple(made)
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError as error:
        got = " and ".join(map(str, shapes))
        raise ValueError(
            f"[{name}] got parameters of shapes {got}; expected shapes that broadcast"
        ) from error
    return tuple(expanded(x, shape) for x in made)


def tensors(*values: ArrayLike) -> list[Tensor]:
    """The values as floating tensors."""
    dtype = _dtype(values)
    return [_floating(x, dtype) for x in values]


def _floating(value: ArrayLike, dtype: Any) -> Tensor:
    """One value as a floating Tensor. A floating Tensor or array keeps its dtype; all others get `dtype`, or
    the default dtype if that is None."""
    made = value if isinstance(value, Tensor) else _in(value, dtype)
    if made.dtype.kind == "f":
        return made
    return made.to(dtype or get_default_dtype())


def _dtype(values: Iterable[object]) -> Any:
    """The dtype of the first floating Tensor among the values, or among the parameters of a distribution.

    None if there is none.
    """
    for x in values:
        if isinstance(x, Tensor) and x.dtype.kind == "f":
            return x.dtype
        if isinstance(x, Distribution):
            dtype = _dtype(vars(x).values())
            if dtype is not None:
                return dtype
    return None


def _in(x: ArrayLike, dtype: Any) -> Tensor:
    """A number or a sequence of numbers as a Tensor of this dtype; a NumPy array keeps its own dtype."""
    if isinstance(x, np.ndarray):
        return tensor(x)
    return tensor(x, dtype=dtype)


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

    has_rsample: Any = False
    has_enumerate_support: Any = False
    arg_constraints: ClassVar[Any] = MappingProxyType({})  # the set of each parameter
    _validate_args: bool = True

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        own_errors(cls, ["__init__", "cdf", "icdf", "log_prob", "rsample", "sample"])

    def __init__(
        self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for what, right in self.arg_constraints.items():
            if what not in self.__dict__ and isinstance(getattr(type(self), what, None), lazy_property):
                continue  # computed from another parameter
            if not is_dependent(right) and not right.holds(getattr(self, what)):
                raise ValueError(
                    f"[{type(self).__name__}] got {what} outside its range; expected {right.text}"
                )

    def _with(self, validate_args: bool | None, **values: ArrayLike) -> None:
        """Sets the parameters as attributes, broadcast to one shape, and checks them.

        For distributions of single numbers (event_shape ()).
        """
        made = parameters(type(self).__name__, *values.values())
        for name, x in zip(values, made, strict=True):
            setattr(self, name, x)
        Distribution.__init__(self, made[0].shape, (), validate_args)

    @property
    def batch_shape(self) -> Shape:
        """The shape of the parameters; the library reads _batch_shape, as PyTorch does."""
        return self._batch_shape

    @property
    def event_shape(self) -> Shape:
        """The shape of one value; the library reads _event_shape, as PyTorch does."""
        return self._event_shape

    @property
    def support(self) -> Any:
        """The set of the values."""
        raise self._undefined("support")

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Set if distributions check parameters and values where the argument validate_args is not given."""
        Distribution._validate_args = bool(value)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Any:
        """This distribution with its parameters broadcast to batch_shape.

        _instance: for subclasses: an object to fill, whose existing attributes stay. An attribute whose name
        begins with ``_unbroadcasted`` keeps its shape: those who read it broadcast it.
        """
        new: Any = copy(self) if _instance is None else _instance
        kept = () if _instance is None else frozenset(vars(_instance))
        n = len(self._batch_shape)
        shape = Size(int(k) for k in batch_shape)
        for name, x in vars(self).items():
            if name in kept:
                continue
            if isinstance(x, Tensor) and not name.startswith("_unbroadcasted"):
                x = expanded(x, (*shape, *x.shape[n:]))
            elif isinstance(x, Distribution):
                x = x.expand(Size((*shape, *x.batch_shape[n:])))
            setattr(new, name, x)
        new._batch_shape = shape
        return new

    def _get_checked_instance(self, cls: Any, _instance: Any = None) -> Any:
        """An empty instance for the method expand of `cls`, as in PyTorch: subclasses of programs call it.

        Raises NotImplementedError for a subclass with another __init__ that does not define expand itself.
        """
        if _instance is None and type(self).__init__ is not cls.__init__:
            raise NotImplementedError(
                f"[{type(self).__name__}] got another __init__ than {cls.__name__}'s; expected expand as well"
            )
        if _instance is None:
            return self.__new__(type(self))
        return _instance

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples through which gradients reach the parameters, in the shape sample_shape + batch_shape."""
        raise NotImplementedError(f"[{type(self).__name__}] rsample is not defined; use sample and log_prob")

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples without gradients, in the shape sample_shape + batch_shape + event_shape."""
        with no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """The logarithm of the density, or of the probability, of a value."""
        raise self._undefined("log_prob")

    def cdf(self, value: ArrayLike) -> Tensor:
        """The probability of values of at most this."""
        raise self._undefined("cdf")

    def icdf(self, value: ArrayLike) -> Tensor:
        """The value whose cdf is this: the inverse of cdf."""
        raise self._undefined("icdf")

    def entropy(self) -> Tensor:
        """The mean of -log_prob."""
        raise self._undefined("entropy")

    def perplexity(self) -> Tensor:
        """exp(entropy)"""
        return ops.exp(self.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a finite distribution, along a new first dimension.

        expand: repeat them for each element of the batch; otherwise the batch dimensions have size 1.
        """
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

    @moment
    def stddev(self) -> Tensor:
        return ops.sqrt(self.variance)

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Any:
        """The shape of samples."""
        if isinstance(sample_shape, (int, np.integer)):
            raise TypeError(
                f"[{type(self).__name__}] got sample_shape {sample_shape}; expected a tuple: "
                f"({sample_shape},)"
            )
        return Size((*(int(n) for n in sample_shape), *self._batch_shape, *self._event_shape))

    def _undefined(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"[{type(self).__name__}] {what} is not defined")

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        """The result of `enumerate_support`, of the values (count, *event_shape) that subclasses give."""
        n = len(self._event_shape)
        shape = values.shape[:1] + (1,) * len(self._batch_shape) + values.shape[values.ndim - n :]
        values = ops.reshape(values, shape)
        if expand:
            return values.expand(-1, *self._batch_shape, *self._event_shape)
        return values

    def _tensor(self, value: ArrayLike) -> Tensor:
        if isinstance(value, Tensor):
            return value
        return _in(value, _dtype(vars(self).values()))

    def _value(self, value: ArrayLike) -> Tensor:
        """The value of log_prob or cdf, checked."""
        x = self._tensor(value)
        if self._validate_args:
            self._validate_sample(x)
        return x

    def _validate_sample(self, value: Tensor) -> None:
        """Raises ValueError for a value of another shape, or outside the support."""
        name = type(self).__name__
        n = len(self._event_shape)
        whole = (*self._batch_shape, *self._event_shape)
        if value.shape != whole:
            if n and value.shape[-n:] != self._event_shape:
                expected = f"last dimensions {tuple(self._event_shape)}"
                raise ValueError(f"[{name}] got a value of shape {value.shape}; expected {expected}")
            try:
                np.broadcast_shapes(value.shape, whole)
            except ValueError as error:
                raise ValueError(
                    f"[{name}] got a value of shape {value.shape}; expected one that broadcasts with {whole}"
                ) from error
        try:
            right = self.support
        except NotImplementedError:
            return
        if not right.holds(value):
            raise ValueError(f"[{name}] got a value outside its range; expected {right.text}")

    def __repr__(self) -> str:
        attributes = vars(self)
        texts = []
        for name in self.arg_constraints:
            if name in attributes:
                value = attributes[name]
                shown = value if value.numel() == 1 else value.shape
                texts.append(f"{name}: {shown}")
        return f"{type(self).__name__}({', '.join(texts)})"


class ExponentialFamily(Distribution):
    """Base of the distributions with densities h(x) exp(theta . t(x) - A(theta)), as in PyTorch.

    A subclass without an entropy of its own says theta (``_natural_params``, a tuple), A
    (``_log_normalizer(*theta)``) and the mean of log h(x) (``_mean_carrier_measure``). The entropy follows:
    A - theta . grad A - the mean of log h.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise self._undefined("_natural_params")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise self._undefined("_log_normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise self._undefined("_mean_carrier_measure")

    def entropy(self) -> Tensor:
        parameters = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*parameters)
        slopes = grad(ops.sum(normalizer), parameters, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for parameter, slope in zip(parameters, slopes, strict=True):
            result = result - _sum_rightmost(parameter * slope, parameter.ndim - len(self._batch_shape))
        return result


class Independent(Distribution):
    """The last dimensions of a batch as one event: log_prob is summed over them.

    >>> import ranvier as rv
    >>> d = rv.distributions.Independent(rv.distributions.Normal(rv.zeros(3), rv.ones(3)), 1)
    >>> d.log_prob(rv.zeros(3))
    tensor(-2.7568)
    """

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        self.base_dist = base_distribution
        n = reinterpreted_batch_ndims
        self.reinterpreted_batch_ndims = n
        whole = base_distribution.batch_shape
        if not 0 <= n <= len(whole):
            raise ValueError(
                f"[Independent] got {n} dimensions for batch_shape {whole}; expected at most all"
            )
        batch = whole[: len(whole) - n]
        own = whole[len(whole) - n :]
        super().__init__(batch, (*own, *base_distribution.event_shape), validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:
        return not self.reinterpreted_batch_ndims and self.base_dist.has_enumerate_support

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def log_prob(self, value: ArrayLike) -> Tensor:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._summed(self.base_dist.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        if self.reinterpreted_batch_ndims:
            raise self._undefined("enumerate_support")
        return self.base_dist.enumerate_support(expand)

    @dependent_property
    def support(self) -> Any:
        base = self.base_dist.support
        n = self.reinterpreted_batch_ndims
        if n:
            return independent(base, n)
        return base

    @moment
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @moment
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @moment
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist!r}, {self.reinterpreted_batch_ndims})"

    def _summed(self, x: Tensor) -> Tensor:
        return _sum_rightmost(x, self.reinterpreted_batch_ndims)
