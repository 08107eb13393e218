"""Arguments that PyTorch takes, and what is refused; beside PyTorch: tests/differential/test_arguments.py."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn.arguments import arguments_of
from support.refused import refused

REFUSED = [
    lambda m: m.sum(0, 1),
    lambda m: rv.zeros(2, foo=1),
    lambda m: rv.nn.functional.cross_entropy(m, rv.tensor([0, 2]), size=2),
    lambda m: m.is_contiguous(memory_format="sparse"),
]


@pytest.mark.parametrize("call", REFUSED)
def test_refused_arguments(call):
    with pytest.raises((TypeError, ValueError)):
        call(rv.arange(6.0).reshape(2, 3))


def test_differentiable_steps_are_refused():
    with pytest.raises(ValueError, match=r"\[adam\] got differentiable=True; expected False"):
        rv.optim.Adam([rv.ones(1, requires_grad=True)], differentiable=True)


def test_a_generator_decides_the_values_of_init():
    for name in ("uniform_", "normal_", "xavier_normal_", "kaiming_uniform_", "orthogonal_", "trunc_normal_"):
        fill = getattr(rv.nn.init, name)
        a, b, c = (fill(rv.empty(3, 4), generator=rv.Generator().manual_seed(s)) for s in (3, 3, 4))
        assert rv.equal(a, b)
        assert not rv.equal(a, c)


def test_backward_of_several():
    x = rv.tensor([1.0, 2.0], requires_grad=True)
    rv.autograd.backward([x * 2, x.sum()], grad_tensors=[rv.ones(2), None])
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="got 2 tensors and 1 gradients"):
        rv.autograd.backward([x.sum(), x.sum()], [rv.ones(1)])


def test_wrong_print_options():
    for wrong in ({"profile": "long"}, {"precision": -1}):
        refused(ValueError, "[set_printoptions] got pr", rv.set_printoptions, **wrong)


def test_new_shapes_in_place():
    x = rv.arange(6).reshape(2, 3)
    row = x[0]
    assert x.t_() is x
    x.add_(1)
    assert x.shape == (3, 2)
    assert row.tolist() == [1, 2, 3]  # the same memory
    assert x.unsqueeze_(0).transpose_(0, 1).shape == (3, 1, 2)
    assert x.squeeze_().shape == (3, 2)
    w = rv.ones(2, 3, requires_grad=True)
    refused(RuntimeError, "[unsqueeze_] a leaf Variable that requires grad", w.unsqueeze_, 0)
    y = w * 2
    y.unsqueeze_(0).mul_(y.detach()).transpose_(1, 2)  # 4 w^2 as (1, 3, 2)
    y[0, 0] *= 5
    (row := y[0, 1]).unsqueeze_(0).mul_(3)
    assert row.shape == (1, 2)
    y.squeeze_()
    row.mul_(10)  # changes y, whose shape is another since
    y.sum().backward()
    assert w.grad.tolist() == [[20.0, 120.0, 4.0]] * 2
    with rv.no_grad(), pytest.raises(RuntimeError, match=r"\[t_\] got a Tensor with a history under no_grad"):
        y.t_()


def test_gumbel_softmax():
    logits = rv.tensor([[0.0, 1.0, 2.0]]).expand(50_000, 3)
    rv.manual_seed(0)
    hard = rv.nn.functional.gumbel_softmax(logits, hard=True)
    assert hard.sum(1).tolist() == [1.0] * 50_000
    want = rv.softmax(logits[0], 0).numpy()
    np.testing.assert_allclose(hard.mean(0).numpy(), want, atol=0.01)  # 4 standard errors
    rv.manual_seed(1)
    soft = rv.nn.functional.gumbel_softmax(logits, tau=1e-3)
    assert (soft.max(1).values > 0.9).float().mean() > 0.99
    x = rv.tensor([[1.0, 2.0, 0.5]], requires_grad=True)
    found = []
    for hard in (False, True):  # the gradient is that of the soft sample
        rv.manual_seed(2)
        y = rv.nn.functional.gumbel_softmax(x, 0.7, hard)
        found.append(rv.autograd.grad((y * rv.tensor([1.0, -1.0, 3.0])).sum(), x)[0].numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_results_in_another_tensor():
    a, b = rv.tensor([[1.0, 2.0], [3.0, 5.0]]), rv.tensor([[4.0, 8.0], [2.0, 10.0]])
    for op, settings in ((rv.add, {"alpha": 2}), (rv.sub, {}), (rv.mul, {}), (rv.div, {}), (rv.matmul, {})):
        out = rv.zeros(2, 2)
        row = out[0]
        assert op(a, b, out=out, **settings) is out
        assert out.tolist() == op(a, b, **settings).tolist()
        assert row.tolist() == out[0].tolist()  # the same memory
    assert rv.mul(a, a, out=a).tolist() == [[1.0, 4.0], [9.0, 25.0]]
    for error, text, out in (
        (ValueError, "got out of shape (2,); expected a Tensor of shape (2, 2)", rv.zeros(2)),
        (ValueError, "got out of ndarray; expected a Tensor of shape", np.zeros((2, 2))),
        (RuntimeError, "got out and tensors that require gradients", rv.zeros(2, 2, requires_grad=True)),
        (RuntimeError, "got a result of dtype float32 for a tensor of int64", rv.zeros(2, 2, dtype=rv.int64)),
    ):
        refused(error, f"[add] {text}", rv.add, a, b, out=out)


def test_weight_of_an_embedding():
    table = rv.rand(3, 2)
    for layer in (rv.nn.Embedding(3, 2, _weight=table), rv.nn.EmbeddingBag(3, 2, _weight=table, mode="sum")):
        np.testing.assert_array_equal(layer(rv.tensor([[1]])).detach().numpy().ravel(), table[1].numpy())
        assert "_weight" not in arguments_of(layer)
    for kind in (rv.nn.Embedding, rv.nn.EmbeddingBag):
        for freeze in (True, False):
            assert kind.from_pretrained(table, freeze=freeze).weight.requires_grad is not freeze
        with pytest.raises(ValueError, match=r"got embeddings of shape \(3,\); expected 2 dimensions"):
            kind.from_pretrained(table[:, 0])
        refused(ValueError, "got _weight of shape (3, 2); expected (4, 2)", kind, 4, 2, _weight=table)


def test_compile_takes_pytorchs_settings():
    x = rv.ones(2, 3)
    model = rv.nn.Linear(3, 1).eval()
    assert rv.equal(rv.compile(model, mode="reduce-overhead", fullgraph=True)(x), model(x))
    assert rv.compile(model, disable=True) is model

    @rv.compile(backend="eager", dynamic=False)
    def step(x):
        return (x * 2).sum()

    assert [step(x).item() for _ in range(3)] == [12.0] * 3
    assert rv.compile(disable=True)(abs) is abs
