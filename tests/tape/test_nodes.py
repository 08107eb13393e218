"""Nodes of the tape as programs see them: their links, their attributes, their hooks.

Names, order and values are those that PyTorch shows for the same program.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.tape.hooks import RemovableHandle
from ranvier.tape.nodes import AccumulateGrad, Node, get_gradient_edge
from support.refused import refused


class Pair(rv.autograd.Function):
    """A product and a sum: two outputs of one node."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.k = 5
        ctx.save_for_backward(a, b)
        return a * b, a + b

    @staticmethod
    def backward(ctx, dy, dz):
        a, b = ctx.saved_tensors
        return dy * b + dz, dy * a + dz


def leaves():
    return rv.tensor([1.0, 2.0], requires_grad=True), rv.tensor([3.0, 4.0], requires_grad=True)


def test_links_lead_to_the_leaves():
    x, w = leaves()
    y = (x * w).exp()
    ((product, number),) = y.grad_fn.next_functions
    assert (y.grad_fn.name(), product.name(), number) == ("ExpBackward0", "MulBackward0", 0)
    assert [n.variable is leaf for (n, _), leaf in zip(product.next_functions, (x, w), strict=True)] == [
        True
    ] * 2
    (first, _), (second, _) = (x + x).grad_fn.next_functions
    assert first == second == AccumulateGrad(x), "one node for one leaf"
    assert len({first, second, AccumulateGrad(w)}) == 2
    assert (first.next_functions, first.name()) == ((), "torch::autograd::AccumulateGrad")
    assert (x * w.detach()).grad_fn.next_functions[1] == (None, 0)
    assert [isinstance(n, Node) for n in (product, first, x)] == [True, True, False]


def test_outputs_of_one_call_have_one_node_which_is_the_context():
    x, w = leaves()
    y, z = Pair.apply(x, w)
    assert y.grad_fn is z.grad_fn
    assert (y.output_nr, z.output_nr, x.output_nr) == (0, 1, 0)
    assert (y.grad_fn.k, y.grad_fn.name(), y.grad_fn.needs_input_grad) == (5, "PairBackward", (True, True))
    assert y.grad_fn.saved_tensors[1] is w
    y.grad_fn.metadata["a"] = 1
    assert z.grad_fn.metadata == {"a": 1}
    assert (y * z).grad_fn.next_functions == ((y.grad_fn, 0), (y.grad_fn, 1))
    with pytest.raises(AttributeError):
        y.grad_fn.nothing  # noqa: B018
    z.sum().backward()
    refused(RuntimeError, "a second time", y.sum().backward)
    assert y.grad_fn.k == 5
    a, b = rv.unbind(rv.ones(2, 2, requires_grad=True) * 2)
    assert a.grad_fn is b.grad_fn


def test_a_function_that_saves_no_tensor_runs_backward_again():
    class Twice(rv.autograd.Function):
        @classmethod
        def forward(cls, ctx, x):
            ctx.k = 2.0
            return x * 2

        def backward(ctx, dy):
            return dy * ctx.k

    x, _ = leaves()
    y = Twice.apply(x)
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_nodes_come_after_those_of_tensors(create_graph):
    x, w = leaves()
    y = x * w
    seen = []

    def after(gradients_in, gradients_out):
        seen.append(("after", [g.tolist() for g in gradients_in], gradients_out[0].tolist()))
        return gradients_in[0] * 10, gradients_in[1]

    y.register_hook(lambda g: seen.append("tensor"))
    handle = y.grad_fn.register_hook(after)
    y.grad_fn.register_prehook(lambda gradients: (gradients[0] * 2,))
    leaf = AccumulateGrad(x)
    leaf.register_hook(lambda made, given: seen.append((made, given[0].tolist(), x.grad.tolist())))
    leaf.register_prehook(lambda given: (given[0] + 1,))
    y.sum().backward(retain_graph=True, create_graph=create_graph)
    after_y = ("after", [[6.0, 8.0], [2.0, 4.0]], [2.0, 2.0])
    assert seen == ["tensor", after_y, ((), [61.0, 81.0], [61.0, 81.0])]
    assert w.grad.tolist() == [2.0, 4.0]
    handle.remove()
    (dx,) = rv.autograd.grad(y.sum(), x)
    assert dx.tolist() == [6.0, 8.0], "grad ends before the node of the leaf"


def test_hooks_of_a_node_with_several_outputs():
    x, w = leaves()
    y, z = Pair.apply(x, w)
    y.grad_fn.register_prehook(lambda given: (given[0], given[1] * 2))
    (y.sum() + z.sum()).backward()
    assert x.grad.tolist() == [5.0, 6.0]
    wrong = Pair.apply(x, w)[0]
    wrong.grad_fn.register_hook(lambda made, given: made[:1])
    refused(RuntimeError, "got 1 gradients from the hook; expected 2", wrong.sum().backward)


def test_a_hook_may_give_a_gradient_attributes():
    x, _ = leaves()
    relu, seen = rv.nn.ReLU(), []
    relu.register_full_backward_hook(lambda m, dx, dy: seen.append(dy[0].mark))
    y = relu(x * 1)

    def mark(gradient):
        gradient = gradient * 2
        gradient.mark = 1
        return gradient

    def grow(gradient):
        gradient.mark += 1
        seen.append(rv.is_grad_enabled())

    y.register_hook(mark)
    y.register_hook(grow)
    y.sum().backward()
    assert seen == [False, 2]
    assert not hasattr(x.grad, "mark")


def test_a_gradient_edge_stands_for_its_tensor():
    x, w = leaves()
    _, z = Pair.apply(x, w)
    edge = get_gradient_edge(z)
    node, number = edge
    assert (node, number) == (z.grad_fn, 1)
    dz, dx = rv.autograd.grad((z * z).sum(), [edge, get_gradient_edge(x)])
    assert dz.tolist() == dx.tolist() == [8.0, 12.0]
    refused(RuntimeError, "requires no gradient", get_gradient_edge, rv.ones(1))


def test_a_handle_of_the_callers_own_dictionaries():
    hooks, settings = {}, {}
    handle = RemovableHandle(hooks, extra_dict=settings)
    hooks[handle.id] = settings[handle.id] = True
    with handle:
        assert len(hooks) == 1
    assert hooks == settings == {}


def test_many_roots_take_time_in_proportion():
    """Each root was compared with all others; a thousand took a second."""
    x = rv.tensor(np.ones(3000, np.float32), requires_grad=True)
    (dx,) = rv.autograd.grad(rv.unbind(x * 2), x)
    assert dx.tolist() == [2.0] * 3000


def test_no_op_has_an_attribute_in_place_of_a_method_of_nodes():
    x = rv.tensor([[2.0, 0.5], [0.5, 1.0]], requires_grad=True)
    made = [
        rv.linalg.inv(x),
        rv.linalg.eigh(x)[0],
        rv.linalg.svd(x)[1],
        rv.linalg.cholesky(x),
        rv.linalg.pinv(x),
    ]
    made.append(rv.linalg.solve_triangular(x, x, upper=True))
    assert all(y.grad_fn.name().endswith("Backward0") for y in made)
