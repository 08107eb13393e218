"""Activations with an exponential: y = f(x) element by element.

Every function takes a Tensor or array of any float dtype and shape, and returns a Tensor of the same shape,
dtype and memory order. Integers and bools raise TypeError, except that sigmoid, tanh, softsign and tanhshrink
compute them in floats of the default dtype. ``inplace=True`` changes x and returns it; RuntimeError if x is a
leaf that requires gradients, as in PyTorch.

The declarations (`Elementwise`, ops/elementwise/op.py) give the kernel and the gradient of each
function, and `@activation` (table.py) its properties. The names of a gradient's parameters decide what it is
called with: f, dy, the input x or the result y; all other names are settings. Without a gradient the core's
kernel <name>_backward computes first derivatives, and those of higher order follow from the formula.

An op in a variable ``_<name>_op`` is called in place of its function (tensors/spellings.py), so the function
must only pass its arguments on, but for inplace. Ops whose functions do more have other names, such as
`_celu_unchecked`.
"""

from __future__ import annotations

import math

import ranvier._core as _core
from ranvier.ops.activation.table import activation
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.elementwise.op import FLOATS_ONLY, Elementwise
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.namespaces import TENSORS, Operations, Value
from ranvier.tape.function import Dtypes, Function
from ranvier.tensors.errors import number, whole
from ranvier.tensors.failures import OpError, OpIndexError
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
_ROOT = math.sqrt(2 / math.pi)


# --- gradients that are longer than one expression


def _below(f: Operations, x: Value) -> Value:
    """x where it is negative or NaN, else 0. Used in exp(x) where only negative x count: exp of a large x,
    whose result is not used, would overflow."""
    return f.where(x >= 0.0, 0.0, x)


def _finite(f: Operations, x: Value) -> Value:
    """x, but 0 where x is infinite: in a product with a factor that is 0 there, so that the product is 0, not
    NaN."""
    return f.where(f.abs(x) == math.inf, 0.0, x)


def _gelu_tanh_gradient(f: Operations, dy: Value, x: Value) -> Value:
    x = f.clip(x, -1e3, 1e3)  # Beyond these limits the slope is 0 or 1, and x^3 could overflow.
    t = f.tanh((x + x * x * x * 0.044715) * _ROOT)
    return dy * (t + 1.0 + x * (1.0 - t * t) * (x * x * (3 * 0.044715) + 1.0) * _ROOT) * 0.5


def _gelu_slope_gradient(f: Operations, dy: Value, x: Value) -> Value:
    x = f.clip(x, -1e3, 1e3)  # Beyond these limits the slope of gelu is constant: 0 or 1.
    return dy * f.exp(x * x * -0.5) * (2.0 - x * x) * (1 / math.sqrt(2 * math.pi))


def _silu_gradient(f: Operations, dy: Value, x: Value) -> Value:
    s = f.sigmoid(x)
    return dy * s * (_finite(f, x) * (1.0 - s) + 1.0)


def _mish_gradient(f: Operations, dy: Value, x: Value) -> Value:
    t = f.tanh(f.softplus(x))
    return dy * (t + _finite(f, x) * (1.0 - t * t) * f.sigmoid(x))


def _softsign_gradient(f: Operations, dy: Value, x: Value) -> Value:
    root = f.abs(x) + 1.0
    return dy / (root * root)


# The derivative of gelu as an op: P(Z <= x) + x p(x) for a standard normal Z with density p. It is in TENSORS
# alone: on arrays the kernel gelu_backward takes the place of `_gelu_gradient`, which calls it.
def _gelu_slope_kernel(x: Array, out: Array | None) -> Array:
    return _core.gelu_backward(filled_like(1, x), x, out)


TENSORS.gelu_slope = Elementwise(_gelu_slope_kernel, _gelu_slope_gradient).op("gelu_slope")


def _elu_gradient(f: Operations, dy: Value, x: Value, alpha: float) -> Value:
    return dy * f.where(x > 0.0, 1.0, f.exp(_below(f, x)) * alpha)


_elu_declaration = Elementwise(_core.elu, gradient=_elu_gradient, dtypes=FLOATS_ONLY)
_elu_op = _elu_declaration.op("elu")


@activation("ELU", limits=(math.inf, -1), kinks=(0.0,))
def elu(input: TensorLike, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
    Linear Units" (2015).

    >>> import ranvier as rv
    >>> rv.elu(rv.tensor([0.0, 3.0]))
    tensor([0., 3.])
    """
    if inplace is not False:
        return _elu_declaration.with_inplace(input, inplace, alpha)
    return _elu_op(input, alpha)


def _sigmoid_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return dy * y * (1.0 - y)


_sigmoid_op = Elementwise(_core.sigmoid, gradient=_sigmoid_gradient).op("sigmoid")


@activation("Sigmoid", limits=(1, 0), inner=1.0)
def sigmoid(input: TensorLike) -> Tensor:
    """1 / (1 + exp(-x)), within 2 ulp for every float32.

    >>> import ranvier as rv
    >>> rv.nn.functional.sigmoid(rv.tensor([0.0, 100.0]))
    tensor([0.5000, 1.0000])
    """
    return _sigmoid_op(input)


_softsign_op = Elementwise(_core.softsign, gradient=_softsign_gradient).op("softsign")


@activation("Softsign", limits=(1, -1))
def softsign(input: TensorLike) -> Tensor:
    """x / (1 + |x|).

    Source: Turian, Bergstra and Bengio, "Quadratic Features and Deep Architectures for Chunking" (2009).

    >>> import ranvier as rv
    >>> rv.nn.functional.softsign(rv.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """
    return _softsign_op(input)


def _tanh_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return dy * (1.0 - f.square(y))


_tanh_op = Elementwise(_core.tanh, gradient=_tanh_gradient).op("tanh")


@activation("Tanh", limits=(1, -1), inner=1.0)
def tanh(input: TensorLike) -> Tensor:
    """The hyperbolic tangent, within 2 ulp for every float32.

    >>> import ranvier as rv
    >>> rv.nn.functional.tanh(rv.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    return _tanh_op(input)


def _tanhshrink_formula(x: Tensor) -> Tensor:
    return x - tanh(x)


_tanhshrink_op = Elementwise(_core.tanhshrink, formula=_tanhshrink_formula).op("tanhshrink")


@activation("Tanhshrink", limits=(math.inf, -math.inf), inner=1.0)
def tanhshrink(input: TensorLike) -> Tensor:
    """x - tanh(x).

    >>> import ranvier as rv
    >>> rv.nn.functional.tanhshrink(rv.tensor([0.0, 100.0]))
    tensor([ 0., 99.])
    """
    return _tanhshrink_op(input)


def _gelu_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.gelu_slope(x)


def _gelu_formula(x: Tensor) -> Tensor:
    return x * ((x * math.sqrt(0.5)).erf() + 1.0) * 0.5


# The op takes x alone, not `approximate`. tensors/spellings.py has its name in a table, with its one operand.
_GELU = Elementwise(
    _core.gelu,
    gradient=_gelu_gradient,
    dtypes=FLOATS_ONLY,
    formula=_gelu_formula,
).op("gelu")


def _gelu_tanh_formula(x: Tensor) -> Tensor:
    return x * sigmoid((x + x * x * x * 0.044715) * (2 * _ROOT))


_GELU_TANH = Elementwise(
    _core.gelu_tanh,
    gradient=_gelu_tanh_gradient,
    dtypes=FLOATS_ONLY,
    formula=_gelu_tanh_formula,
).op("gelu_tanh")


@activation("GELU", limits=(math.inf, 0), inner=1.0)
def gelu(input: TensorLike, approximate: str = "none") -> Tensor:
    """x * P(Z <= x) for a standard normal Z: 0.5 x (1 + erf(x / sqrt(2))).

    ``approximate="tanh"``: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Another value
    raises ValueError.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).

    >>> import ranvier as rv
    >>> rv.gelu(rv.tensor([-100.0, 0.0, 100.0]))
    tensor([ -0.,   0., 100.])
    """
    if isinstance(approximate, str):
        if approximate == "none":
            return _GELU(input)
        if approximate == "tanh":
            return _GELU_TANH(input)
    raise OpError(f"[gelu] got approximate={approximate!r}; expected 'none' or 'tanh'")


def _silu_formula(x: Tensor) -> Tensor:
    return x * sigmoid(x)


_silu_declaration = Elementwise(
    _core.silu, gradient=_silu_gradient, dtypes=FLOATS_ONLY, formula=_silu_formula
)
_silu_op = _silu_declaration.op("silu")


@activation("SiLU", limits=(math.inf, 0), inner=0.22)
def silu(input: TensorLike, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units" (2017).

    >>> import ranvier as rv
    >>> rv.silu(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """
    if inplace is not False:
        return _silu_declaration.with_inplace(input, inplace)
    return _silu_op(input)


def _softplus_gradient(f: Operations, dy: Value, x: Value, beta: float, threshold: float) -> Value:
    z = x * beta
    # The slope is sigmoid(z). For z > 0 it is written as 1 - sigmoid(-z), so that its derivatives, which are
    # small there, lose no digits by cancellation.
    slope = f.where(z > 0.0, 1.0 - f.sigmoid(-z), f.sigmoid(z))
    return dy * f.where(z > threshold, 1.0, slope)


def _softplus_kinks(beta: float = 1.0, threshold: float = 20.0) -> tuple[float]:
    return (threshold / beta,)


_softplus_op = Elementwise(_core.softplus, gradient=_softplus_gradient, dtypes=FLOATS_ONLY).op("softplus")


@activation("Softplus", limits=(math.inf, 0), kinks=_softplus_kinks)
def softplus(input: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, a smooth relu; x itself where beta x > threshold.

    Source: Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing" (2000).

    >>> import ranvier as rv
    >>> rv.softplus(rv.tensor([-200.0, 0.0, 200.0]))
    tensor([  0.0000,   0.6931, 200.0000])
    """
    return _softplus_op(input, beta, threshold)


def _selu_formula(x: Tensor) -> Tensor:
    return elu(x, SELU_ALPHA) * SELU_SCALE


_selu_declaration = Elementwise(_core.selu, dtypes=FLOATS_ONLY, formula=_selu_formula)
_selu_op = _selu_declaration.op("selu")


@activation("SELU", limits=(math.inf, -SELU_SCALE * SELU_ALPHA), kinks=(0.0,))
def selu(input: TensorLike, inplace: bool = False) -> Tensor:
    """1.0507 x where x > 0, else 1.0507 * 1.6733 (exp(x) - 1): keeps a layer's mean 0 and variance 1.

    Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).

    >>> import ranvier as rv
    >>> rv.nn.functional.selu(rv.tensor([-100.0, 0.0, 1.0]))
    tensor([-1.7581,  0.0000,  1.0507])
    """
    if inplace is not False:
        return _selu_declaration.with_inplace(input, inplace)
    return _selu_op(input)


def _check_alpha(alpha: float) -> None:
    if number("celu", "alpha", alpha) == 0:
        raise OpError("[celu] got alpha 0; expected another number")


def _celu_gradient(f: Operations, dy: Value, x: Value, alpha: float) -> Value:
    return dy * f.where(x > 0.0, 1.0, f.exp(_below(f, x) * (1 / alpha)))


_celu_declaration = Elementwise(
    _core.celu,
    gradient=_celu_gradient,
    dtypes=FLOATS_ONLY,
)
# Not `_celu_op`: the public name would call an op of this name itself (`_op_of` in tensors/spellings.py),
# but calls have to go through celu, which checks alpha.
_celu_unchecked = _celu_declaration.op("celu")


@activation("CELU", limits=(math.inf, -1))
def celu(input: TensorLike, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (exp(x / alpha) - 1). Raises ValueError for alpha 0.

    Source: Barron, "Continuously Differentiable Exponential Linear Units" (2017).

    >>> import ranvier as rv
    >>> rv.nn.functional.celu(rv.tensor([-100.0, 0.0, 3.0]), 2.0)
    tensor([-2.,  0.,  3.])
    """
    _check_alpha(alpha)
    if inplace is not False:
        return _celu_declaration.with_inplace(input, inplace, alpha)
    return _celu_unchecked(input, alpha)


def _mish_formula(x: Tensor) -> Tensor:
    return x * tanh(softplus(x))


_mish_declaration = Elementwise(
    _core.mish, gradient=_mish_gradient, dtypes=FLOATS_ONLY, formula=_mish_formula
)
_mish_op = _mish_declaration.op("mish")


@activation("Mish", limits=(math.inf, 0), inner=0.3)
def mish(input: TensorLike, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)).

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function" (2019).

    >>> import ranvier as rv
    >>> rv.nn.functional.mish(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """
    if inplace is not False:
        return _mish_declaration.with_inplace(input, inplace)
    return _mish_op(input)


def _logsigmoid_formula(x: Tensor) -> Tensor:
    return -softplus(-x, 1.0, math.inf)


_logsigmoid_op = Elementwise(_core.logsigmoid, dtypes=FLOATS_ONLY, formula=_logsigmoid_formula).op(
    "logsigmoid"
)


@activation("LogSigmoid", limits=(0, -math.inf))
def logsigmoid(input: TensorLike) -> Tensor:
    """log(1 / (1 + exp(-x))), accurate also where the sigmoid is 0 or 1.

    >>> import ranvier as rv
    >>> rv.nn.functional.logsigmoid(rv.tensor([-100.0, 0.0]))
    tensor([-100.0000,   -0.6931])
    """
    return _logsigmoid_op(input)


class Glu(Function):
    """y = a sigmoid(b) for the halves a and b of x along an axis"""

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        half = x.shape[self.axis] // 2
        before = (slice(None),) * (self.axis % x.ndim)  # glu has checked axis, and that its length is even
        first = (*before, slice(half))
        second = (*before, slice(half, None))
        self.x = x
        self.a = x[first]
        self.b = x[second]
        return _core.glu(self.a, self.b)

    def backward(self, dy: Array) -> Array:
        da = _core.glu(dy, self.b)
        db = _core.glu_backward(dy, self.a, self.b)
        return _core.concatenate([da, db], self.axis)

    def formula(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, self.axis)
        return a * sigmoid(b)


recomputed("x", kinds=(Glu,))(Glu.formula)


def glu(input: TensorLike, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the first and the second half of x along dim: a gate on a line.

    The result is half as long along dim. Raises ValueError where x has no such dimension or its length is
    odd.

    Source: Dauphin et al., "Language Modeling with Gated Convolutional Networks" (2017).

    >>> import ranvier as rv
    >>> rv.nn.functional.glu(rv.tensor([6.0, 8.0, 0.0, 100.0]))
    tensor([3., 8.])
    """
    input = as_tensor("glu", input)
    shape = input._array.shape
    dim = whole("glu", "dim", dim)
    if not -len(shape) <= dim < len(shape):
        raise OpIndexError(f"[glu] got dim {dim} for x of shape {shape}; expected one of its dimensions")
    if shape[dim] % 2:
        raise OpError(
            f"[glu] got x of shape {shape} with dimension {dim} of {shape[dim]}; expected an even number"
        )
    return Glu(dim).apply(input)
