"""A backward of some inputs computes no gradient of others: autograd.grad(y, x), backward(inputs=x).

Those that it does compute have the bits of a backward of all inputs.
"""

import pytest
import ranvier as rv
from ranvier.tape.higher_order import RULES, rule_of
from support.functions import Function
from support.threads import in_threads

F = rv.nn.functional
SEVERAL = {  # a function, and the shapes of its inputs
    "add": (rv.add, (4, 3), (3,)),
    "mul": (rv.mul, (4, 3), (3,)),
    "matmul": (rv.matmul, (2, 3, 4), (4, 5)),
    "conv2d": (F.conv2d, (2, 3, 9, 9), (4, 3, 3, 3), (4,)),
    "conv_transpose2d": (F.conv_transpose2d, (2, 3, 5, 5), (3, 4, 3, 3), (4,)),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), (5, 4), (4,), (4,)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (5, 4), (4,), (4,)),
    "attention": (F.scaled_dot_product_attention, (2, 5, 4), (2, 5, 4), (2, 5, 4), (5, 5)),
    "bag": (lambda w, s: F.embedding_bag(BAGS, w, per_sample_weights=s, mode="sum"), (4, 3), (2, 2)),
}
BAGS = rv.tensor([[0, 1], [2, 1]])


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", SEVERAL)
def test_gradients_that_are_not_asked_for_are_not_computed(name, create_graph, monkeypatch):
    function, *shapes = SEVERAL[name]
    xs = [rv.randn(*shape, requires_grad=True) for shape in shapes]
    y, made = function(*xs), []
    kind, dy = type(y.grad_fn), rv.randn(*y.shape)

    def noting(backward):
        def noted(node, *dys, **namespace):
            made.append(backward(node, *dys, **namespace))
            return made[-1]

        return noted

    monkeypatch.setattr(kind, "backward", noting(kind.backward))
    monkeypatch.setitem(RULES, kind, noting(rule_of(y.grad_fn)))
    every = rv.autograd.grad(y, xs, dy, True, create_graph)
    for i, x in enumerate(xs):
        made.clear()
        (one,) = rv.autograd.grad(y, x, dy, True, create_graph)
        assert one.detach().numpy().tobytes() == every[i].detach().numpy().tobytes()
        assert {k for k, g in enumerate(made[0]) if g is not None} == {i}
        x.grad = None
        y.backward(dy, True, create_graph, inputs=x)
        assert x.grad.detach().numpy().tobytes() == one.detach().numpy().tobytes()
        assert sum(z.grad is not None for z in xs) == i + 1


def test_each_pass_has_its_own_needs():
    """In threads, and in a pass within another one, on the same nodes."""
    seen = []

    class Product(Function):
        def forward(self, a, b):
            self.a, self.b = a, b
            return a * b

        def backward(self, dy):
            seen.append(self.needs)
            if inner:
                rv.autograd.grad(y, inner.pop(), rv.ones(3), retain_graph=True)
                seen.append(self.needs)
            return dy * self.b if self.needs[0] else None, dy * self.a if self.needs[1] else None

    a, b = (rv.tensor(x, requires_grad=True) for x in ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))
    y, inner = Product().apply(a, b), [b]
    rv.autograd.grad(y, a, rv.ones(3), retain_graph=True)
    assert seen == [(True, False), (False, True), (True, False)]

    def passes(number):
        wanted, other = ((a, b), (b, a))[number % 2]
        for _ in range(200):
            (found,) = rv.autograd.grad(y, wanted, rv.ones(3), retain_graph=True)
            assert found.tolist() == other.tolist()

    in_threads(4, passes)
    y.backward(rv.ones(3))
    assert seen[-1] == (True, True)
