"""Choices between values: maximum, minimum, clamp, where NaN stays NaN, as in NumPy; where, masked_fill."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import computed
from ranvier.ops.elementwise.arithmetic import OfNumber
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import (
    F32,
    F64,
    Array,
    as_number,
    as_operand,
    as_tensor,
    cast,
    common_shape,
    is_floating,
    result_dtype,
)
from ranvier.ops.elementwise.op import FLOATS_ONLY, Elementwise
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    TENSORS,
    Operations,
    Value,
    differentiable_backward,
    formula_of,
)
from ranvier.tape.function import TakesHalves, in_dtypes
from ranvier.tensors.errors import own_error
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.memory import fill_number, filled_like, in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import Number, TensorLike

Gradients = tuple[Value | None, ...]


@differentiable_backward(a=FIRST_INPUT, b=SECOND_INPUT)
class Maximum(TakesHalves):
    """y = max(a, b)"""

    broadcasts = True
    kernel: Any = _core.maximum

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a
        self.b = b
        return self.kernel(a, b, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        return _of_both(self, dy, f, f.maximum_backward)


@differentiable_backward(a=FIRST_INPUT, b=SECOND_INPUT)
class Minimum(Maximum):
    """y = min(a, b)"""

    kernel = _core.minimum

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        return _of_both(self, dy, f, f.minimum_backward)


def _of_both(node: Maximum, dy: Value, f: Operations, of_first: Callable[..., Value]) -> Gradients:
    """The gradients of both operands. of_first(dy, a, b): the gradient of the first operand, for each
    order."""
    da = None
    db = None
    if node.needs[0]:
        da = f.gradient_of(node.a.shape, of_first, dy, node.a, node.b)
    if node.needs[1]:
        db = f.gradient_of(node.b.shape, of_first, dy, node.b, node.a)
    return da, db


def _constant_slope(kernel: Callable[..., Array]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The function (dy, a, b) -> dy times a slope that changes at kinks only, and so has no gradient
    itself."""

    def gradient(dy: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return dy * wrap(kernel(filled_like(1, dy._array), a._array, b._array))

    return gradient


TENSORS.maximum_backward = _constant_slope(_core.maximum_backward)
TENSORS.minimum_backward = _constant_slope(_core.minimum_backward)


@differentiable_backward()
class AtLeast(TakesHalves):
    """y = max(x, low); where x and low are equal, x gets the gradient. The saved arrays are only compared, so
    the decorator names none; the same below."""

    broadcasts = True
    compare: Any = _core.ge
    reverse: Any = _core.lt
    extremum: Any = _core.maximum

    def forward(self, x: Array, limit: Array) -> Array:
        self.x = x
        self.limit = limit
        return self.extremum(limit, x, None)  # Of 0.0 and -0.0 the kernel returns its second operand, here x.

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        x = self.x
        limit = self.limit
        dx = None
        dlimit = None
        if self.needs[0]:
            dx = f.sum_to(f.where(self.compare(x, limit), dy, 0.0), x.shape)
        if self.needs[1]:
            dlimit = f.sum_to(f.where(self.reverse(x, limit), dy, 0.0), limit.shape)
        return dx, dlimit


@differentiable_backward()
class AtMost(AtLeast):
    """y = min(x, high); where x and high are equal, x gets the gradient"""

    compare = _core.le
    reverse = _core.gt
    extremum = _core.minimum


@differentiable_backward()
class Between(TakesHalves):
    """y = min(max(x, low), high); at equal values the gradient goes to the same input as in PyTorch"""

    broadcasts = True

    def forward(self, x: Array, low: Array, high: Array) -> Array:
        self.x = x
        self.low = low
        self.high = high
        return _core.minimum(high, _core.maximum(low, x, None), None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        x = self.x
        low = self.low
        high = self.high
        dx = None
        dlow = None
        dhigh = None
        if self.needs[0]:
            dx = f.where(_core.ge(x, low), f.where(_core.le(x, high), dy, 0.0), 0.0)
            dx = f.sum_to(dx, x.shape)
        if self.needs[1]:
            dlow = f.where(_core.lt(x, low), f.where(_core.lt(low, high), dy, 0.0), 0.0)
            dlow = f.sum_to(dlow, low.shape)
        if self.needs[2]:
            dhigh = f.where(_core.gt(x, high), dy, f.where(_core.lt(high, low), dy, 0.0))
            dhigh = f.sum_to(dhigh, high.shape)
        return dx, dlow, dhigh


_maximum_op = Elementwise(_core.maximum, numpy=np.maximum, node=Maximum).op("maximum")


def maximum(input: TensorLike, other: TensorLike) -> Tensor:
    """The greater of a and b, element by element; NaN if either is. Equal values share the gradient; where
    either is NaN, both get all of it, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.maximum(rv.tensor([1.0, 5.0]), rv.tensor([3.0, 4.0]))
    tensor([3., 5.])
    """
    return _maximum_op(input, other)


_minimum_op = Elementwise(_core.minimum, numpy=np.minimum, node=Minimum).op("minimum")


def minimum(input: TensorLike, other: TensorLike) -> Tensor:
    """The smaller of a and b, element by element; NaN if either is. Equal values share the gradient; where
    either is NaN, both get all of it, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.minimum(rv.tensor([1.0, 5.0]), rv.tensor([3.0, 4.0]))
    tensor([1., 4.])
    """
    return _minimum_op(input, other)


def _at_least_kernel(x: Array, low: Array, out: Array | None) -> Array:
    return _core.maximum(low, x, out)


_at_least = Elementwise(_at_least_kernel, numpy=np.maximum, node=AtLeast)


def _at_most_kernel(x: Array, high: Array, out: Array | None) -> Array:
    return _core.minimum(high, x, out)


_at_most = Elementwise(_at_most_kernel, numpy=np.minimum, node=AtMost)
_AT_LEAST = _at_least.op("clamp")
_AT_MOST = _at_most.op("clamp")


def _clamp_gradient(f: Operations, dy: Value, x: Value, low: float, high: float) -> Value:
    return f.where(x >= low, f.where(x <= high, dy, 0.0), 0.0)


formula_of("clip_backward")(in_dtypes()(_clamp_gradient))  # the kernels have NumPy's name
_between_numbers = Elementwise(
    _core.clip, gradient=_clamp_gradient, dtypes=FLOATS_ONLY, backward_kernel="clip_backward"
)
_BETWEEN_NUMBERS = _between_numbers.op("clamp")
_NUMBER_OR_NONE = frozenset({int, float, type(None)})


def clamp(input: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x limited to [min, max]; None means no limit on that side. The gradient passes where min <= x <= max;
    elsewhere it goes to the limit.

    min and max are numbers, or tensors that broadcast. Raises ValueError if both are None.

    >>> import ranvier as rv
    >>> rv.clamp(rv.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise OpError("[clamp] got neither min nor max; expected at least one limit")
    # first the calls whose arguments need no conversion
    if type(min) in _NUMBER_OR_NONE and type(max) in _NUMBER_OR_NONE and is_floating(input):
        if min is None:
            min = -math.inf
        if max is None:
            max = math.inf
        return _BETWEEN_NUMBERS(input, min, max)
    if max is None and isinstance(min, Tensor):
        return _AT_LEAST(input, min)
    input = as_operand("clamp", input)
    low = _limit(min)
    high = _limit(max)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _clamp(input, low, high)
    if is_floating(input):
        if low is None:
            low = -math.inf
        if high is None:
            high = math.inf
        return _BETWEEN_NUMBERS(input, 1.0 * low, 1.0 * high)  # 1.0 times: True as a limit becomes 1.0
    if low is None:
        return _AT_MOST(input, high)
    if high is None:
        return _AT_LEAST(input, low)
    return _AT_MOST(_AT_LEAST(input, low), high)


def _limit(x: TensorLike | None) -> Any:
    """A limit of clamp as a Tensor or a number; None: there is none."""
    if x is None:
        return None
    return as_operand("clamp", x)


@own_error
def _clamp(x: Any, low: Any, high: Any) -> Tensor:
    """clamp with one limit or two, at least one of them a Tensor."""
    if high is None:
        return _AT_LEAST(x, low)
    if low is None:
        return _AT_MOST(x, high)
    dtypes = {operand._array.dtype for operand in (x, low, high) if isinstance(operand, Tensor)}
    # Two ops give the same values as Between in any dtypes. They differ in the gradients at equal values, so
    # a result that has a gradient is computed again.
    if len(dtypes) > 1 or not dtypes <= {F32, F64}:
        y = _AT_MOST(_AT_LEAST(x, low), high)
        if not y.requires_grad or not is_floating(y):
            return y
        dtypes = {y.dtype}
    dtype = dtypes.pop()
    return Between().apply(cast(x, dtype), cast(low, dtype), cast(high, dtype))


clip = clamp


@differentiable_backward(condition=FIRST_INPUT)
class Where(TakesHalves):
    """y = condition ? a : b"""

    broadcasts = True

    def forward(self, condition: Array, a: Array, b: Array) -> Array:
        self.condition = condition
        self.shapes = (a.shape, b.shape)
        return _core.where(condition, a, b, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        condition = self.condition
        da = None
        db = None
        if self.needs[1]:
            da = f.sum_to(f.where(condition, dy, 0.0), self.shapes[0])
        if self.needs[2]:
            db = f.sum_to(f.where(condition, 0.0, dy), self.shapes[1])
        return None, da, db


@differentiable_backward(mask=SECOND_INPUT)
class MaskedFill(OfNumber):
    """y = mask ? number : x"""

    of_element = False  # because it has two inputs, unlike other subclasses of OfNumber
    broadcasts = True

    def forward(self, x: Array, mask: Array) -> Array:
        self.mask = mask
        self.shape = x.shape
        return _core.where(mask, self.number, x, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        return f.sum_to(f.where(self.mask, 0.0, dy), self.shape), None


def where(condition: TensorLike, input: TensorLike | None = None, other: TensorLike | None = None) -> Any:
    """a where the condition is true, else b; all three broadcast.

    With the condition alone: the indices of its true elements, a tuple of one int64 tensor for each
    dimension. Raises TypeError if the condition is neither bool nor uint8, ValueError where the shapes do
    not broadcast.

    >>> import ranvier as rv
    >>> x = rv.tensor([-1.0, 2.0])
    >>> rv.where(x > 0, x, 0.1 * x)
    tensor([-0.1000,  2.0000])
    """
    return _WHERE(condition, input, other)


def _where_in_python(condition: TensorLike, input: Any, other: Any) -> Any:
    condition = as_tensor("where", condition)
    if condition._array.dtype == np.uint8:  # a mask of old programs, as in PyTorch
        condition = ne(condition, 0)
    if input is None and other is None:
        return _indices(condition._read("where with a condition alone"))
    input = as_operand("where", input)
    other = as_operand("where", other)
    dtype = result_dtype(input, other)
    if dtype.kind == "f":
        return Where().apply(condition, cast(input, dtype), cast(other, dtype))
    common_shape("where", condition, input, other)
    a = _array_or_number(input, dtype)
    b = _array_or_number(other, dtype)
    return computed("where", (condition, input, other), by_numpy(np.where, condition._array, a, b))


def _array_or_number(x: Tensor | Number, dtype: np.dtype[Any]) -> Any:
    """An operand of `where` as NumPy gets it, in this dtype."""
    if isinstance(x, Tensor):
        return in_dtype(x._array, dtype)
    return as_number("where", x, dtype)


def _indices(array: Array) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, one tensor for each dimension."""
    return tuple(wrap(index) for index in np.nonzero(np.atleast_1d(array)))


_WHERE = _core._elementwise(_where_in_python, _core.where, None, name="where")


def masked_fill(input: TensorLike, mask: TensorLike, value: TensorLike) -> Tensor:
    """x with every element at which the mask is true replaced by the number, in the dtype of x.

    x and mask broadcast. value is a number, or a tensor without dimensions, which gets the sum of the
    gradients where the mask is true. Raises TypeError if the mask is not bool, ValueError where the shapes do
    not broadcast or the dtype of x cannot hold the number.

    >>> import ranvier as rv
    >>> rv.masked_fill(rv.tensor([1.0, 2.0]), rv.tensor([True, False]), float("-inf"))
    tensor([-inf, 2.])
    """
    input = as_tensor("masked_fill", input)
    mask = as_tensor("masked_fill", mask)
    require_dtype("masked_fill", "mask", mask, "b", "bool")
    value = as_operand("masked_fill", value)
    if isinstance(value, Tensor) and value._array.ndim:
        raise misfit("masked_fill", {"value": value.shape}, "a number, or a tensor of shape ()")
    has_floats = input._array.dtype.kind == "f"
    if has_floats and not isinstance(value, Tensor):
        return MaskedFill(fill_number("masked_fill", value, input._array.dtype)).apply(input, mask)
    common_shape("masked_fill", input, mask)
    if has_floats:
        return Where().apply(mask, cast(value, input._array.dtype), input)
    number = getattr(value, "_array", value)
    return computed("where", (mask, value, input), by_numpy(_filled, mask._array, number, input._array))


def _filled(mask: Array, number: Any, x: Array) -> Array:
    """masked_fill of integers and bools by NumPy. number: a number or an array of one."""
    if isinstance(number, np.ndarray):
        number = number.item()
    return np.where(mask, as_number("masked_fill", number, x.dtype), x)


def nonzero(input: TensorLike, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0, in logical order: int64 (n, x.ndim), no gradient.

    as_tuple: instead one tensor of n indices for each dimension, with which x can be indexed.

    >>> import ranvier as rv
    >>> rv.nonzero(rv.tensor([[0.0, 2.0], [3.0, 0.0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    array = as_tensor("nonzero", input)._read("nonzero")
    if as_tuple:
        return _indices(array)
    if array.ndim == 0:
        return wrap(np.argwhere(array))
    return wrap(np.array(array.nonzero()).T)
