"""Choices between values: maximum, minimum, clamp, where NaN stays NaN, as in NumPy; where, masked_fill."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import computed
from ranvier.ops.elementwise.arithmetic import OfNumber
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
from ranvier.ops.elementwise.row import REFUSED, elementwise
from ranvier.ops.namespaces import KERNELS, TENSORS, Operations, Value, formula_of, written_once
from ranvier.tape.function import TakesHalves, in_dtypes
from ranvier.tensors.errors import own_error
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.memory import fill_number, filled_like, in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy, wrap


@written_once(a=0, b=1)
class Maximum(TakesHalves):
    """y = max(a, b)"""

    kernel: Any = _core.maximum

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a
        self.b = b
        return self.kernel(a, b, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return _of_both(self, dy, f, f.maximum_backward)


@written_once(a=0, b=1)
class Minimum(Maximum):
    """y = min(a, b)"""

    kernel = _core.minimum

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return _of_both(self, dy, f, f.minimum_backward)


def _of_both(
    node: Maximum, dy: Value, f: Operations, of_first: Callable[..., Value]
) -> tuple[Value | None, Value | None]:
    """The gradients of both operands. of_first(dy, a, b): the gradient of the first operand, for each
    order."""
    da = None
    db = None
    if node.needs[0]:
        da = f.gradient_of(node.a.shape, of_first, dy, node.a, node.b)
    if node.needs[1]:
        db = f.gradient_of(node.b.shape, of_first, dy, node.b, node.a)
    return da, db


def _constant_slope(kernel: Any) -> Any:
    """The function (dy, a, b) -> dy times a slope that changes at kinks only, and so has no gradient
    itself."""

    def gradient(dy: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return dy * wrap(kernel(filled_like(1, dy._array), a._array, b._array))

    return gradient


TENSORS.maximum_backward = _constant_slope(_core.maximum_backward)
TENSORS.minimum_backward = _constant_slope(_core.minimum_backward)


@written_once()
class AtLeast(TakesHalves):
    """y = max(x, low); where x and low are equal, x gets the gradient"""

    compare: Any = _core.ge
    reverse: Any = _core.lt
    extremum: Any = _core.maximum

    def forward(self, x: Array, limit: Array) -> Array:
        self.x = x
        self.limit = limit
        return self.extremum(limit, x, None)  # Of 0.0 and -0.0 the kernel returns its second operand, here x.

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        of_x, of_limit = self.needs
        x = self.x
        limit = self.limit
        if of_x:
            dx = f.sum_to(f.where(self.compare(x, limit), dy, 0.0), x.shape)
        else:
            dx = None
        return dx, f.sum_to(f.where(self.reverse(x, limit), dy, 0.0), limit.shape) if of_limit else None


@written_once()
class AtMost(AtLeast):
    """y = min(x, high); where x and high are equal, x gets the gradient"""

    compare = _core.le
    reverse = _core.gt
    extremum = _core.minimum


@written_once()
class Between(TakesHalves):
    """y = min(max(x, low), high); at equal values the gradient goes to the same input as in PyTorch"""

    def forward(self, x: Array, low: Array, high: Array) -> Array:
        self.arrays = x, low, high
        return _core.minimum(high, _core.maximum(low, x, None), None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        x, low, high = self.arrays
        of_x, of_low, of_high = self.needs
        dx = dlow = dhigh = None
        if of_x:
            dx = f.where(_core.ge(x, low), f.where(_core.le(x, high), dy, 0.0), 0.0)
        if of_low:
            dlow = f.where(_core.lt(x, low), f.where(_core.lt(low, high), dy, 0.0), 0.0)
        if of_high:
            dhigh = f.where(_core.gt(x, high), dy, f.where(_core.lt(high, low), dy, 0.0))
        pairs = zip((dx, dlow, dhigh), self.arrays, strict=True)
        return tuple(None if d is None else f.sum_to(d, array.shape) for d, array in pairs)


@elementwise(_core.maximum, numpy=np.maximum, node=Maximum)
def maximum(input: Any, other: Any) -> Tensor:
    """The greater of a and b, element by element; NaN if either is. Equal values share the gradient; where
    either is NaN, both get all of it, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.maximum(rv.tensor([1.0, 5.0]), rv.tensor([3.0, 4.0]))
    tensor([3., 5.])
    """


@elementwise(_core.minimum, numpy=np.minimum, node=Minimum)
def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of a and b, element by element; NaN if either is. Equal values share the gradient; where
    either is NaN, both get all of it, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.minimum(rv.tensor([1.0, 5.0]), rv.tensor([3.0, 4.0]))
    tensor([1., 4.])
    """


_at_least = elementwise(lambda x, low, out: _core.maximum(low, x, out), numpy=np.maximum, node=AtLeast)
_at_most = elementwise(lambda x, high, out: _core.minimum(high, x, out), numpy=np.minimum, node=AtMost)
_AT_LEAST = _at_least.op("clamp")
_AT_MOST = _at_most.op("clamp")


def _slope_between(f: Operations, dy: Value, x: Value, low: Any, high: Any) -> Value:
    return f.where(x >= low, f.where(x <= high, dy, 0.0), 0.0)


formula_of("clip_backward")(in_dtypes()(_slope_between))  # the kernels have NumPy's name
_BY_NUMBERS = elementwise(_core.clip, _slope_between, dtypes=REFUSED, backward_kernel="clip_backward").op(
    "clamp"
)
_PLAIN = frozenset({int, float, type(None)})


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]; None means no limit on that side. The gradient passes where min <= x <= max;
    elsewhere it goes to the limit.

    min and max are numbers, or tensors that broadcast. Raises ValueError if both are None.

    >>> import ranvier as rv
    >>> rv.clamp(rv.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if type(min) in _PLAIN and type(max) in _PLAIN and not min is max is None and is_floating(input):
        return _BY_NUMBERS(input, -math.inf if min is None else min, math.inf if max is None else max)
    if max is None and isinstance(min, Tensor):
        return _AT_LEAST(input, min)
    if min is None and max is None:
        raise OpError("[clamp] got neither min nor max; expected at least one limit")
    input = as_operand("clamp", input)
    low, high = (None if limit is None else as_operand("clamp", limit) for limit in (min, max))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _clamp(input, low, high)
    if is_floating(input):
        if low is None:
            low = -math.inf
        if high is None:
            high = math.inf
        return _BY_NUMBERS(input, 1.0 * low, 1.0 * high)  # 1.0 times: True as a limit becomes 1.0
    y = input if low is None else _AT_LEAST(input, low)
    if high is None:
        return y
    return _AT_MOST(y, high)


@own_error
def _clamp(x: Any, low: Any, high: Any) -> Tensor:
    """clamp with one limit or two, at least one of them a Tensor."""
    if low is None or high is None:
        if high is None:
            return _AT_LEAST(x, low)
        return _AT_MOST(x, high)
    dtypes = {part._array.dtype for part in (x, low, high) if isinstance(part, Tensor)}
    if len(dtypes) > 1 or not dtypes <= {F32, F64}:
        y = _AT_MOST(_AT_LEAST(x, low), high)
        if not (y.requires_grad and is_floating(y)):
            return y
        dtypes = {y.dtype}
    dtype = dtypes.pop()
    return Between().apply(*(cast(part, dtype) for part in (x, low, high)))


clip = clamp


@written_once(condition=0)
class Where(TakesHalves):
    """y = condition ? a : b"""

    def forward(self, condition: Array, a: Array, b: Array) -> Array:
        self.condition = condition
        self.shapes = (a.shape, b.shape)
        return _core.where(condition, a, b, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        condition = self.condition
        da = None
        db = None
        if self.needs[1]:
            da = f.sum_to(f.where(condition, dy, 0.0), self.shapes[0])
        if self.needs[2]:
            db = f.sum_to(f.where(condition, 0.0, dy), self.shapes[1])
        return None, da, db


@written_once(mask=1)
class MaskedFill(OfNumber):
    """y = mask ? number : x"""

    of_element = False  # because it has two inputs, unlike other subclasses of OfNumber

    def forward(self, x: Array, mask: Array) -> Array:
        self.mask = mask
        self.shape = x.shape
        return _core.where(mask, self.number, x, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return f.sum_to(f.where(self.mask, 0.0, dy), self.shape), None


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
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


def _where_in_python(condition: Any, input: Any, other: Any) -> Any:
    condition = as_tensor("where", condition)
    if condition._array.dtype == np.uint8:  # a mask of old programs, as in PyTorch
        condition = condition.ne(0)
    if input is None and other is None:
        chosen = condition._read("where with a condition alone")
        return tuple(wrap(index) for index in np.nonzero(np.atleast_1d(chosen)))
    input = as_operand("where", input)
    other = as_operand("where", other)
    dtype = result_dtype(input, other)
    if dtype.kind == "f":
        return Where().apply(condition, cast(input, dtype), cast(other, dtype))
    common_shape("where", condition, input, other)
    raw = [
        in_dtype(x._array, dtype) if isinstance(x, Tensor) else as_number("where", x, dtype)
        for x in (input, other)
    ]
    return computed("where", (condition, input, other), by_numpy(np.where, condition._array, *raw))


_WHERE = _core._elementwise(_where_in_python, _core.where, None, name="where")


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
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
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise misfit("masked_fill", {"value": value.shape}, "a number, or a tensor of shape ()")
        if is_floating(input):
            common_shape("masked_fill", input, mask)
            return Where().apply(mask, cast(value, input._array.dtype), input)
    if is_floating(input):
        return MaskedFill(fill_number("masked_fill", value, input._array.dtype)).apply(input, mask)
    common_shape("masked_fill", input, mask)
    number = value._array if isinstance(value, Tensor) else value
    return computed("where", (mask, value, input), by_numpy(_filled, mask._array, number, input._array))


def _filled(mask: Array, number: Any, x: Array) -> Array:
    if isinstance(number, np.ndarray):
        number = number.item()
    return np.where(mask, as_number("masked_fill", number, x.dtype), x)


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0, in logical order: int64 (n, x.ndim), no gradient.

    as_tuple: instead one tensor of n indices for each dimension, with which x can be indexed.

    >>> import ranvier as rv
    >>> rv.nonzero(rv.tensor([[0.0, 2.0], [3.0, 0.0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    array = as_tensor("nonzero", input)._read("nonzero")
    if as_tuple:
        return tuple(wrap(index) for index in np.nonzero(np.atleast_1d(array)))
    return wrap(np.array(array.nonzero()).T if array.ndim else np.argwhere(array))
