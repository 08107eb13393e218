"""Functions with a context and static methods: what forward may get and return, and backward."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd.function import once_differentiable
from support.refused import refused


def function(forward, backward, **more):
    methods = {"forward": forward, "backward": backward, **more}
    return type("Scale", (rv.autograd.Function,), {name: staticmethod(f) for name, f in methods.items()})


def test_outputs_that_are_no_tensors_are_returned_as_they_are():
    seen = []

    def backward(ctx, *gradients):
        seen.extend(gradients)
        return gradients[1] * 2 + gradients[3] * 3

    scale = function(lambda ctx, x: ("name", x * 2, None, x * 3, 7), backward)
    x = rv.ones(2, requires_grad=True)
    name, y, nothing, z, number = scale.apply(x)
    assert (name, nothing, number) == ("name", None, 7)
    assert y.requires_grad
    assert z.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert [seen[i] for i in (0, 2, 4)] == [None] * 3
    assert seen[3].tolist() == [0.0, 0.0]

    only = function(lambda ctx, x: (x * 2, 1), lambda ctx, dy, _: dy * 5)
    only.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]


def test_arguments_by_keyword():
    def forward(ctx, x, k=2.0):
        ctx.k = k
        return x * k

    x = rv.ones(2, requires_grad=True)
    scale = function(forward, lambda ctx, dy: dy * ctx.k)
    scale.apply(x, k=3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    refused(
        TypeError, "[Scale.apply] got a Tensor that requires a gradient by keyword", scale.apply, 2.0, k=x
    )


def test_setup_context_gets_the_defaults():
    def setup_context(ctx, inputs, output):
        ctx.k = inputs[1]

    scale = function(lambda x, k=3.0: x * k, lambda ctx, dy: (dy * ctx.k, None), setup_context=setup_context)
    x = rv.ones(2, requires_grad=True)
    (scale.apply(x) + scale.apply(x, k=1.0)).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_gradient_for_a_number_is_refused():
    scale = function(lambda ctx, x, k: x * k, lambda ctx, dy: (dy, dy))
    y = scale.apply(rv.ones(2, requires_grad=True), 3).sum()
    refused(RuntimeError, "[Scale.backward] returned a gradient for argument 2 of forward", y.backward)


def test_numpy_in_forward_and_backward():
    forward = lambda ctx, x: rv.from_numpy(np.sin(x.numpy()))  # noqa: E731
    scale = function(forward, once_differentiable(lambda ctx, dy: rv.from_numpy(dy.numpy() * 2)))
    x = rv.ones(2, requires_grad=True)
    scale.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    refused(RuntimeError, "can't call numpy", x.numpy)
    with rv.no_grad():
        assert x.numpy().tolist() == [1.0, 1.0]


def test_a_gradient_of_another_dtype_is_cast():
    """The result is float64; what follows on the tape has float32."""
    scale = function(lambda ctx, x: x.double() * 2, lambda ctx, dy: dy * 2)
    for create_graph in (False, True):
        x = rv.ones(2, requires_grad=True)
        (dx,) = rv.autograd.grad(scale.apply(rv.exp(x)).sum(), x, create_graph=create_graph)
        assert dx.dtype == rv.float32
        np.testing.assert_allclose(dx.detach().numpy(), 2 * np.exp(np.ones(2)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 2, 3)])
def test_a_gradient_that_is_broadcast_is_summed(shape):
    """As PyTorch's engine does: backward need not know the shapes."""

    class Product(rv.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, dy):
            x, y = ctx.saved_tensors
            return dy * y, dy * x

    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    pair = x, np.linspace(-1, 1, 6).reshape(2, 3)
    assert rv.autograd.gradcheck(Product.apply, pair)
    assert rv.autograd.gradgradcheck(Product.apply, pair)
