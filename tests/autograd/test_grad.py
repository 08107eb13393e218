"""rv.grad, rv.value_and_grad and autograd.grad beside derivatives by hand; gradcheck, which compares
gradients with central differences, accepts right gradients and finds wrong ones. mul, exp ... of
support/functions.py are small Functions with a gradient.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import GradcheckError, gradcheck, numeric_gradients
from support.functions import Exp, Positive, add, exp, mul, total
from support.refused import refused


def square(x):
    return mul(x, x)


def test_grad_of_a_number_is_a_number():
    assert rv.grad(square)(3.0) == 6.0
    assert isinstance(rv.grad(square)(3.0), float)
    value, slope = rv.value_and_grad(exp)(1.0)
    assert value == slope == np.exp(1.0), "numbers are computed in float64"


def test_grad_of_arrays_and_tensors():
    x = np.array([1.0, 2.0], np.float32)
    g = rv.grad(lambda x: total(square(x)))(x)
    assert isinstance(g, rv.Tensor)
    assert (g.tolist(), g.dtype) == ([2, 4], np.float32)
    value, g = rv.value_and_grad(lambda x: total(square(x)))(rv.tensor(x))
    assert value.item() == 5
    assert not value.requires_grad
    leaf = rv.tensor(x, requires_grad=True)
    rv.grad(lambda x: total(square(x)))(leaf)
    assert leaf.grad is None


def test_grad_of_several_and_nested_arguments():
    """The gradient of a dict or a list is a dict or a list; argnums picks arguments."""

    def loss(p, x):
        return total(add(mul(p["w"], x), p["b"][0]))

    p = {"w": np.full(2, 3.0), "b": [np.zeros(2)]}
    x = np.array([5.0, 6.0])
    gp = rv.grad(loss)(p, x)
    assert gp["w"].tolist() == [5, 6]
    assert gp["b"][0].tolist() == [1, 1]
    gp, gx = rv.grad(loss, argnums=(0, 1))(p, x)
    assert gx.tolist() == [3, 3]
    assert rv.grad(lambda a, b: total(square(a)))(x, x).tolist() == [10, 12]
    assert rv.grad(lambda a, b: total(square(a)), 1)(x, x).tolist() == [0, 0], (
        "an unused argument has gradient 0"
    )


def test_grad_works_under_no_grad_and_refuses_the_rest():
    with rv.no_grad():
        assert rv.grad(square)(2.0) == 4.0
    with pytest.raises(RuntimeError, match=r"returned shape \(2,\); expected a Tensor of one element"):
        rv.grad(square)(np.ones(2))
    refused(RuntimeError, "returned float", rv.grad(lambda x: 1.0), 1.0)
    refused(TypeError, "dtype int64; expected float32 or float64", rv.grad(square), np.array([1]))


def test_autograd_grad():
    """By leaves and by results in between; unused inputs; grad stays None."""
    x, y = rv.tensor([2.0], requires_grad=True), rv.tensor([3.0], requires_grad=True)
    h = mul(x, y)
    out = mul(h, h)
    dx, dh = rv.autograd.grad(out, [x, h], retain_graph=True)
    assert (dx.item(), dh.item()) == (36.0, 12.0)
    assert x.grad is y.grad is None
    (dx,) = rv.autograd.grad([out, h], x, [rv.tensor([1.0]), rv.tensor([10.0])])
    assert dx.item() == 66.0
    z = rv.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match="index 0 appears to not have been used in the graph"):
        rv.autograd.grad(mul(x, y), z)
    assert rv.autograd.grad(mul(x, y), [x, z], allow_unused=True)[1] is None
    refused(RuntimeError, "does not require grad", rv.autograd.grad, mul(x, y), rv.ones(1))
    refused(RuntimeError, "is_grads_batched=True", rv.autograd.grad, mul(x, y), x, is_grads_batched=True)


def test_batched_gradients_are_one_backward_for_each_row():
    x, y = rv.tensor([1.0, 2.0, 3.0], requires_grad=True), rv.ones(2, requires_grad=True)
    rows = rv.eye(3)
    first, second, unused = rv.autograd.grad(
        x**3, [x, x, y], rows, create_graph=True, is_grads_batched=True, allow_unused=True
    )
    assert first.tolist() == second.tolist() == [[3.0, 0.0, 0.0], [0.0, 12.0, 0.0], [0.0, 0.0, 27.0]]
    assert unused is None
    (again,) = rv.autograd.grad(first.sum(), x)
    assert again.tolist() == [6.0, 12.0, 18.0]


def test_gradcheck_takes_the_inputs_that_require_a_gradient():
    """An input without one may have no gradient; with a step of 1e-6 a kink nearby does no harm."""

    class Half(rv.autograd.Function):
        @staticmethod
        def forward(ctx, x, alpha):
            ctx.save_for_backward(alpha)
            return x * alpha

        @staticmethod
        def backward(ctx, dy):
            return dy * ctx.saved_tensors[0], None

    x = rv.tensor([0.5, 2.0], dtype=rv.float64, requires_grad=True)
    alpha = rv.tensor(3.0, dtype=rv.float64)
    assert gradcheck(Half.apply, (x, alpha))
    refused(GradcheckError, "input 1", gradcheck, Half.apply, (x, alpha.clone().requires_grad_()))
    kinked = lambda x: (x - 2.001).relu()  # noqa: E731
    refused(GradcheckError, "input 0", gradcheck, kinked, x)
    assert gradcheck(kinked, x, eps=1e-6)
    refused(TypeError, "'steps'", gradcheck, kinked, x, steps=3)


def test_gradcheck_leaves_other_objects_as_they_are():
    seen = []

    def power(x, n, names, y):
        seen.append((n, names))
        return x**n + y

    inputs = rv.tensor([0.5, 2.0]), 3, ("a", None), np.array([1.0])
    assert rv.autograd.gradcheck(power, inputs)
    assert rv.autograd.gradgradcheck(power, inputs)
    assert set(seen) == {(3, ("a", None))}


def test_gradcheck_accepts_right_and_finds_wrong():
    """A gradient that is a factor of 1 + 1e-5 off is found."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)).astype(np.float32)
    assert gradcheck(lambda a, b: exp(mul(a, b)), (x, rv.tensor(y)))
    assert gradcheck(lambda a, n: mul(a, a), (x, np.arange(3)))
    assert gradcheck(lambda a: (exp(a), Positive().apply(a)), x)
    assert gradcheck(exp, np.zeros((0, 3)))
    calls = []
    assert gradcheck(lambda a: calls.append(0) or exp(a), rng.standard_normal(99), fast_mode=True)
    assert len(calls) == 1 + 4 * 16

    class Off(Exp):
        def backward(self, dy):
            return super().backward(dy) * (1 + 1e-5)

    refused(GradcheckError, "gradient of input 0 is off by", gradcheck, lambda a: Off().apply(a), x)
    assert not gradcheck(lambda a: Off().apply(a), x, raise_exception=False)


def test_numeric_gradients_reach_ten_digits():
    x = np.linspace(-2, 2, 7)
    (found,) = numeric_gradients(np.exp, [x], [np.ones(7)])
    np.testing.assert_allclose(found, np.exp(x), rtol=1e-10)


def test_a_function_that_is_not_finite_is_named():
    with np.errstate(invalid="ignore"), pytest.raises(GradcheckError, match="not finite near element 0: -1"):
        numeric_gradients(np.sqrt, [np.array([-1.0])], [np.ones(1)])


def test_only_inputs_is_accepted_as_pytorch_has_it():
    x = rv.tensor([1.0, 2.0], requires_grad=True)
    (dx,) = rv.autograd.grad(outputs=x * 3, inputs=x, grad_outputs=rv.ones(2), only_inputs=True)
    assert dx.tolist() == [3.0, 3.0]
    refused(ValueError, "got only_inputs=False; expected True", rv.autograd.grad, x, x, only_inputs=False)


def test_leaves_with_equal_values_are_different_outputs():
    a, b = rv.tensor(2.0, requires_grad=True), rv.tensor(2.0, requires_grad=True)
    seeds = [rv.tensor(3.0), rv.tensor(5.0)]
    assert [g.item() for g in rv.autograd.grad([a, b], [a, b], seeds)] == [3.0, 5.0]
    c, d = rv.ones(2, 3).requires_grad_(), rv.ones(3).requires_grad_()
    assert [g.shape for g in rv.autograd.grad([c, d], [c, d], [rv.ones(2, 3), rv.ones(3)])] == [(2, 3), (3,)]


def test_a_variable_is_a_tensor():
    x = rv.ones(2, requires_grad=True)
    y = rv.autograd.Variable(x)
    assert isinstance(y, rv.autograd.Variable)
    assert type(y) is rv.Tensor
    assert (y.data_ptr(), y.requires_grad) == (x.data_ptr(), False)
    assert rv.autograd.Variable(x, requires_grad=True).is_leaf
    refused(TypeError, "[Variable] got list", rv.autograd.Variable, [1.0])


def test_what_is_no_tensor_is_refused():
    x = rv.ones(1, requires_grad=True)
    text = "expected a Tensor or a list of Tensors"
    refused(TypeError, f"[grad] got outputs 5; {text}", rv.autograd.grad, 5, x)
    refused(TypeError, f"[grad] got inputs 6; {text}", rv.autograd.grad, x * 2, 6)
    refused(TypeError, f"[backward] got tensors 5; {text}", rv.autograd.backward, 5)
