"""The ops add, sub, mul, div and neg.

A number beside a tensor is an attribute of the node, not an input, and gets no gradient: ``x * 2`` keeps the
dtype of x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import (
    Array,
    as_number,
    as_operand,
    cast,
    common_shape,
    is_pair,
    result_dtype,
    with_dtype,
)
from ranvier.ops.elementwise.op import Elementwise
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    RESULT,
    SECOND_INPUT,
    Operations,
    Value,
    differentiable_backward,
    formula_of,
)
from ranvier.tape.function import Dtypes, Function, TakesHalves, by_kernel, in_dtypes
from ranvier.tape.inplace import written
from ranvier.tensors.errors import number, one_of, own_error
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Number, TensorLike

Gradients = tuple[Value | None, Value | None]
# Stands for shapes that no gradient needs. An instance without the attribute would make attribute access
# slower.
_NONE: Any = None


@differentiable_backward()
class Add(TakesHalves):
    """y = a + b"""

    broadcasts = True
    kernel: Any = _core.add
    subtracts = False

    def forward(self, a: Array, b: Array) -> Array:
        self.shapes = (a.shape, b.shape) if True in self.needs else _NONE
        return self.kernel(a, b, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        shape_a, shape_b = self.shapes
        da = None
        db = None
        if self.needs[0]:
            da = f.sum_to(dy, shape_a)
        if self.needs[1]:
            if self.subtracts:
                dy = f.neg(dy)
            db = f.sum_to(dy, shape_b)
        return da, db


@differentiable_backward()
class Sub(Add):
    """y = a - b"""

    kernel = _core.sub
    subtracts = True


class OfNumber(TakesHalves):
    """The base class of operations with a number, which is an attribute and gets no gradient."""

    of_element = True  # each element of y depends on one of x

    def __init__(self, number: float) -> None:
        self.number = number


@differentiable_backward()
class AddNumber(OfNumber):
    """y = x + number"""

    def forward(self, x: Array) -> Array:
        return _core.add(x, self.number, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return dy


@differentiable_backward()
class NumberSub(OfNumber):
    """y = number - x"""

    def forward(self, x: Array) -> Array:
        return _core.sub(self.number, x, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.neg(dy)


@differentiable_backward(a=FIRST_INPUT, b=SECOND_INPUT)
class Mul(TakesHalves):
    """y = a b"""

    broadcasts = True
    # saved: a for the second gradient alone, b for the first gradient alone
    reads: ClassVar = {"a": 1, "b": 0}

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a
        self.b = b
        return _core.mul(a, b, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        a = self.a
        b = self.b
        da = None
        db = None
        if self.needs[0]:
            da = f.gradient_of(a.shape, f.mul, dy, b)
        if self.needs[1]:
            db = f.gradient_of(b.shape, f.mul, dy, a)
        return da, db


@differentiable_backward(b=SECOND_INPUT, y=RESULT)
class Div(Function):
    """y = a / b"""

    broadcasts = True
    derived = True  # backward reads arrays that forward has computed
    frees_result = True  # PyTorch does not save the result
    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    # saved: y for the second gradient alone
    reads: ClassVar = {"y": 1}

    def forward(self, a: Array, b: Array) -> Array:
        self.a_shape = a.shape
        self.b = b
        self.y = _core.div(a, b, None)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        b = self.b
        da = None
        db = None
        if self.needs[0]:
            da = f.sum_to(f.div(dy, b), self.a_shape)
        if self.needs[1]:
            db = f.sum_to(f.div_backward(dy, self.y, b), b.shape)
        return da, db


@formula_of("div_backward")
def _div_backward(f: Operations, dy: Value, y: Value, b: Value) -> Value:
    return -(dy * y) / b  # multiplied first, as in the kernel, so that both round in the same way


@differentiable_backward()
class MulNumber(OfNumber):
    """y = x number"""

    def forward(self, x: Array) -> Array:
        return _core.mul(x, self.number, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.mul(dy, self.number)


@differentiable_backward()
class DivNumber(OfNumber):
    """y = x / number"""

    def forward(self, x: Array) -> Array:
        return _core.div(x, self.number, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.div(dy, self.number)


@differentiable_backward(x=FIRST_INPUT, y=RESULT)
class NumberDiv(OfNumber):
    """y = number / x"""

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = _core.div(self.number, x, None)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.div_backward(dy, self.y, self.x)


def no_bools(name: str, dtype: np.dtype[Any], *operands: Any) -> None:
    """Raises TypeError for bools."""
    if dtype.kind != "b":
        return
    if name == "neg":
        advice = "~x"
    else:
        advice = "x.int()"
    raise DtypeError(f"[{name}] got bools; expected numbers: use {advice}")


_ADD = Elementwise(_core.add, numpy=np.add, node=Add, with_number=AddNumber, of_number=AddNumber).op("add")


def _sub_with_number(number: float) -> Function:
    return AddNumber(-number)


_SUB = Elementwise(
    _core.sub,
    numpy=np.subtract,
    check_dtype=no_bools,
    node=Sub,
    with_number=_sub_with_number,
    of_number=NumberSub,
).op("sub")
_DIV = Elementwise(_core.div, node=Div, with_number=DivNumber, of_number=NumberDiv).op("div")

_ONE = 1  # the object that is the default of alpha; any other object is checked


def add(
    input: TensorLike,
    other: TensorLike,
    third: TensorLike | None = None,
    *,
    alpha: TensorLike = 1,
    out: Tensor | None = None,
) -> Tensor:
    """a + alpha b; ``add(a, alpha, b)`` is PyTorch's old form.

    Shapes broadcast; float32 and float64 give float64, a number takes the tensor's dtype. out: a Tensor of
    the result's shape that takes the result, off the tape. Raises ValueError if the shapes do not broadcast,
    RuntimeError if out or an operand requires a gradient.

    >>> import ranvier as rv
    >>> rv.add(rv.tensor([1.0, 2.0]), rv.tensor([[10.0], [20.0]]))
    tensor([[11., 12.],
            [21., 22.]])
    """
    if third is not None:
        alpha = other
        other = third
    if out is not None:
        return written("add", out, add(input, other, alpha=alpha))
    if alpha is not _ONE and number("add", "alpha", alpha) != 1:
        return _add_scaled(input, other, alpha)
    return _ADD(input, other)


def _scaled(op: Callable[..., Tensor], sign: int) -> Any:
    """The function of a + alpha b (sign 1) or a - alpha b (sign -1), for an alpha other than 1."""
    name = op.__name__

    def kernel(a: Array, b: Array, alpha: float) -> Array:
        return _core.addcmul(a, b, sign * alpha, 1.0)

    @by_kernel(kernel, floats=True, name=name)
    def scaled(a: TensorLike, b: TensorLike, alpha: Any) -> Tensor:
        """a +- alpha b, computed in the dtype of the result: if a is float32 and b int8, alpha b does not
        overflow int8."""
        if is_pair(a, b) and not getattr(alpha, "ndim", 0):
            return op(a, mul(b, alpha))
        return of_operands(as_operand(name, a), as_operand(name, b), alpha)

    @in_dtypes()
    def of_operands(a: Any, b: Any, alpha: Any) -> Tensor:
        dtype = result_dtype(a, b)
        if dtype.kind != "f" and isinstance(alpha, float):
            raise DtypeError(f"[{name}] got alpha {alpha} and operands of {dtype}; expected a whole alpha")
        a = with_dtype(a, dtype)
        b = with_dtype(b, dtype)
        if isinstance(b, Tensor):
            return op(a, mul(b, alpha))
        return op(a, b * alpha)

    return scaled


def sub(
    input: TensorLike,
    other: TensorLike,
    third: TensorLike | None = None,
    *,
    alpha: TensorLike = 1,
    out: Tensor | None = None,
) -> Tensor:
    """a - alpha b; see :func:`add`.

    >>> import ranvier as rv
    >>> 1 - rv.tensor([0.25, 3.0])
    tensor([ 0.7500, -2.0000])
    """
    if third is not None:
        alpha = other
        other = third
    if out is not None:
        return written("sub", out, sub(input, other, alpha=alpha))
    if alpha is not _ONE and number("sub", "alpha", alpha) != 1:
        return _sub_scaled(input, other, alpha)
    return _SUB(input, other)


_add_scaled = _scaled(add, 1)
_sub_scaled = _scaled(sub, -1)


_mul_op = Elementwise(_core.mul, numpy=np.multiply, node=Mul, with_number=MulNumber, of_number=MulNumber).op(
    "mul"
)


def mul(input: TensorLike, other: TensorLike, *, out: Tensor | None = None) -> Tensor:
    """a b, element by element; see :func:`add`.

    >>> import ranvier as rv
    >>> rv.tensor([1.0, 2.0]) * 2.5
    tensor([2.5000, 5.0000])
    """
    if out is not None:
        return written("mul", out, _mul_op(input, other))
    return _mul_op(input, other)


@differentiable_backward()
class RoundedDiv(Function):
    """y = a / b rounded to a whole number, downwards or towards 0: constant between its steps"""

    broadcasts = True

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def forward(self, a: Array, b: Array) -> Array:
        self.shapes = a.shape, b.shape
        if self.mode == "floor" and a.dtype.char in "fd":
            return _core.floor_divide(a, b, None)
        return np.asarray(host(_rounded_by_numpy, self.mode, a, b))

    def backward(self, dy: Value, f: Operations = KERNELS) -> Gradients:
        return f.zeros_of(self.shapes[0], dy), f.zeros_of(self.shapes[1], dy)


def _rounded_by_numpy(mode: str, a: Array, b: Array) -> Array:
    if a.dtype.kind != "f" and not np.all(b):
        raise OpError("[div] got an integer to divide by 0; expected other divisors, or floats")
    common_shape("div", a, b)
    with np.errstate(all="ignore"):
        return _ROUNDED[mode](a, b)


def _towards_zero(a: Array, b: Array) -> Array:
    """a / b rounded towards 0; exact for integers."""
    if np.result_type(a, b).kind == "f":
        return np.trunc(np.divide(a, b))
    floor = np.floor_divide(a, b)
    return floor + ((floor < 0) & (floor * b != a))


_ROUNDED: dict[str, Callable[[Array, Array], Array]] = {"floor": np.floor_divide, "trunc": _towards_zero}


def div(
    input: TensorLike, other: TensorLike, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """a / b; integers are divided in float32. x / 0 is inf or nan without a warning. See :func:`add`.

    rounding_mode 'floor' rounds downwards, 'trunc' towards 0; the gradient is then 0, and integers stay
    integers. Raises ValueError for another mode, and with a mode for an integer divided by 0.

    >>> import ranvier as rv
    >>> rv.tensor([1.0, -1.0, 0.0]) / 0
    tensor([inf, -inf, nan])
    """
    if out is not None:
        return written("div", out, div(input, other, rounding_mode=rounding_mode))
    if rounding_mode is not None:
        return _div(input, other, rounding_mode)
    return _DIV(input, other)


@own_error
def _div(a: TensorLike, b: TensorLike, mode: str) -> Tensor:
    """div with a rounding_mode."""
    one_of("div", "rounding_mode", mode, (None, "floor", "trunc"))
    dividend = as_operand("div", a)
    divisor = as_operand("div", b)
    if result_dtype(dividend, divisor).kind == "b":
        raise DtypeError(f"[div] got bools and rounding_mode {mode!r}; expected numbers: use x.int()")
    return _rounded_quotient(mode, dividend, divisor)


@in_dtypes()
def _rounded_quotient(mode: str, a: Tensor | Number, b: Tensor | Number) -> Tensor:
    dtype = result_dtype(a, b)
    if not isinstance(a, Tensor):
        a = as_number("div", a, dtype)
    if not isinstance(b, Tensor):
        b = as_number("div", b, dtype)
    return RoundedDiv(mode).apply(cast(a, dtype), cast(b, dtype))


def _neg_gradient(f: Operations, dy: Value) -> Value:
    return f.neg(dy)


_neg_op = Elementwise(
    _core.neg, gradient=_neg_gradient, numpy=np.negative, check_dtype=no_bools, backward_kernel="neg"
).op("neg")


def neg(input: TensorLike) -> Tensor:
    """-x; TypeError for bools.

    >>> import ranvier as rv
    >>> -rv.tensor([1.0, -2.0])
    tensor([-1.,  2.])
    """
    return _neg_op(input)


multiply = mul
divide = div
subtract = sub
negative = neg
