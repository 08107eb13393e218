"""Piecewise linear activations: y = f(x) element by element.

Every function takes a Tensor or array of any float dtype and shape, and returns a Tensor of the same
shape, dtype and memory order. Another dtype raises TypeError, except that relu, relu6 and hardtanh keep
integers. ``inplace=True`` changes x and returns it; RuntimeError if x is a leaf that requires gradients, as
in PyTorch.

The declarations (`Elementwise`, ops/elementwise/op.py) give the kernel and the gradient of each
function, and `@activation` (table.py) its properties. The names of a gradient's parameters decide what it is
called with: f, dy, the input x or the result y, or the inputs a and b; all other names are settings.

Ops in variables ``_<name>_op`` are called in place of their functions (tensors/spellings.py). Those named
``_<name>_unchecked`` are not, because their functions check the settings.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.activation.table import activation
from ranvier.ops.elementwise.dtypes import Array, as_tensor, common_shape, is_floating, is_number
from ranvier.ops.elementwise.op import DECLARATIONS, FLOATS_ONLY, Elementwise
from ranvier.ops.gradient_rules import diagonal, with_zero_slope
from ranvier.ops.layout import AtMaxima
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    RESULT,
    SECOND_INPUT,
    TENSORS,
    Operations,
    Value,
    differentiable_backward,
    formula_of,
)
from ranvier.tape.function import Dtypes, Function, TakesHalves
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


def _hardswish_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (f.hardsigmoid(x) + f.where(f.abs(x) < 3.0, x * (1 / 6), 0.0))


class Relu(TakesHalves):
    takes_deferred = True  # dy may be an AtMaxima (ops/layout.py), if a max-pool follows
    saves: ClassVar = {"y": RESULT}

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.y = _core.relu(x, out)
        return self.y

    def backward(self, dy: Value | AtMaxima, f: Operations = KERNELS) -> Value | AtMaxima:
        if isinstance(dy, AtMaxima):
            return dy.behind_relu(self.y)
        return f.relu_backward(dy, self.y)


diagonal(Relu, kinks=True)


@formula_of("relu_backward")
def _relu_backward(f: Operations, dy: Value, y: Value) -> Value:
    return f.where(y <= 0.0, 0.0, dy)


def _relu_of_integers(x: Tensor) -> Tensor:
    return x.clip(0)


_relu_declaration = Elementwise(_core.relu, dtypes=FLOATS_ONLY, of_integers=_relu_of_integers, node=Relu)
_relu_op = _relu_declaration.op("relu")


@activation("ReLU", limits=(math.inf, 0), kinks=(0.0,))
def relu(input: TensorLike, inplace: bool = False) -> Tensor:
    """max(x, 0); a NaN stays NaN. Its slope at 0 is 0.

    Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines" (2010).

    >>> import ranvier as rv
    >>> rv.relu(rv.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    if inplace is not False:
        return _relu_declaration.with_inplace(input, inplace)
    return _relu_op(input)


def _leaky_relu_gradient(f: Operations, dy: Value, x: Value, negative_slope: float) -> Value:
    return f.where(x > 0.0, dy, dy * negative_slope)


def _leaky_relu_same_slope(negative_slope: float) -> bool:
    return negative_slope > 0  # only then y has the sign of x, from which the slope follows


_leaky_relu_declaration = Elementwise(
    _core.leaky_relu,
    gradient=_leaky_relu_gradient,
    dtypes=FLOATS_ONLY,
    kinks=True,
    same_slope=_leaky_relu_same_slope,
)
_leaky_relu_op = _leaky_relu_declaration.op("leaky_relu")


@activation("LeakyReLU", limits=(math.inf, -math.inf), kinks=(0.0,))
def leaky_relu(input: TensorLike, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).

    >>> import ranvier as rv
    >>> rv.leaky_relu(rv.tensor([-2.0, 3.0]), 0.5)
    tensor([-1.,  3.])
    """
    if inplace is not False:
        return _leaky_relu_declaration.with_inplace(input, inplace, negative_slope)
    return _leaky_relu_op(input, negative_slope)


def _heaviside_of_arrays(x: Array, values: Array, out: Array | None) -> Array:
    """heaviside by kernels."""
    common_shape("heaviside", x, values)
    return _core.where(_core.eq(x, 0.0, None), values, _core.heaviside(x), out)


def _heaviside_gradient_b(f: Operations, dy: Value, a: Value) -> Value:
    return f.where(a == 0.0, dy, 0.0)


def _heaviside_by_numpy(x: Array, values: Array) -> Array:
    return np.where(np.equal(x, 0), values, np.greater(x, 0))


# Two ops of one name, between which heaviside chooses: for values in a tensor, and for one number.
_HEAVISIDE = Elementwise(
    _heaviside_of_arrays,
    (0, _heaviside_gradient_b),
    numpy=_heaviside_by_numpy,
    title="HeavisideOfTensors",
).op("heaviside")


def _heaviside_formula(x: Tensor, at_zero: float) -> Tensor:
    return TENSORS.where(x.eq(0.0), at_zero, (x > 0.0).to(x.dtype))


_WITH_NUMBER = Elementwise(
    _core.heaviside,
    formula=_heaviside_formula,
    dtypes=FLOATS_ONLY,
    kinks=True,
).op("heaviside")


def heaviside(input: TensorLike, values: TensorLike) -> Tensor:
    """1 where x > 0, values where x = 0, else 0 (also at NaN): the threshold of the first artificial neurons.

    values: a number, or a tensor that broadcasts with x. The gradient of x is 0; the gradient of values is dy
    where x = 0. dtypes and errors as in :func:`ranvier.add`.

    Source: McCulloch and Pitts, "A Logical Calculus of the Ideas Immanent in Nervous Activity" (1943).

    >>> import ranvier as rv
    >>> rv.heaviside(rv.tensor([-1.0, 0.0, 2.35]), 0.5)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if is_number(values) and is_floating(input):
        return _WITH_NUMBER(input, float(values))
    return _HEAVISIDE(input, values)


def _check_limits(min_val: float, max_val: float) -> None:
    if type(min_val) is not float or type(max_val) is not float:
        number("hardtanh", "min_val", min_val)
        number("hardtanh", "max_val", max_val)
    if not min_val <= max_val:
        raise OpError(f"[hardtanh] got min_val={min_val} and max_val={max_val}; expected min_val <= max_val")


def _hardtanh_gradient(f: Operations, dy: Value, x: Value, min_val: float, max_val: float) -> Value:
    return f.where(x <= min_val, 0.0, f.where(x >= max_val, 0.0, dy))


def _hardtanh_of_integers(x: Tensor, min_val: float, max_val: float) -> Tensor:
    return x.clip(int(min_val), int(max_val))


def _hardtanh_same_slope(min_val: float, max_val: float) -> bool:
    return True  # y is at or beyond a limit exactly where x is, so hardtanh_ needs no copy of x


def _hardtanh_kinks(min_val: float = -1.0, max_val: float = 1.0) -> tuple[float, float]:
    return min_val, max_val


_hardtanh_declaration = Elementwise(
    _core.hardtanh,
    gradient=_hardtanh_gradient,
    dtypes=FLOATS_ONLY,
    of_integers=_hardtanh_of_integers,
    kinks=True,
    same_slope=_hardtanh_same_slope,
)
_hardtanh_unchecked = _hardtanh_declaration.op("hardtanh")


@activation("Hardtanh", limits=(1, -1), kinks=_hardtanh_kinks)
def hardtanh(input: TensorLike, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; its slope at and beyond the limits is 0.

    Integers stay integers, and the limits lose their fractions. Raises ValueError unless min_val <= max_val.

    >>> import ranvier as rv
    >>> rv.hardtanh(rv.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    _check_limits(min_val, max_val)
    if inplace is not False:
        return _hardtanh_declaration.with_inplace(input, inplace, min_val, max_val)
    return _hardtanh_unchecked(input, min_val, max_val)


def _relu6_kernel(x: Array, out: Array | None) -> Array:
    return _core.hardtanh(x, 0.0, 6.0, out)


def _relu6_of_integers(x: Tensor) -> Tensor:
    return x.clip(0, 6)


def _relu6_node() -> Function:
    return DECLARATIONS["hardtanh"].node(0.0, 6.0)


_relu6_declaration = Elementwise(
    _relu6_kernel,
    dtypes=FLOATS_ONLY,
    of_integers=_relu6_of_integers,
    node=_relu6_node,
)
_relu6_op = _relu6_declaration.op("relu6")


@activation("ReLU6", limits=(6, 0), kinks=(0.0, 6.0))
def relu6(input: TensorLike, inplace: bool = False) -> Tensor:
    """x limited to [0, 6].

    >>> import ranvier as rv
    >>> rv.relu6(rv.tensor([-3.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """
    if inplace is not False:
        return _relu6_declaration.with_inplace(input, inplace)
    return _relu6_op(input)


def _hardsigmoid_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return f.where(f.abs(x) < 3.0, dy * (1 / 6), 0.0)


_hardsigmoid_declaration = Elementwise(
    _core.hardsigmoid, gradient=_hardsigmoid_gradient, dtypes=FLOATS_ONLY, kinks=True
)
_hardsigmoid_op = _hardsigmoid_declaration.op("hardsigmoid")


@activation("Hardsigmoid", limits=(1, 0), kinks=(-3.0, 3.0))
def hardsigmoid(input: TensorLike, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2 limited to [0, 1]: a sigmoid of three straight lines.

    Source: Courbariaux, Bengio and David, "BinaryConnect" (2015), with the slope of Howard et al. (2019).

    >>> import ranvier as rv
    >>> rv.nn.functional.hardsigmoid(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    if inplace is not False:
        return _hardsigmoid_declaration.with_inplace(input, inplace)
    return _hardsigmoid_op(input)


def _hardswish_formula(x: Tensor) -> Tensor:
    return x * hardsigmoid(x)


_hardswish_declaration = Elementwise(
    _core.hardswish, gradient=_hardswish_gradient, dtypes=FLOATS_ONLY, formula=_hardswish_formula
)
_hardswish_op = _hardswish_declaration.op("hardswish")


@activation("Hardswish", limits=(math.inf, 0), kinks=(-3.0, 3.0), inner=1.0)
def hardswish(input: TensorLike, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x): 0 up to -3, x from 3 on.

    Source: Howard et al., "Searching for MobileNetV3" (2019).

    >>> import ranvier as rv
    >>> rv.nn.functional.hardswish(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0., 0., 4.])
    """
    if inplace is not False:
        return _hardswish_declaration.with_inplace(input, inplace)
    return _hardswish_op(input)


def _shrink_kinks(lambd: float = 0.5) -> tuple[float, float]:
    return -lambd, lambd


def _softshrink_formula(x: Tensor, lambd: float) -> Tensor:
    return x - x.clip(-lambd, lambd)


_softshrink_unchecked = Elementwise(
    _core.softshrink,
    dtypes=FLOATS_ONLY,
    formula=_softshrink_formula,
).op("softshrink")


@activation("Softshrink", limits=(math.inf, -math.inf), kinks=_shrink_kinks)
def softshrink(input: TensorLike, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd: 0 where |x| <= lambd. Raises ValueError unless lambd >= 0.

    Source: Donoho, "De-noising by Soft-Thresholding" (1995).

    >>> import ranvier as rv
    >>> rv.nn.functional.softshrink(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """
    number("softshrink", "lambd", lambd, low=0)
    return _softshrink_unchecked(input, lambd)


def _hardshrink_gradient(f: Operations, dy: Value, x: Value, lambd: float) -> Value:
    return f.where(f.abs(x) <= lambd, 0.0, dy)


_hardshrink_op = Elementwise(
    _core.hardshrink, gradient=_hardshrink_gradient, dtypes=FLOATS_ONLY, kinks=True
).op("hardshrink")


@activation("Hardshrink", limits=(math.inf, -math.inf), kinks=_shrink_kinks)
def hardshrink(input: TensorLike, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0.

    Source: Donoho and Johnstone, "Ideal Spatial Adaptation by Wavelet Shrinkage" (1994).

    >>> import ranvier as rv
    >>> rv.nn.functional.hardshrink(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """
    return _hardshrink_op(input, lambd)


@differentiable_backward(x=FIRST_INPUT, weight=SECOND_INPUT)
class Prelu(Function):
    """y = x where x > 0, else weight x; weight has one slope, or a slope for each index of dimension 1 of
    x"""

    # half floats are computed in float32; in a block of autocast all inputs become its half float
    dtypes = Dtypes(autocast="lower")

    def through_view(self, place: int) -> bool:
        return True  # see Function: PyTorch saves a view of the weight

    def forward(self, x: Array, weight: Array) -> Array:
        self.x = x
        self.weight = weight
        self.shape: tuple[int, ...] = ()
        if weight.size != 1:
            self.shape = (weight.size, *(1,) * (x.ndim - 2))
        return _core.prelu(x, weight.reshape(self.shape))

    def backward(self, dy: Value, f: Operations = KERNELS) -> tuple[Value | None, Value | None]:
        dx = None
        dw = None
        if self.needs[0]:
            dx = f.prelu_backward(dy, self.x, self.weight.reshape(self.shape))
        if self.needs[1]:
            dw = f.sum_to(f.prelu_weight_backward(dy, self.x), self.shape)
            dw = f.reshape(dw, self.weight.shape)
        return dx, dw


def _prelu_backward(dy: Tensor, x: Tensor, slopes: Tensor) -> Tensor:
    return with_zero_slope(TENSORS.where(wrap(x._array) > 0.0, dy, dy * slopes), x)


def _prelu_weight_backward(dy: Tensor, x: Tensor) -> Tensor:
    return TENSORS.where(wrap(x._array) > 0.0, 0.0, dy * x)


TENSORS.prelu_backward = _prelu_backward
TENSORS.prelu_weight_backward = _prelu_weight_backward


def prelu(input: TensorLike, weight: TensorLike) -> Tensor:
    """x where x > 0, else weight * x, with a slope that is learned.

    weight: one slope for all of x, or one for each channel of x (N, C, ...): shape (1,) or (C,). Raises
    ValueError for another shape, TypeError for a number and where the dtypes differ.

    Source: He et al., "Delving Deep into Rectifiers" (2015).

    >>> import ranvier as rv
    >>> rv.nn.functional.prelu(rv.tensor([[-2.0, -2.0, 3.0]]), rv.tensor([0.5, 0.25, 0.0]))
    tensor([[-1.0000, -0.5000,  3.0000]])
    """
    if isinstance(weight, (int, float)):
        raise TypeError(f"[prelu] got weight {weight}; expected a Tensor: leaky_relu takes a number")
    input = as_tensor("prelu", input)
    weight = as_tensor("prelu", weight)
    shape = input._array.shape
    slopes = weight._array
    fits = slopes.size == 1 or (len(shape) > 1 and slopes.size == shape[1])
    if slopes.ndim > 1 or not fits:
        raise OpError(
            f"[prelu] got weight of shape {slopes.shape} for x of shape {shape}; "
            "expected one slope, or one for each channel (dimension 1)"
        )
    return Prelu().apply(input, weight)
