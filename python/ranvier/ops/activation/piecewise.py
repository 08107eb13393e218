"""Piecewise linear activations: y = f(x) element by element.

Every function takes a Tensor or array of any float dtype and shape, and returns a Tensor of the same
shape, dtype and memory order. Another dtype raises TypeError, except that relu, relu6 and hardtanh keep
integers. ``inplace=True`` changes x and returns it; RuntimeError if x is a leaf that requires gradients, as
in PyTorch.

The declarations (`@elementwise`, ops/elementwise/row.py) give the kernel and the gradient of each function,
and `@activation` (table.py) its properties.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.activation.table import activation
from ranvier.ops.elementwise.choice import clip, where
from ranvier.ops.elementwise.dtypes import Array, as_tensor, common_shape, is_floating, is_number
from ranvier.ops.elementwise.row import REFUSED, ROWS, elementwise
from ranvier.ops.gradient_rules import diagonal, with_zero_slope
from ranvier.ops.layout import AtMaxima
from ranvier.ops.namespaces import KERNELS, RESULT, TENSORS, Operations, Value, formula_of, written_once
from ranvier.tape.function import Dtypes, Function, TakesHalves
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor, wrap


def _hardswish_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (f.hardsigmoid(x) + f.where(f.abs(x) < 3.0, x * (1 / 6), 0.0))


class Relu(TakesHalves):
    takes_deferred = True
    saves: ClassVar = {"y": RESULT}

    def forward(self, x: Any, out: Any = None) -> Any:
        self.y = _core.relu(x, out)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        if isinstance(dy, AtMaxima):
            return dy.behind_relu(self.y)
        return f.relu_backward(dy, self.y)


diagonal(Relu, kinks=True)
formula_of("relu_backward")(lambda f, dy, y: f.where(y <= 0.0, 0.0, dy))


@activation("ReLU", limits=(math.inf, 0), kinks=(0.0,))
@elementwise(_core.relu, dtypes=REFUSED, of_integers=lambda x: clip(x, 0), node=Relu)
def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0); a NaN stays NaN. Its slope at 0 is 0.

    Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines" (2010).

    >>> import ranvier as rv
    >>> rv.relu(rv.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """


@activation("LeakyReLU", limits=(math.inf, -math.inf), kinks=(0.0,))
@elementwise(
    _core.leaky_relu,
    lambda f, dy, x, negative_slope: f.where(x > 0.0, dy, dy * negative_slope),
    dtypes=REFUSED,
    kinks=True,
    same_slope=lambda negative_slope: negative_slope > 0,
)
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).

    >>> import ranvier as rv
    >>> rv.leaky_relu(rv.tensor([-2.0, 3.0]), 0.5)
    tensor([-1.,  3.])
    """


def _of_tensors(x: Any, values: Any, out: Any) -> Any:
    """heaviside of arrays, by kernels."""
    common_shape("heaviside", x, values)
    return _core.where(_core.eq(x, 0.0, None), values, _core.heaviside(x), out)


_HEAVISIDE = elementwise(
    _of_tensors,
    (0, lambda f, dy, a: f.where(a == 0.0, dy, 0.0)),
    numpy=lambda x, values: np.where(np.equal(x, 0), values, np.greater(x, 0)),
    title="HeavisideOfTensors",
).op("heaviside")
_WITH_NUMBER = elementwise(
    _core.heaviside,
    formula=lambda x, at_zero: where(x.eq(0.0), at_zero, (x > 0.0).to(x.dtype)),
    dtypes=REFUSED,
    kinks=True,
).op("heaviside")


def heaviside(input: Any, values: Any) -> Tensor:
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


def _in_order(min_val: Any, max_val: Any) -> None:
    if type(min_val) is not float or type(max_val) is not float:
        number("hardtanh", "min_val", min_val), number("hardtanh", "max_val", max_val)
    if not min_val <= max_val:
        raise OpError(f"[hardtanh] got min_val={min_val} and max_val={max_val}; expected min_val <= max_val")


@activation("Hardtanh", limits=(1, -1), kinks=lambda min_val=-1.0, max_val=1.0: (min_val, max_val))
@elementwise(
    _core.hardtanh,
    lambda f, dy, x, min_val, max_val: f.where(x <= min_val, 0.0, f.where(x >= max_val, 0.0, dy)),
    dtypes=REFUSED,
    of_integers=lambda x, min_val, max_val: clip(x, int(min_val), int(max_val)),
    check_settings=_in_order,
    kinks=True,
    same_slope=lambda min_val, max_val: True,
)
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; its slope at and beyond the limits is 0.

    Integers stay integers, and the limits lose their fractions. Raises ValueError unless min_val <= max_val.

    >>> import ranvier as rv
    >>> rv.hardtanh(rv.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """


@activation("ReLU6", limits=(6, 0), kinks=(0.0, 6.0))
@elementwise(
    lambda x, out: _core.hardtanh(x, 0.0, 6.0, out),
    dtypes=REFUSED,
    of_integers=lambda x: clip(x, 0, 6),
    node=lambda: ROWS["hardtanh"].node(0.0, 6.0),
)
def relu6(input: Any, inplace: bool = False) -> Tensor:
    """x limited to [0, 6].

    >>> import ranvier as rv
    >>> rv.relu6(rv.tensor([-3.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """


@activation("Hardsigmoid", limits=(1, 0), kinks=(-3.0, 3.0))
@elementwise(
    _core.hardsigmoid, lambda f, dy, x: f.where(f.abs(x) < 3.0, dy * (1 / 6), 0.0), dtypes=REFUSED, kinks=True
)
def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2 limited to [0, 1]: a sigmoid of three straight lines.

    Source: Courbariaux, Bengio and David, "BinaryConnect" (2015), with the slope of Howard et al. (2019).

    >>> import ranvier as rv
    >>> rv.nn.functional.hardsigmoid(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """


@activation("Hardswish", limits=(math.inf, 0), kinks=(-3.0, 3.0), inner=1.0)
@elementwise(_core.hardswish, _hardswish_gradient, dtypes=REFUSED, formula=lambda x: x * hardsigmoid(x))
def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x): 0 up to -3, x from 3 on.

    Source: Howard et al., "Searching for MobileNetV3" (2019).

    >>> import ranvier as rv
    >>> rv.nn.functional.hardswish(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0., 0., 4.])
    """


@activation("Softshrink", limits=(math.inf, -math.inf), kinks=lambda lambd=0.5: (-lambd, lambd))
@elementwise(
    _core.softshrink,
    dtypes=REFUSED,
    check_settings=partial(number, "softshrink", "lambd", low=0),
    formula=lambda x, lambd: x - clip(x, -lambd, lambd),
)
def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd: 0 where |x| <= lambd. Raises ValueError unless lambd >= 0.

    Source: Donoho, "De-noising by Soft-Thresholding" (1995).

    >>> import ranvier as rv
    >>> rv.nn.functional.softshrink(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """


@activation("Hardshrink", limits=(math.inf, -math.inf), kinks=lambda lambd=0.5: (-lambd, lambd))
@elementwise(
    _core.hardshrink, lambda f, dy, x, lambd: f.where(f.abs(x) <= lambd, 0.0, dy), dtypes=REFUSED, kinks=True
)
def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0.

    Source: Donoho and Johnstone, "Ideal Spatial Adaptation by Wavelet Shrinkage" (1994).

    >>> import ranvier as rv
    >>> rv.nn.functional.hardshrink(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """


@written_once(x=0, weight=1)
class Prelu(Function):
    """y = x where x > 0, else weight x; weight has one slope, or a slope for each index of dimension 1 of
    x"""

    dtypes = Dtypes(autocast="lower")

    def through_view(self, place: int) -> bool:
        return True

    def forward(self, x: Array, weight: Array) -> Array:
        self.x = x
        self.weight = weight
        if weight.size != 1:
            self.shape = (weight.size, *(1,) * (x.ndim - 2))
        else:
            self.shape = ()
        return _core.prelu(x, weight.reshape(self.shape))

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        dx = None
        dw = None
        if self.needs[0]:
            dx = f.prelu_backward(dy, self.x, self.weight.reshape(self.shape))
        if self.needs[1]:
            dw = f.sum_to(f.prelu_weight_backward(dy, self.x), self.shape)
            dw = f.reshape(dw, self.weight.shape)
        return dx, dw


def _prelu_backward(dy: Tensor, x: Tensor, slopes: Tensor) -> Tensor:
    return with_zero_slope(where(wrap(x._array) > 0.0, dy, dy * slopes), x)


TENSORS.prelu_backward = _prelu_backward
TENSORS.prelu_weight_backward = lambda dy, x: where(wrap(x._array) > 0.0, 0.0, dy * x)


def prelu(input: Any, weight: Any) -> Tensor:
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
