"""C at NaN, infinity, zeros, subnormal numbers and the ends of float32: what Python gives."""

import ctypes
import itertools
import operator

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from export.test_predictions import Of
from ranvier import nn
from ranvier.export.elementwise import BINARY, LOSSES, UNARY
from ranvier.export.rules import RULES
from ranvier.ops.table import COMPARISONS
from support.c_files import Compiled, argument, needs_compiler
from support.training import training

pytestmark = [needs_compiler, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

LARGE = (1e38, -1e38, 3e38, -3e38, 1e4, -1e4, 104.0, -104.0, 20.0, -20.0, 6.0, -6.0)
SMALL = (0.0, -0.0, 1e-40, -1e-40, 1e-38, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0)
VALUES = np.array([np.nan, np.inf, -np.inf, *LARGE, *SMALL], np.float32)
PAIRS = [np.repeat(VALUES, len(VALUES)), np.tile(VALUES, len(VALUES))]
ROWS = np.array(list(itertools.product([0, 1, -20, np.nan, np.inf, -np.inf], repeat=3)), np.float32)

ONE = {  # by the Function that the exporter sees; some are written as their formulas
    "Relu": F.relu, "LeakyRelu": lambda x: F.leaky_relu(x, 0.1), "Elu": lambda x: F.elu(x, 0.7),
    "Celu": lambda x: F.celu(x, 0.6), "Selu": F.selu, "Sigmoid": F.sigmoid, "Tanh": F.tanh, "Silu": F.silu,
    "Gelu": F.gelu, "GeluTanh": lambda x: F.gelu(x, "tanh"), "Softplus": lambda x: F.softplus(x, 2.0, 3.0),
    "Logsigmoid": F.logsigmoid, "Mish": F.mish, "Softsign": F.softsign, "Tanhshrink": F.tanhshrink,
    "Softshrink": F.softshrink, "Hardshrink": F.hardshrink, "Hardtanh": F.relu6,
    "Clip": lambda x: rv.clamp(x, -0.5, 0.5), "Hardsigmoid": F.hardsigmoid, "Hardswish": F.hardswish,
    "Abs": rv.abs, "Neg": lambda x: -x, "Exp": rv.exp, "Expm1": rv.expm1, "Log": rv.log, "Log1p": rv.log1p,
    "Sqrt": rv.sqrt, "Square": rv.square, "Reciprocal": rv.reciprocal, "Sin": rv.sin, "Cos": rv.cos,
    "AddNumber": lambda x: x + 2, "MulNumber": lambda x: x * 0, "DivNumber": lambda x: x / 3,
    "PowNumber": lambda x: x**1.5, "NumberSub": lambda x: 2 - x, "NumberDiv": lambda x: 2 / x,
}  # fmt: skip
NAMES = {"bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor}
ONE |= {f"{n}_number": lambda x, n=n: rv.where(getattr(x, n)(0.5), x, -2 * x) for n in COMPARISONS}
ONE["bitwise_not"] = lambda x: x.masked_fill(~(x > 0), 1.0)
FURTHER = {f"power {p}": lambda x, p=p: x**p for p in (0, 1, 2, 3, -1, -2, -0.5)}
FURTHER |= {"bools": lambda x: x + x.bool(), "quick gelu": lambda x: quick_gelu(x)}
FURTHER |= {"clamp from": lambda x: rv.clamp(x, min=-0.5), "clamp to": lambda x: rv.clamp(x, max=0.5)}
TWO = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b, "Maximum": rv.maximum, "Minimum": rv.minimum,
}  # fmt: skip
TWO |= {n: lambda a, b, n=n: rv.where(getattr(a, n)(b), a, 2 * b) for n in COMPARISONS}
TWO |= {
    n: lambda a, b, f=f: rv.where(f(a > 0, b > 0.5), a, b).masked_fill(a < b, 3.0) for n, f in NAMES.items()
}
WEIGHTS = rv.tensor([1.0, 2.0, -1.0])
OF_ROWS = {
    "softmax": lambda x: F.softmax(x, -1) * WEIGHTS,
    "log-softmax": lambda x: F.log_softmax(x, -1) * WEIGHTS,
    "max pool": lambda x: F.max_pool2d(x.reshape(1, 3, 12, 18), 2),
    "average pool": lambda x: F.avg_pool2d(x.reshape(1, 3, 12, 18), 3, 2, 1),
    "mean": lambda x: x.mean(1),
}


def quick_gelu(x):
    """The example of CONTRIBUTING.md."""
    y = rv.where(x.abs().eq(np.inf), 0.0, x) * rv.sigmoid(x * 1.702)
    return rv.where(x.eq(np.inf), x, y)


NO_GRADIENT = {"GeluTanh", "Mish"}


def test_every_element_wise_operation_has_a_row():
    assert ONE.keys() >= UNARY.keys()
    assert TWO.keys() == BINARY.keys()
    assert OF_LOSSES.keys() >= LOSSES.keys()
    assert {"Softmax", "LogSoftmax", "MaxPool2d", "AvgPool2d"} <= RULES.keys()


def require_close(found, wanted):
    np.testing.assert_allclose(found.ravel(), wanted.ravel(), rtol=4e-6, atol=1e-6)


@pytest.mark.parametrize("name", [*ONE, *FURTHER, *TWO, *OF_ROWS])
def test_values_and_gradients(name, tmp_path):
    """Of all values in one call; the step subtracts the gradient from zeros that are added to the inputs."""
    function = (ONE | FURTHER | TWO | OF_ROWS)[name]
    inputs = PAIRS if name in TWO else [ROWS] if name in OF_ROWS else [VALUES]
    examples = tuple(np.full_like(x, 0.3) for x in inputs)
    with rv.no_grad():
        wanted = function(*map(rv.tensor, inputs)).numpy()
    compiled = Compiled(tmp_path, Of(function), examples)
    require_close(compiled.predict(*inputs, shape=wanted.shape), wanted)
    if name in NO_GRADIENT:
        return
    shifts = [nn.Parameter(rv.zeros(*x.shape)) for x in inputs]
    optimizer = rv.optim.SGD(shifts, lr=1.0)

    def step(*xs):
        optimizer.zero_grad()
        loss = function(*[x + s for x, s in zip(xs, shifts, strict=True)]).sum()
        loss.backward()
        optimizer.step()
        return loss

    read = Of(lambda x: rv.cat([s.flatten() for s in shifts]) + x)
    compiled = Compiled(tmp_path, step, tuple(map(rv.tensor, examples)), predict=(read, rv.zeros(1)))
    inputs = [x + np.float32(0) for x in inputs]  # the sum with zeros has no -0
    compiled.call("net_step", *inputs)
    found = -compiled.predict(np.zeros(1, np.float32), shape=(sum(x.size for x in inputs),))
    tensors = [rv.tensor(x, requires_grad=True) for x in inputs]
    function(*tensors).sum().backward()
    require_close(found, np.concatenate([t.grad.numpy().ravel() for t in tensors]))


OF_LOSSES = {
    "Mse": F.mse_loss, "L1": F.l1_loss, "SmoothL1": F.smooth_l1_loss, "Huber": F.huber_loss,
    "BceWithLogits": F.binary_cross_entropy_with_logits, "CrossEntropy": lambda x, t: F.cross_entropy(x, t),
    "Nll": lambda x, t: F.nll_loss(x, t),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_LOSSES)
def test_losses(name, tmp_path):
    """Of each element or row alone; the state begins anew each time."""
    loss, of_rows = OF_LOSSES[name], name in ("CrossEntropy", "Nll")
    if of_rows:
        rows, targets = ROWS[::7, None], np.arange(len(ROWS[::7]))[:, None] % 3
    else:
        rows = np.repeat(VALUES, 4)[:, None]
        targets = np.resize(np.float32([0, 1, 0.25, 0.5]), rows.shape)
    bias = nn.Parameter(rv.zeros(*rows[0].shape))
    optimizer = rv.optim.SGD([bias], lr=1.0)
    step = training(lambda x: x + bias, optimizer, loss)
    compiled = Compiled(tmp_path, step, (rv.zeros(*bias.shape), rv.tensor(targets[0] * 0)))
    state = np.ctypeslib.as_array(
        (ctypes.c_uint8 * compiled.report.state).in_dll(compiled.library, "net_state")
    )
    before = state.copy()
    for x, t in zip(rows, targets, strict=True):
        state[:] = before
        found = compiled.call("net_step", argument(x), argument(t))
        gradient = -state[: 4 * x.size].view(np.float32)
        tensor = rv.tensor(x, requires_grad=True)
        wanted = loss(tensor, rv.tensor(t))
        wanted.backward()
        np.testing.assert_allclose(found, wanted.item(), rtol=1e-5, atol=1e-6, err_msg=f"{x}, {t}")
        np.testing.assert_allclose(gradient, tensor.grad.numpy().ravel(), 1e-5, 1e-6, err_msg=f"{x}, {t}")


def test_int8_has_no_nan(tmp_path):
    """It is the smallest value of the calibration, as -infinity is, and the header says so."""
    model = nn.Linear(3, 2)
    rv.export.c(model, tmp_path / "net.c", rv.zeros(1, 3))
    assert "NaN" not in (tmp_path / "net.h").read_text()
    rows = np.random.default_rng(0).uniform(-1, 1, (64, 3)).astype(np.float32)
    compiled = Compiled(tmp_path, model, rv.zeros(1, 3), calibration=rows)
    answers = {
        compiled.predict(np.array([[0.5, bad, 0.25]], np.float32), shape=(1, 2)).tobytes()
        for bad in (np.nan, -np.inf, rows.min())
    }
    assert len(answers) == 1
    assert "NaN is the smallest" in (tmp_path / "net.h").read_text()
