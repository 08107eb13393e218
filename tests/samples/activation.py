"""Samples of `ops/activation`: functions of each element, and along a dimension.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np
from ranvier import nn
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE
from reference import activation, softmax

from samples.sample import at_kink, call, fixed, op, refused

EDGES = np.array([0.0, -0.0, 60.0, -60.0])
NOT_FINITE = np.array([np.inf, -np.inf, np.nan])
LIMIT = "where the formula is NaN the op has the limit"


def by_element(settings):
    """Samples with one operand and these settings."""

    def samples(x):
        yield call(x(3, x.n, low=-4, high=4), *settings)
        yield call(x(*x.shape(), low=-9, high=9), *settings)
        yield call(x(), *settings)
        yield call(x(0, 3), *settings)
        yield call(EDGES, *settings)
        yield call(NOT_FINITE, *settings).without(LIMIT, "reference")
        yield refused(TypeError, "got", "text")

    return samples


def layers_by_element(kind, all_settings):
    def samples(x):
        yield call(kind(), x(3, x.n, low=-4, high=4))
        for settings in all_settings:
            yield call(kind(*settings), x(2, 5, low=-4, high=4))

    return samples


OTHERS_LIMITS = {"lacks": "limits", "apart": "infinity infinities limits"}
KNOWN = {
    "softsign": OTHERS_LIMITS,
    "gelu": OTHERS_LIMITS,
    "silu": OTHERS_LIMITS,
    "mish": OTHERS_LIMITS,
    "hardswish": {"lacks": "limits", "apart": "NaN limits"},
    "hardshrink": {"lacks": "limits", "apart": "NaN"},
}
KNOWN["hardsigmoid"] = {"apart": "gradient"}
KNOWN |= {name: {"apart": "NaN"} for name in ("hardtanh", "relu6", "softshrink", "elu", "selu", "celu")}

for _name, _row in TABLE.items():
    _settings = activation.SETTINGS.get(_name, [()])  # also those that are no defaults
    _known = {
        "kinks": {0.0, *_row.kinks(), *(kink for own in _settings for kink in _row.kinks(*own))},
        "inner": max(_row.inner, 0.1),
    }
    if _name in ("relu", "sigmoid", "tanh"):
        _known["lacks"] = "written"
    _own = {**_known, **KNOWN.get(_name, {})}
    op(by_element(_settings[0]), names=_name, reference=getattr(activation, _name), **_own)
    op(layers_by_element(getattr(nn, _row.layer), _settings), names=_row.layer, **_known)


@op(
    of="nn.functional.gelu",
    inner=1.0,
    reference=lambda x, approximate: activation.gelu_tanh(x),
    lacks="limits",
    apart="infinity infinities limits",
)
def gelu_tanh(x):
    yield call(x(3, 7, low=-4, high=4), approximate="tanh")
    yield call(x(), approximate="tanh")
    yield call(EDGES, approximate="tanh")
    yield call(NOT_FINITE, approximate="tanh").without(LIMIT, "reference")
    yield refused(ValueError, "[gelu] got", x(3), approximate="erf")


@op(of=lambda layer, x: layer(x), inner=1.0)
def GELU_tanh(x):
    yield call(nn.GELU("tanh"), x(4, 6))


@op(of=lambda layer, x: layer(x))
def ReLU_in_place(x):
    yield call(nn.ReLU(inplace=True), fixed(x(4, 6)))


BESIDE_PYTORCH = ("pytorch", "ties", "beside_nan", "beside_infinity")


@op(kinks=(0.0,), reference=np.heaviside, lacks="jet limits", apart="gradient")
def heaviside(x):
    yield call(x(3, 7), np.array(0.5))
    yield call(np.array([-1.0, -0.0, 0.0, 2.0]), 0.5).without("PyTorch takes a tensor", *BESIDE_PYTORCH)
    yield call(x(3, 7), x(7))
    yield call(x.integers(-2, 3, 5), np.array([3]))
    yield call(EDGES, np.array(0.5))
    yield call(NOT_FINITE, np.array(0.5)).without("NaN has 0, as PyTorch's", "reference")
    yield refused(ValueError, "[heaviside] got shapes (2,) and (3,); expected", x(2), x(3))


@op(kinks=(0.0,), reference=activation.prelu, lacks="jet promotion", autocast="lower")
def prelu(x):
    yield call(x(3, x.n), x(x.n))
    yield call(x(2, 4, 3, 2), x(4))
    yield call(x(2, 4, 3), x(1))
    yield call(x(0, 3), x(3))
    yield refused(ValueError, "[prelu] got weight of shape (3,) for x of shape (2,); expected", x(2), x(3))
    yield refused(TypeError, "[prelu] got weight 0.25; expected a Tensor: leaky_relu", x(2), 0.25)


@op(reference=activation.glu)
def glu(x):
    yield call(x(3, 8))
    yield call(x(4, 3, 5), 0)
    yield call(x(x.size(1, 9), 2 * x.size(1, 9)))
    yield call(x(2, 6, 2), dim=1)
    yield call(x(0, 4))
    text = "[glu] got x of shape (3,) with dimension -1 of 3; expected an"
    yield refused(ValueError, text, x(3))
    yield refused(ValueError, "[glu] got dim 2 for x of shape (2,); expected one of its", x(2), 2)


def along(x):
    """Samples of functions of the elements along a dimension."""
    yield call(x(3, x.n, low=-3, high=3), 1)
    yield call(x(2, 5, 3, low=-30, high=30), dim=-2)
    yield call(x(*x.shape(least=1), low=-30, high=30), -1)
    yield call(x(), 0)
    yield call(x(0, 3), 1)
    yield call(x(4, 1), 1)
    yield call(np.array([[np.inf, 1.0, 2.0], [np.nan, 0.0, 1.0], [-np.inf, 0.0, -np.inf]]), 1)
    yield at_kink(np.full((2, x.n), 1e4), 1)  # exponentials would overflow
    yield refused(ValueError, "got axis 2 for x of shape (2, 3); expected -2 to 1", x(2, 3), 2)
    yield refused(ValueError, "got axis -3 for x of shape (2, 3); expected", x(2, 3), -3)
    peaks = np.where(np.arange(263) == np.array([[0], [17], [255], [262]]), 2000.0, x(4, 263))
    yield call(peaks, 1)  # at any place, also in what vectors leave
    yield call(peaks.T, 0)


_known = {"inner": 1.0, "terms": lambda x, dim: x.size, "lacks": "written", "anything": "_stacklevel"}
op(along, names="softmax", reference=lambda x, dim: softmax.softmax(x, dim), **_known)
op(along, names="log_softmax", reference=lambda x, dim: softmax.log_softmax(x, dim), **_known)


@op(kinks=(0.0,), draws=True, lacks="rounding")
def rrelu(x):
    yield call(x(3, 7))
    yield call(x(3, 7), 0.1, 0.4, training=True)
    yield refused(ValueError, "[rrelu] got", x(3), 0.5, 0.1)


@op(kinks=(0.3,))
def threshold(x):
    yield call(x(3, 7), 0.3, -0.5)
    yield call(x(), 0.3, 2.0)


@op(draws=True, lacks="C ONNX written", anything="eps")
def gumbel_softmax(x):
    yield call(x(3, 7))
    yield call(x(3, 7), 0.5, dim=0)
    yield call(x(3, 7), hard=True).without("the gradient is that of the soft one", "gradient")


@op(kinks=(0.0,), lacks="jet promotion", autocast="lower")
def PReLU(x):
    yield call(nn.PReLU(), x(3, 7))
    yield call(nn.PReLU(4, 0.1), x(2, 4, 3, 2))


@op(kinks=(0.0,), draws=True, lacks="rounding")
def RReLU(x):
    yield call(nn.RReLU(0.1, 0.4), x(3, 7))
    yield call(nn.RReLU().eval(), x(3, 7))


@op(kinks=(0.3,))
def Threshold(x):
    yield call(nn.Threshold(0.3, -0.5), x(3, 7))


@op
def GLU(x):
    yield call(nn.GLU(), x(3, 8))
    yield call(nn.GLU(1), x(2, 4, 3, 2))


@op(kinks=(0.0,))
def Heaviside(x):
    yield call(nn.Heaviside(), x(3, 7))


@op(lacks="written")
def Softmax(x):
    yield call(nn.Softmax(dim=0), x(3, 7))
    yield call(nn.Softmax(-1), x(2, 3, 4))


@op(lacks="written", anything="_stacklevel")
def softmin(x):
    yield call(x(3, 7), 1)
    yield call(x(2, 3, 4), -2)


@op(lacks="written")
def Softmin(x):
    yield call(nn.Softmin(dim=1), x(3, 7))


@op(lacks="written")
def Softmax2d(x):
    yield call(nn.Softmax2d(), x(2, 3, 4, 5))
    yield refused(ValueError, "[Softmax2d] got", nn.Softmax2d(), x(3, 4))


@op(lacks="written")
def LogSoftmax(x):
    yield call(nn.LogSoftmax(dim=1), x(3, 7))


def writes_over(settings):
    """Samples of functions that write over their argument, which no leaf may be."""

    def samples(x):
        yield call(fixed(x(3, 7, low=-4, high=4)), *settings)
        yield call(fixed(x(0, 3)), *settings)

    return samples


for _name in ["relu_", "elu_", "selu_", "celu_", "hardtanh_", "leaky_relu_"]:
    op(writes_over(()), names=_name, reference=getattr(activation, _name[:-1]), inner=0.1)
op(
    writes_over((0.3, -0.5)),
    names="threshold_",
    reference=lambda x, least, value: np.where(x > least, x, value),
    lacks="limits",
)
op(writes_over(()), names="rrelu_", draws=True)
