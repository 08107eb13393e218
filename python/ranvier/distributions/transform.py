"""The base class of transforms, and transforms that are made of others."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import ranvier.distributions.constraints as constraints
import ranvier.ops as ops
from ranvier import Size, full_like
from ranvier.autograd import Tensor
from ranvier.distributions.constraints import independent
from ranvier.distributions.utils import _sum_rightmost
from ranvier.tensors.errors import own_errors
from ranvier.tensors.types import Shape


class Transform:
    """y = f(x), invertible. A subclass defines ``domain``, ``codomain``, ``_call(x)``, ``_inverse(y)`` and
    ``log_abs_det_jacobian(x, y)``, the logarithm of |dy/dx|.

    cache_size: 1 keeps the last pair, so that the inverse of a result is exactly its argument.

    >>> import ranvier as rv
    >>> tanh = rv.distributions.TanhTransform()
    >>> tanh.inv(tanh(rv.tensor(0.5)))
    tensor(0.5000)
    """

    bijective: Any = False

    @property
    def sign(self) -> Any:
        return self._undefined("sign")

    domain: Any = constraints.real
    codomain: Any = constraints.real

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "__init__" in vars(cls):  # with_cache asks for it
            own_errors(cls, ["__init__"])

    def __init__(self, cache_size: int = 0) -> None:
        if getattr(cache_size, "ndim", 0) or cache_size not in (0, 1):
            raise ValueError(f"[{type(self).__name__}] got cache_size {cache_size}; expected 0 or 1")
        self._cache_size = cache_size
        self._cached_x_y: tuple[Any, Any] = (None, None)
        self._inv: Any = None

    def _undefined(self, what: str) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] {what} is not defined")

    def _call(self, x: Tensor) -> Any:
        return self._undefined("_call")

    def _inverse(self, y: Tensor) -> Any:
        return self._undefined("_inverse")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        return self._undefined("log_abs_det_jacobian")

    def __call__(self, x: Tensor) -> Any:
        if self._cache_size and x is self._cached_x_y[0]:
            return self._cached_x_y[1]
        y = self._call(x)
        if self._cache_size:
            self._cached_x_y = x, y
        return y

    def _inv_call(self, y: Tensor) -> Any:
        if self._cache_size and y is self._cached_x_y[1]:
            return self._cached_x_y[0]
        x = self._inverse(y)
        if self._cache_size:
            self._cached_x_y = x, y
        return x

    @property
    def inv(self) -> Transform:
        """The inverse transform, whose inverse is this one."""
        inverse: Any = self._inv and self._inv()
        if inverse is None:
            inverse = _InverseTransform(self)
            self._inv = weakref.ref(inverse)
        return inverse

    def with_cache(self, cache_size: int = 1) -> Transform:
        """This transform with another cache_size."""
        if self._cache_size == cache_size:
            return self
        # A class with arguments of its own has to define this method.
        if type(self).__init__ is not Transform.__init__:
            self._undefined("with_cache")
        return type(self)(cache_size=cache_size)

    def forward_shape(self, shape: Shape) -> Any:
        """The shape of f(x) for an x of this shape."""
        return shape

    def inverse_shape(self, shape: Shape) -> Any:
        """The shape of x for an f(x) of this shape."""
        return shape

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inv": None}  # no weak reference can be pickled

    def __eq__(self, other: Any) -> bool:
        """True for the same function: a transform of the same class with equal settings."""
        if type(self) is not type(other):
            return False
        names = set(vars(self)) - {"_cache_size", "_cached_x_y", "_inv"}
        return all(_equal(getattr(self, name), getattr(other, name, None)) for name in names)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    if isinstance(same, Tensor):
        return bool(same.all())
    return bool(same)


class _InverseTransform(Transform):
    """The inverse of a transform, which `_inv` is here: it keeps that one alive. In the other direction,
    `_inv` is a weak reference, so that the two make no cycle."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform._cache_size)
        self._inv: Transform = transform

    @property
    def domain(self) -> Any:
        return self._inv.codomain

    @property
    def codomain(self) -> Any:
        return self._inv.domain

    @property
    def bijective(self) -> bool:
        return self._inv.bijective

    @property
    def sign(self) -> Any:
        return self._inv.sign

    @property
    def inv(self) -> Any:
        return self._inv

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _InverseTransform) and self._inv == other._inv

    __hash__ = Transform.__hash__

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self.inv.with_cache(cache_size).inv

    def __call__(self, x: Tensor) -> Any:
        return self._inv._inv_call(x)

    def _inv_call(self, y: Tensor) -> Any:
        return self._inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Shape) -> Any:
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape: Shape) -> Any:
        return self._inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inv!r})"


class ComposeTransform(Transform):
    """y = f_n(... f_1(x))"""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        if cache_size:
            self.parts = [part.with_cache(cache_size) for part in parts]
        else:
            self.parts = list(parts)

    @property
    def bijective(self) -> bool:
        return all(part.bijective for part in self.parts)

    @property
    def sign(self) -> Any:
        return math.prod(part.sign for part in self.parts)

    @property
    def domain(self) -> Any:
        return self._outer([(p.codomain, p.domain) for p in reversed(self.parts)])

    @property
    def codomain(self) -> Any:
        return self._outer([(p.domain, p.codomain) for p in self.parts])

    @staticmethod
    def _outer(steps: list[Any]) -> Any:
        """The constraint of the last step, with the event dimensions of the whole chain.

        steps: pairs (set before, set after) of the parts, in order. Earlier parts may act on events of more
        dimensions than the last one; these are added to its set.
        """
        if not steps:
            return constraints.real
        dims = steps[0][0].event_dim
        for before, after in steps:
            dims = max(dims + after.event_dim - before.event_dim, after.event_dim)
        last = steps[-1][1]
        if dims > last.event_dim:
            return independent(last, dims - last.event_dim)
        return last

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ComposeTransform(self.parts, cache_size)

    def _call(self, x: Tensor) -> Any:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Any:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        total: Any = 0.0 if self.parts else full_like(x, 0.0)
        # How many last dimensions of x are one event. What a part gives for smaller events is summed over the
        # rest of them.
        dims = self.domain.event_dim
        for i, part in enumerate(self.parts):
            result = y if i == len(self.parts) - 1 else part(x)
            total = total + _sum_rightmost(part.log_abs_det_jacobian(x, result), dims - part.domain.event_dim)
            dims += part.codomain.event_dim - part.domain.event_dim
            x = result
        return total

    def forward_shape(self, shape: Shape) -> Any:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: Shape) -> Any:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def __repr__(self) -> str:
        return f"ComposeTransform({self.parts})"


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """The base transform, with the last `reinterpreted_batch_ndims` dimensions as one event: log |dy/dx| is
    summed over them."""

    def __init__(
        self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size)
        if cache_size:
            self.base_transform = base_transform.with_cache(cache_size)
        else:
            self.base_transform = base_transform
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def domain(self) -> Any:
        return independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @property
    def codomain(self) -> Any:
        return independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:
        return self.base_transform.bijective

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    def _deep(self, x: Tensor, right: constraints.Constraint) -> Tensor:
        """x; ValueError if it has fewer dimensions than an event of the constraint `right`."""
        if x.ndim < right.event_dim:
            raise ValueError(
                f"[IndependentTransform] got shape {x.shape}; expected at least {right.event_dim} dimensions"
            )
        return x

    def _call(self, x: Tensor) -> Any:
        return self.base_transform(self._deep(x, self.domain))

    def _inverse(self, y: Tensor) -> Any:
        return self.base_transform.inv(self._deep(y, self.codomain))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        return _sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Shape) -> Any:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Shape) -> Any:
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"IndependentTransform({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """Reshapes the last dimensions from in_shape to out_shape."""

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ValueError(
                f"[ReshapeTransform] got {self.in_shape} and {self.out_shape}; expected as many elements"
            )

    @property
    def domain(self) -> Any:
        return independent(constraints.real, len(self.in_shape))

    @property
    def codomain(self) -> Any:
        return independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Transform:
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size)

    def _call(self, x: Tensor) -> Any:
        return ops.reshape(x, self.forward_shape(x.shape))

    def _inverse(self, y: Tensor) -> Any:
        return ops.reshape(y, self.inverse_shape(y.shape))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        if self.in_shape:
            return ops.sum(x * 0, tuple(range(-len(self.in_shape), 0)))
        return x * 0

    def forward_shape(self, shape: Shape) -> Any:
        return self._other(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Shape) -> Any:
        return self._other(shape, self.out_shape, self.in_shape)

    @staticmethod
    def _other(shape: Shape, before: Shape, after: Shape) -> Size:
        """The shape with `after` in place of its last dimensions, which must be `before`."""
        cut = len(shape) - len(before)
        if cut < 0 or tuple(shape[cut:]) != tuple(before):
            raise ValueError(
                f"[ReshapeTransform] got shape {tuple(shape)}; expected last dimensions {tuple(before)}"
            )
        return Size((*shape[:cut], *after))
