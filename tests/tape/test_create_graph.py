"""Gradients of gradients: create_graph=True. Those of each op: properties/test_gradient.py.

They are compared with derivatives worked out by hand, or by gradgradcheck with finite differences.
"""

import gc
import importlib
import pkgutil

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import Function, grad, gradgradcheck
from ranvier.nn import functional as F
from ranvier.ops.elementwise.op import DECLARATIONS
from ranvier.tape.higher_order import rule_of
from support.refused import refused


def leaf(*values):
    return rv.tensor(list(values) if len(values) > 1 else values[0], dtype=rv.float64, requires_grad=True)


def test_every_derivative_of_a_polynomial():
    x = leaf(1.5, -2.0)
    y = (x**4).sum()
    for factor, power in ((4, 3), (12, 2), (24, 1), (24, 0)):
        (y,) = grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.detach().numpy(), factor * x.detach().numpy() ** power, rtol=1e-15)


def test_backward_adds_gradients_with_a_history():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    assert x.grad.item() == 27
    assert x.grad.requires_grad
    kept = x.grad
    (x**2).backward(create_graph=True)
    assert (kept.item(), x.grad.item()) == (27, 33), "the sum is a new tensor"
    (second,) = grad(x.grad, x)
    assert second.item() == 20
    x.grad = None
    (x * 2).backward()
    assert not x.grad.requires_grad


def test_a_later_backward_adds_to_a_gradient_with_a_history():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    squared = x.grad**2  # keeps the gradient's array
    (x**2).backward()
    assert x.grad.item() == 33
    assert grad(squared, x)[0].item() == 2 * 27 * 18


def test_retain_graph_follows_create_graph():
    x = leaf(2.0)
    y = x.exp() * x
    grad(y, x, create_graph=True)
    grad(y, x)  # what forward saved was kept, and is freed now
    refused(RuntimeError, "a second time", grad, y, x)
    y = x.exp() * x
    (g,) = grad(y, x, create_graph=True, retain_graph=False)
    refused(RuntimeError, "a second time", grad, y, x)
    refused(RuntimeError, "a second time", grad, g, x)


def test_gradients_with_respect_to_the_middle():
    x = leaf(0.5, 2.0)
    h = x.sin()
    y = (h * h * x).sum()
    gh, gx = grad(y, [h, x], create_graph=True)
    (found,) = grad(gh.sum(), h, retain_graph=True)
    np.testing.assert_allclose(found.numpy(), 2 * x.detach().numpy())
    s, c, v = np.sin(x.detach().numpy()), np.cos(x.detach().numpy()), x.detach().numpy()
    (found,) = grad(gx.sum(), x)
    np.testing.assert_allclose(found.numpy(), 4 * s * c + 2 * v * (c * c - s * s), rtol=1e-14)


def test_grad_outputs_may_require_gradients():
    x, v = leaf(1.0, 2.0), leaf(3.0, 5.0)
    (g,) = grad(x**2, x, v, create_graph=True)
    (gv,) = grad(g.sum(), v)
    assert gv.tolist() == [2, 4]
    (g,) = grad(x**2, x, v.float(), create_graph=True)
    assert g.dtype == np.float64


def test_gradients_have_their_own_memory():
    x, y, v = leaf(1.0, 2.0), leaf(3.0, 4.0), rv.tensor([5.0, 6.0], dtype=rv.float64)
    gx, gy = grad(x + y.reshape(2), [x, y], v, create_graph=True)
    gx.mul_(2.0)
    assert (gx.tolist(), gy.tolist(), v.tolist()) == ([10, 12], [5, 6], [5, 6])
    (x + y).backward(v, create_graph=True)
    x.grad.mul_(2.0)
    assert (x.grad.tolist(), y.grad.tolist(), v.tolist()) == ([10, 12], [5, 6], [5, 6])


def test_nested_calls_of_grad():
    def cube(x):
        return x**3

    assert rv.grad(rv.grad(cube))(2.0) == 12.0
    assert rv.grad(rv.grad(rv.grad(cube)))(2.0) == 6.0
    assert rv.grad(lambda x: rv.grad(lambda y: x * x * y)(1.0))(3.0) == 6.0, "through the inner function"
    value, slope = rv.value_and_grad(lambda x: rv.value_and_grad(cube)(x)[0] * 2)(2.0)
    assert (value, slope) == (16.0, 24.0)
    inner, _ = rv.value_and_grad(rv.grad(cube))(np.array(2.0))
    assert not inner.requires_grad
    w = leaf(2.0)
    assert not rv.grad(cube)(w).requires_grad, "a call that is not nested gives plain values"


def test_it_records_under_no_grad():
    x = leaf(2.0)
    y = x**3
    with rv.no_grad():
        (g,) = grad(y, x, create_graph=True)
        assert not rv.is_grad_enabled()
    assert grad(g, x)[0].item() == 12


def test_hooks_get_tensors_on_the_tape():
    x = leaf(2.0)
    h = x * 3
    seen = []
    h.register_hook(lambda g: seen.append(g.requires_grad))
    x.register_hook(lambda g: g * x)
    h.retain_grad()
    (h**2).backward(create_graph=True)
    assert seen == [True]
    assert h.grad.item() == 12
    assert x.grad.item() == 72  # 18 x, times x by the hook
    assert grad(x.grad, x)[0].item() == 72 + 36 * 2  # and the hook in the second backward, times x


def test_hooks_of_modules_get_tensors_on_the_tape():
    layer = rv.nn.Linear(2, 1).double()
    layer.register_full_backward_hook(lambda module, dx, dy: (dx[0] * dx[0],))
    x = leaf(1.0, 2.0)
    (g,) = grad(layer(x).sum(), x, create_graph=True)
    w = layer.weight.detach().numpy()[0]
    np.testing.assert_allclose(g.detach().numpy(), w * w)
    (found,) = grad(g.sum(), layer.weight)
    np.testing.assert_allclose(found.numpy()[0], 2 * w)


def test_a_change_in_place_before_the_second_backward_raises():
    for op in (rv.exp, F.relu, lambda x: x * x, lambda x: rv.cumprod(x, 0), lambda x: F.leaky_relu(x, 0.5)):
        x = leaf(1.0, 2.0)
        h = x * 2.0
        y = op(h)
        (g,) = grad((y * y).sum(), h, create_graph=True)
        (y if op in (rv.exp, F.relu) else h).detach().add_(1.0)
        refused(RuntimeError, "modified by an inplace operation", grad, g.sum(), x)


def test_views_and_changes_in_place_on_the_tape():
    def changed(x, v):
        y = x * 1.0
        y[0] = v
        y[1:].mul_(x[:-1])
        y.t()[1] += v
        return y * y

    rng = np.random.default_rng(0)
    assert gradgradcheck(changed, (rng.uniform(1, 2, (3, 3)), rng.uniform(1, 2, 3)))


def test_a_value_of_another_dtype_gets_gradients_of_its_own():
    x, v = leaf(1.0, 2.0, 3.0), rv.tensor([0.5], requires_grad=True)
    y = x * 1.0
    y[1:] = v
    gx, gv = grad((y**4).sum(), [x, v], create_graph=True)
    hx, hv = grad(gx.sum() + gv.double().sum(), [x, v], create_graph=True)
    assert (gv.dtype, hx.tolist(), hv.dtype) == (np.float32, [12, 0, 0], np.float32)
    assert hv.item() == 2 * 12 * 0.25
    assert grad(hv.sum(), v)[0].item() == 2 * 24 * 0.5


def test_a_leaf_with_other_memory_since_still_gets_gradients():
    x = leaf(1.0, 2.0)
    y = (x**3).sum()
    x.data = rv.tensor([5.0, 6.0], dtype=rv.float64)
    (g,) = grad(y, x, create_graph=True)
    assert g.tolist() == [75, 108], "of the new values, as PyTorch"
    assert grad(g.sum(), x)[0].tolist() == [30, 36]


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * dy * x * x


class ExpAndDouble(Function):
    @staticmethod
    def forward(ctx, x):
        y, z = x.exp(), x * 2
        ctx.save_for_backward(y)
        return y, z

    @staticmethod
    def backward(ctx, dy, dz):
        return dy * ctx.saved_tensors[0] + 2 * dz


def test_functions_with_ctx_are_differentiated_as_they_are_written():
    x = np.array([0.5, -1.5])
    assert gradgradcheck(Cube.apply, x)
    assert gradgradcheck(ExpAndDouble.apply, x)
    x = leaf(1.0)
    (g,) = grad(ExpAndDouble.apply(x)[0], x, create_graph=True)  # z is not used
    assert grad(g, x)[0].item() == pytest.approx(np.e)


def test_functions_that_cannot_be_differentiated_twice_are_refused():
    class Once(Cube):
        @staticmethod
        @rv.autograd.once_differentiable
        def backward(ctx, dy):
            return dy

    class Middle(Cube):
        @staticmethod
        def forward(ctx, x):
            square = x * x
            ctx.save_for_backward(square)
            return square * x

        @staticmethod
        def backward(ctx, dy):
            return 3 * dy * ctx.saved_tensors[0]

    class OnArrays(Function):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

    x = leaf(2.0)
    for function, text in (
        (Once.apply, "expected a backward without once_differentiable"),
        (Middle.apply, "neither input nor output of forward"),
        (lambda x: OnArrays().apply(x), "[on_arrays] got create_graph=True; expected ops"),
    ):
        grad(function(x), x)
        refused(NotImplementedError, text, grad, function(x), x, create_graph=True)


def test_a_bias_that_has_changed_is_noticed():
    lstm = rv.nn.LSTM(2, 3)
    y = lstm(rv.ones(4, 1, 2))[0].sum()
    lstm.bias_hh_l0.detach().add_(1.0)
    grad(y, lstm.bias_hh_l0, retain_graph=True)  # this does not need its values
    refused(RuntimeError, "modified by an inplace", grad, y, lstm.bias_hh_l0, create_graph=True)


@pytest.mark.parametrize("op", [rv.mul, rv.matmul, rv.div, lambda x, c: c * x, rv.nn.functional.linear])
def test_what_the_gradients_do_not_read_may_change(op):
    x, c = rv.ones(2, 2, requires_grad=True), rv.rand(2, 2) + 1.0
    y = op(middle := x * 1.0, c).sum()
    (before,) = grad(y, x, retain_graph=True)
    middle.detach().mul_(0.5)
    (after,) = grad(y, x, create_graph=True)
    assert after.tolist() == before.tolist()


REFUSED = {
    "CTC",
    "CachePositions",
    "QuantizedRows",  # is never recorded
    "SyncBatchNorm",
    "_ByParts",
    "_DirichletDraw",
    "_GammaBelow",
    "_GammaDraw",
}
# only subclasses are used
BASES = {"ClassLoss", "Convolution", "ElementLoss", "OfNumber", "Pool", "TakesHalves", "_SavesResult"}


def functions(kind=Function):
    for sub in kind.__subclasses__():
        own = sub.__module__.startswith("ranvier.torch")  # their backward is taped
        if sub.__module__.startswith("ranvier.") and not own:
            yield sub
            yield from functions(sub)


def test_every_function_of_the_library_has_a_rule_or_is_refused():
    for module in pkgutil.walk_packages(rv.ops.__path__, "ranvier.ops."):
        importlib.import_module(module.name)
    for name in ("distributed.reduction", "distributed.sync_norm", "distributions", "linalg", "nn"):
        importlib.import_module(f"ranvier.{name}")
    assert all(row.node is not None for row in DECLARATIONS.values() if row.has_gradient)  # makes the classes
    without = set()
    for kind in functions():
        try:
            rule_of(object.__new__(kind))
        except NotImplementedError:
            without.add(kind.__name__)
    assert without == REFUSED | BASES, "a new Function needs a rule, or a place in REFUSED"


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.group_norm(x, 2),
        lambda x: F.layer_norm(x, (5, 5)),
    ],
)
def test_normalised_float32_data_far_from_0(normalise):
    data = (np.random.default_rng(0).standard_normal((8, 4, 5, 5)) + 1e4).astype(np.float32)
    weights = np.random.default_rng(1).standard_normal(data.shape)
    found = []
    for dtype in (np.float32, np.float64):
        x = rv.tensor(data.astype(dtype), requires_grad=True)
        found.append(grad(normalise(x), x, weights.astype(dtype), create_graph=True)[0].detach().numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6 * abs(found[1]).max())


def test_parameters_that_a_penalty_does_not_move_get_zeros():
    """As in PyTorch: an optimizer with momentum or weight decay moves them all the same."""
    layers = [
        lambda: rv.nn.ReLU(),
        lambda: rv.nn.LeakyReLU(0.2),
        lambda: rv.nn.Hardtanh(),
        lambda: rv.nn.PReLU(),
        lambda: rv.nn.MaxPool1d(2),
        lambda: rv.nn.AvgPool1d(2),
    ]
    for make in layers:
        model = rv.nn.Sequential(rv.nn.Conv1d(2, 3, 3), make(), rv.nn.Flatten(), rv.nn.LazyLinear(1))
        x = rv.rand(2, 2, 8).requires_grad_()
        (g,) = grad(model(x).sum(), x, create_graph=True)
        (g**2).sum().backward()
        bias = model[0].bias.grad
        assert bias is not None, repr(model[1])
        assert not bias.numpy().any()


def test_no_memory_is_held_by_a_gradient_that_is_gone():
    x = leaf(1.0, 2.0)
    y = (x.exp() * x).sum()
    gc.collect()
    (g,) = grad(y, x, create_graph=True)
    (h,) = grad(g.sum(), x)
    del y, g, h
    assert gc.collect() == 0, "nothing is in a cycle"


def test_rule_of_a_subclass_with_another_backward():
    class Other(type(F.relu(leaf(1.0))._grad_fn)):
        def backward(self, dy):
            return 2 * dy

    refused(NotImplementedError, "[other]", rule_of, Other())


def test_second_gradients_of_softplus_keep_their_digits():
    found = []
    for dtype in (rv.float32, rv.float64):
        x = rv.tensor([-15.0, -1.0, 0.0, 1.0, 8.0, 15.0, 19.0], dtype=dtype, requires_grad=True)
        (g,) = grad(F.softplus(x).sum(), x, create_graph=True)
        found.append(grad(g.sum(), x)[0].numpy())
    np.testing.assert_allclose(*found, 1e-6)


# f, x and f''(x) as mathematics has it, where formulas of f have a kink or a quotient 0 / 0; of ops of one
# element: test_kinks_of_pytorch.
SPECIAL = {
    "logcumsumexp of equals": (lambda x: rv.logcumsumexp(rv.stack([x, x.detach()]), 0)[1], 1.5, 0.25),
    "product with a zero": (lambda x: rv.stack([x, x * 2, x + 3]).prod(), 0.0, 12.0),
    "cumprod with a zero": (lambda x: rv.stack([x, x * 2, x + 3]).cumprod(0)[2], 0.0, 12.0),
    "norm at 0": (lambda x: (x * rv.ones(2).double()).norm() * x, 0.0, 0.0),
    "std of equals": (lambda x: (x * rv.ones(3).double()).std() * x, 1.0, 0.0),
    "softplus beyond its threshold": (lambda x: F.softplus(x, 1.0, 2.0), 3.0, 0.0),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_points(name):
    function, at, wanted = SPECIAL[name]
    x = leaf(at)
    (g,) = grad(function(x), x, create_graph=True)
    (h,) = grad(g, x)
    assert h.item() == pytest.approx(wanted, abs=1e-12)
