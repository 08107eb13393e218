"""Functions with a context and static methods: what forward may get and return, and backward.

`function(forward, backward)` makes such a Function; gradients are compared with numbers worked out by hand.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.tape.function import once_differentiable
from support.functions import Product
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
    text = "[Scale.apply] got a Tensor that requires a gradient by keyword"
    refused(TypeError, text, scale.apply, 2.0, k=x)


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


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("extra", [rv.zeros(2), rv.zeros(5, dtype=rv.int64), rv.ones(1, 1, 5)])
def test_a_gradient_that_nothing_needs_may_be_anything(create_graph, extra):
    scale = function(lambda ctx, x, t: x * 2, lambda ctx, dy: (dy * 2, extra))
    x = rv.ones(3, requires_grad=True)
    y = scale.apply(x, rv.linspace(0, 1, 5))
    (dx,) = rv.autograd.grad(y.sum(), x, create_graph=create_graph)
    assert dx.tolist() == [2.0] * 3
    y = scale.apply(x, rv.zeros(7, requires_grad=True))  # here it is needed
    refused(RuntimeError, "returned a gradient of shape", y.sum().backward)


class Root(rv.autograd.Function):
    """The y with y y = x, differentiated implicitly by the saved y."""

    @staticmethod
    def forward(ctx, x):
        y = x.sqrt()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        assert y.requires_grad
        assert type(y.grad_fn).__name__ == "Root"
        with rv.enable_grad():
            slope = rv.autograd.grad((y * y - x).sum(), y, retain_graph=True, create_graph=True)[0]
        return dy / slope


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_saved_output_has_its_history_in_backward(create_graph):
    x = rv.tensor([4.0, 9.0], requires_grad=True)
    y = Root.apply(x)
    for _ in range(2):
        (dx,) = rv.autograd.grad(y.sum(), x, retain_graph=True, create_graph=create_graph)
        assert dx.tolist() == [0.25, np.float32(1 / 6)]
    if create_graph:
        (second,) = rv.autograd.grad(dx.sum(), x, retain_graph=True)
        np.testing.assert_allclose(second.numpy(), [-1 / 32, -1 / 108], rtol=1e-6)
    with rv.no_grad():
        y.zero_()
    refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_an_output_that_forward_changes_in_place(late, create_graph):
    class Cubed(rv.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            y.mul_(1.0 if late else 3.0)
            ctx.save_for_backward(y)
            if late:
                y.mul_(3.0)
            return y

        @staticmethod
        def backward(ctx, dy):
            return dy * ctx.saved_tensors[0]

    x = rv.ones(2, requires_grad=True)
    (dx,) = rv.autograd.grad(Cubed.apply(x).sum(), x, create_graph=create_graph)
    assert dx.tolist() == [6, 6]


def test_outputs_without_gradient():
    seen = []

    class Parts(rv.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y, mask = x * 2, x.sign()
            ctx.mark_non_differentiable(mask)
            ctx.save_for_backward(mask)
            return y, mask

        @staticmethod
        def backward(ctx, dy, _):
            seen.append(ctx.saved_tensors[0].requires_grad)
            return dy * 2

    x = rv.ones(2, requires_grad=True)
    for create_graph in (False, True):
        rv.autograd.grad(Parts.apply(x)[0].sum(), x, create_graph=create_graph)
    assert seen == [False, False]

    class Ranks(rv.autograd.Function):
        forward = staticmethod(lambda ctx, x: x.argsort())

    assert not Ranks.apply(x).requires_grad  # integers


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

    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    pair = x, np.linspace(-1, 1, 6).reshape(2, 3)
    assert rv.autograd.gradcheck(Product.apply, pair)
    assert rv.autograd.gradgradcheck(Product.apply, pair)
