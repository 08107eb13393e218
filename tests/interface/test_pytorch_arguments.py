"""Arguments as PyTorch takes them: each call gives the same text, shape or value here and there."""

from __future__ import annotations

import importlib
import re
import warnings

import numpy as np
import pytest
import ranvier as rv
from support.grouped import grouped

CALLS = """
torch.add(m, 2, m)
m.clone().add_(0.5, m)
torch.sub(m, 2, m)
torch.addcmul(m, 2, m, m)
torch.addcdiv(m, 2, m, m + 1)
torch.add(input=m, other=m, alpha=3)
torch.max(m, other=m * 2 - 3)
m.min(other=m * 2 - 3)
torch.arange(end=4)
torch.arange(start=1, end=4, step=2)
torch.sum(input=m, dim=[0, 1])
m.sum(axis=1, keepdims=True)
m.cumsum(axis=1)
m.argsort(axis=0, descending=True)
torch.sort(m, axis=0)[0]
torch.unsqueeze(m, axis=0)
torch.squeeze(m[:1], axis=0)
torch.softmax(m, axis=1)
torch.log_softmax(input=m, dim=1, dtype=torch.float64)
torch.median(m, axis=1, keepdims=True)[0]
torch.full(size=(2,), fill_value=3.0)
torch.gather(m, 1, torch.zeros(2, 1, dtype=torch.long), sparse_grad=False)
torch.split(m, split_size_or_sections=1, dim=1)
m.split(split_size=2, dim=1)
torch.reshape(input=m, shape=(3, 2))
m.permute(dims=(1, 0))
m.view(size=(3, 2))
m.view(torch.int32)
m.view(torch.float64) if m.shape[1] % 2 == 0 else 0
m.expand(size=(2, 2, 3))
m.repeat(repeats=(1, 2))
torch.tile(m, dims=(2,))
torch.flip(m, dims=[1])
torch.swapaxes(m, 0, 1)
torch.cdist(m, m, compute_mode="use_mm_for_euclid_dist_if_necessary")
torch.allclose(input=m, other=m + 1e-6, rtol=1e-3)
torch.isnan(input=m)
torch.numel(input=m)
torch.is_tensor(m)
torch.where(condition=m > 1, input=m, other=0.0)
torch.randint_like(m, high=1)
m.new_zeros(size=(2, 2), layout=torch.strided)
m.new_full((2,), 7.0, pin_memory=False)
m.shape.numel(), m.shape[1:].numel(), isinstance(m.shape, torch.Size), m.shape == (2, 3)
m.storage_offset(), m[1].storage_offset(), m[:, 1:].storage_offset(), m[1:].stride()
image.is_contiguous(memory_format=torch.channels_last), image.is_contiguous()
image.contiguous(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
F.softmax(input=m, dim=1)
F.cross_entropy(input=m, target=torch.tensor([0, 2]), weight=torch.ones(3))
F.cross_entropy(m, torch.tensor([0, 2]), None, False)
F.nll_loss(m, torch.tensor([0, 2]), None, None, 2, None, "sum")
F.mse_loss(m, m + 1, True, False)
F.interpolate(input=image, scale_factor=2).shape
F.pad(input=m, pad=(1, 1), mode="constant", value=2)
nn.CrossEntropyLoss()(input=m, target=torch.tensor([0, 2]))
nn.BCELoss(None, False)(m / 9, m / 9)
nn.ReLU()(input=m)
nn.Sequential(nn.ReLU(), nn.Flatten())(input=m)
nn.init.normal_(torch.zeros(3), generator=torch.Generator().manual_seed(1)).shape
nn.Linear(2, 3).load_state_dict(state_dict=nn.Linear(2, 3).state_dict(), strict=True)
sorted(nn.Linear(2, 3).state_dict(destination={"a": 1}, prefix="p."))
sum(1 for _ in nn.Sequential(relu, relu).modules(remove_duplicate=False))
nn.Sequential(nn.ReLU()).get_submodule(target="0")
nn.ReLU().apply(fn=lambda layer: None)
"""
REFUSED = """
m.sum(0, 1)
torch.zeros(2, foo=1)
F.cross_entropy(m, torch.tensor([0, 2]), size=2)
m.is_contiguous(memory_format="sparse")
"""


def lines(text):
    return text.strip().split("\n")


def result_of(call, library):
    torch = importlib.import_module(library)
    nn = importlib.import_module(f"{library}.nn")
    names = {"torch": torch, "nn": nn, "F": importlib.import_module(f"{library}.nn.functional")}
    names |= {"m": torch.arange(6.0).reshape(2, 3), "image": torch.arange(24.0).reshape(1, 2, 3, 4)}
    names["relu"] = nn.ReLU()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(call, names)


def text(value):
    named = repr(value).replace("torch.Size([", "(").replace("])", ")")
    return " ".join(named.split()).replace(",)", ")")


@grouped("call", lines(CALLS))
def test_same_arguments(call, torch):
    ours, theirs = result_of(call, "ranvier"), result_of(call, "torch")
    if hasattr(theirs, "numpy"):
        assert str(ours.dtype) == str(theirs.dtype)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    elif not isinstance(theirs, torch.Size):
        assert text(ours) == text(theirs)
    else:
        assert tuple(ours) == tuple(theirs)


@pytest.mark.parametrize("call", lines(REFUSED))
def test_refused_arguments(call):
    with pytest.raises((TypeError, ValueError)):
        result_of(call, "ranvier")


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


PRINTED = {
    "precision": {"precision": 2},
    "threshold": {"threshold": 10, "edgeitems": 2},
    "width": {"linewidth": 40},
    "powers": {"sci_mode": True},
    "no powers": {"sci_mode": False},
    "short": {"profile": "short"},
    "full": {"profile": "full"},
    "changed profile": {"profile": "short", "precision": 6},
}


@pytest.mark.parametrize("name", PRINTED)
def test_print_options(name, torch):
    values = [np.linspace(-1, 1, 50), np.arange(24.0).reshape(4, 6), np.array([1e-6, 1.0]), np.arange(2000)]
    values += [np.array([1e9, 3.0]), np.array([0.0, np.nan]), np.array([1.0, np.inf, 2.5])]
    try:
        for library in (rv, torch):
            library.set_printoptions(**PRINTED[name])
        for value in values:
            for settings in ({}, {"requires_grad": True}):
                pair = (library.tensor(value, dtype=library.float32, **settings) for library in (rv, torch))
                assert len({*map(repr, pair)}) == 1
        assert repr(rv.ones(2).double()) == repr(torch.ones(2).double())
    finally:
        for library in (rv, torch):
            library.set_printoptions(profile="default")


def test_wrong_print_options():
    for wrong in ({"profile": "long"}, {"precision": -1}):
        with pytest.raises(ValueError, match=r"\[set_printoptions\] got pr"):
            rv.set_printoptions(**wrong)


IN_PLACE = "CELU Dropout ELU Hardsigmoid Hardswish Hardtanh LeakyReLU Mish RReLU ReLU ReLU6 SELU SiLU"


def test_texts_of_layers_in_place_and_distributions(torch):
    for name in IN_PLACE.split():
        ours, theirs = (getattr(library.nn, name)(inplace=True) for library in (rv, torch))
        assert repr(ours) == repr(theirs)
    for make in (
        lambda d, t: d.Normal(0.0, 1.5),
        lambda d, t: d.Categorical(t.ones(3)),
        lambda d, t: d.Categorical(logits=t.ones(2, 3)),
        lambda d, t: d.Bernoulli(t.tensor([0.5])),
        lambda d, t: d.Uniform(t.zeros(2), t.ones(2)),
        lambda d, t: d.Independent(d.Normal(t.zeros(3), t.ones(3)), 1),
        lambda d, t: d.Poisson(2.0),
    ):
        assert text(make(rv.distributions, rv)) == text(make(torch.distributions, torch))


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
    with pytest.raises(RuntimeError, match=r"\[unsqueeze_\] a leaf Variable that requires grad"):
        w.unsqueeze_(0)
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
        with pytest.raises(error, match=re.escape(f"[add] {text}")):
            rv.add(a, b, out=out)


def test_weight_of_an_embedding():
    table = rv.rand(3, 2)
    for layer in (rv.nn.Embedding(3, 2, _weight=table), rv.nn.EmbeddingBag(3, 2, _weight=table, mode="sum")):
        np.testing.assert_array_equal(layer(rv.tensor([[1]])).detach().numpy().ravel(), table[1].numpy())
        assert "_weight" not in layer.config()
    for kind in (rv.nn.Embedding, rv.nn.EmbeddingBag):
        for freeze in (True, False):
            assert kind.from_pretrained(table, freeze=freeze).weight.requires_grad is not freeze
        with pytest.raises(ValueError, match=r"got embeddings of shape \(3,\); expected 2 dimensions"):
            kind.from_pretrained(table[:, 0])
        with pytest.raises(ValueError, match=r"got _weight of shape \(3, 2\); expected \(4, 2\)"):
            kind(4, 2, _weight=table)


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
