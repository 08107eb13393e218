"""autograd.functional: Hessians, Jacobians and their products with vectors of a function of two vectors,
`form`, beside its derivatives written out in NumPy.
"""

import numpy as np
import ranvier as rv
from ranvier.autograd import functional
from support.refused import refused

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((3, 3)), RNG.standard_normal((3, 2))
X, Y = RNG.standard_normal(3), RNG.standard_normal(2)


def form(x, y):
    return x @ rv.tensor(A) @ x + (x @ rv.tensor(B) * y**3).sum()


def tensors(*arrays):
    return tuple(map(rv.tensor, arrays))


def test_hessian_of_a_form():
    (xx, xy), (yx, yy) = functional.hessian(form, tensors(X, Y))
    np.testing.assert_allclose(xx.numpy(), A + A.T)
    np.testing.assert_allclose(xy.numpy(), B * 3 * Y**2)
    np.testing.assert_allclose(yx.numpy(), xy.numpy().T)
    np.testing.assert_allclose(yy.numpy(), np.diag(6 * Y * (X @ B)))
    assert not xx.requires_grad


def test_products_with_vectors_are_those_of_the_matrices():
    """hvp, vhp, jvp and vjp beside the Hessian or Jacobian times the vector."""
    v, w = tensors(RNG.standard_normal(3), RNG.standard_normal(2))
    h = functional.hessian(form, tensors(X, Y))
    for product in (functional.hvp, functional.vhp):
        value, found = product(form, tensors(X, Y), (v, w))
        assert value.item() == form(*tensors(X, Y)).item()
        for got, row in zip(found, h, strict=True):
            np.testing.assert_allclose(got.numpy(), (row[0] @ v + row[1] @ w).numpy())

    def function(x):
        return x[:2] * x[1:], (x**2).sum()

    first, second = functional.jacobian(function, rv.tensor(X))
    assert (first.shape, second.shape) == ((2, 3), (3,))
    (_, _), (a, b) = functional.jvp(function, rv.tensor(X), v)
    np.testing.assert_allclose(a.numpy(), (first @ v).numpy())
    np.testing.assert_allclose(b.numpy(), (second @ v).numpy())
    _, found = functional.vjp(function, rv.tensor(X), (w, rv.tensor(2.0, dtype=rv.float64)))
    np.testing.assert_allclose(found.numpy(), (w @ first + 2 * second).numpy())


def test_a_jacobian_can_be_differentiated():
    x = rv.tensor(X, requires_grad=True)
    trace = functional.jacobian(lambda x: x**3, x, create_graph=True).trace()
    (g,) = rv.autograd.grad(trace, x)
    np.testing.assert_allclose(g.numpy(), 6 * X)
    inside = functional.jacobian(lambda x: functional.jacobian(lambda x: x**3, x, True), rv.tensor(X))
    np.testing.assert_allclose(inside.numpy()[np.arange(3), np.arange(3), np.arange(3)], 6 * X)


def test_what_is_independent():
    x = rv.ones(2)
    assert functional.jacobian(lambda x: rv.ones(3), x).tolist() == [[0, 0]] * 3
    assert functional.hessian(lambda x: x.sum(), x).tolist() == [[0, 0]] * 2
    assert functional.jacobian(lambda x: x[:0], x).shape == (0, 2)
    refused(RuntimeError, "strict=True", functional.jacobian, lambda x: rv.ones(3), x, strict=True)
    refused(RuntimeError, "strict=True", functional.hvp, lambda x: x.sum(), x, x, strict=True)


def test_what_is_refused():
    x = rv.ones(2)
    refused(RuntimeError, "expected one element", functional.hessian, lambda x: x * x, x)
    refused(RuntimeError, "got no v", functional.vjp, lambda x: x * x, x)
    refused(RuntimeError, "v of shapes [(3,)]", functional.jvp, lambda x: x * x, x, rv.ones(3))
    refused(TypeError, "dtype int64", functional.jacobian, lambda x: x, rv.tensor([1]))
    refused(TypeError, "got int in inputs", functional.jacobian, lambda x: x, 3)
    refused(TypeError, "result of func", functional.jacobian, lambda x: 3, x)
    refused(ValueError, "strategy", functional.jacobian, lambda x: x, x, strategy="forward-mode")
    text = "strategy"
    refused(ValueError, text, functional.hessian, lambda x: x, x, outer_jacobian_strategy="forward-mode")
    leaf = rv.ones(2, requires_grad=True)
    functional.hessian(lambda x: (x**3).sum(), leaf)
    assert leaf.grad is None
