"""Calls as PyTorch takes them: the same values, dtypes and classes of errors here and there."""

from __future__ import annotations

import importlib
import inspect
import warnings

import numpy as np
import pytest
import ranvier as rv
from optim.problem import closure_of
from support.grouped import grouped

torch = pytest.importorskip("torch", reason="torch is not installed")


CALLS = """
torch.add(m, 2, m)
m.clone().add_(0.5, m)
torch.sub(m, 2, m)
torch.addcmul(m, 2, m, m)
torch.addcdiv(m, 2, m, m + 1)
torch.max(m, other=m * 2 - 3)
m.min(other=m * 2 - 3)
torch.arange(end=4)
torch.arange(start=1, end=4, step=2)
m.sum(axis=1, keepdims=True)
m.cumsum(axis=1)
m.argsort(axis=0, descending=True)
torch.sort(m, axis=0)[0]
torch.unsqueeze(m, axis=0)
torch.squeeze(m[:1], axis=0)
torch.softmax(m, axis=1)
torch.median(m, axis=1, keepdims=True)[0]
torch.full(size=(2,), fill_value=3.0)
m.split(split_size=2, dim=1)
m.permute(dims=(1, 0))
m.view(size=(3, 2))
m.view(torch.int32)
m.view(torch.float64) if m.shape[1] % 2 == 0 else 0
m.expand(size=(2, 2, 3))
m.repeat(repeats=(1, 2))
torch.tile(m, dims=(2,))
torch.cdist(m, m, compute_mode="use_mm_for_euclid_dist_if_necessary")
torch.isnan(input=m)
torch.numel(input=m)
torch.is_tensor(m)
m.new_zeros(size=(2, 2), layout=torch.strided)
m.new_full((2,), 7.0, pin_memory=False)
m.shape.numel(), m.shape[1:].numel(), isinstance(m.shape, torch.Size), m.shape == (2, 3)
m.storage_offset(), m[1].storage_offset(), m[:, 1:].storage_offset(), m[1:].stride()
[y.stride() for y in image.half().transpose(0, 3).max(1)], image.half().transpose(0, 3).amin((0, 1)).stride()
[y.stride() for y in (*image.int().transpose(0, 3).median(1), *image.half().transpose(0, 3).kthvalue(1, 2))]
image.is_contiguous(memory_format=torch.channels_last), image.is_contiguous()
image.contiguous(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
F.cross_entropy(m, torch.tensor([0, 2]), None, False)
F.nll_loss(m, torch.tensor([0, 2]), None, None, 2, None, "sum")
F.mse_loss(m, m + 1, True, False)
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


def rows(text):
    return [row.strip() for line in text.strip().splitlines() for row in line.split(" | ")]


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


@grouped("call", rows(CALLS))
def test_same_arguments(call):
    ours, theirs = result_of(call, "ranvier"), result_of(call, "torch")
    if hasattr(theirs, "numpy"):
        assert str(ours.dtype) == str(theirs.dtype)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    elif not isinstance(theirs, torch.Size):
        assert text(ours) == text(theirs)
    else:
        assert tuple(ours) == tuple(theirs)


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
def test_print_options(name):
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


def can_work_in_place(layer):
    """True if it is a layer that needs no argument and has the flag."""
    takes = inspect.signature(layer).parameters if isinstance(layer, type) else {}
    return "inplace" in takes and all(p.default is not p.empty for p in takes.values())


def test_texts_of_layers_in_place_and_distributions():
    for name in (name for name in rv.nn.__all__ if can_work_in_place(getattr(rv.nn, name))):
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


# Wrong calls beside PyTorch's: `except RuntimeError`, IndexError ... of a program catches ours, too.


KINDS = RuntimeError, IndexError, ValueError, TypeError
WRONG_CALLS = """
t.ones(2)[3] | t.ones(2)[0, 0] | t.ones(3)[t.tensor([5])] | t.ones(2)[t.ones(3).bool()] | setitem(t)
t.ones(3).item() | bool(t.ones(2)) | float(t.ones(2)) | len(t.tensor(1)) | t.ones(2).size(4)
t.eye(-1) | t.zeros(-1) | t.arange(0, 3, -1) | t.linspace(0, 1, -1) | t.randint(3, 3, (2,)) | t.ones("a")
t.tensor([[1, 2], [3]]) | t.tensor(None) | t.tensor([1], requires_grad=True) | t.arange(2).requires_grad_()
t.ones(2, requires_grad=True).numpy() | t.ones(2).backward() | t.ones(2, requires_grad=True).backward()
t.ones(2, requires_grad=True).add_(1) | t.autograd.grad(t.ones(1), t.ones(1)) | twice(t)
t.ones(2).add_(t.ones(3)) | t.ones(3).copy_(t.ones(2)) | t.arange(2).add_(0.5)
t.ones(2) & t.ones(2) | ~t.ones(2) | t.ones(2).double() @ t.ones(2) | t.ones(2) @ 3 | t.meshgrid()
t.linalg.inv(t.ones(2, 3)) | t.linalg.inv(t.zeros(2, 2)) | t.linalg.solve(t.zeros(2, 2), t.ones(2))
t.linalg.cholesky(-t.eye(2)) | t.linalg.eigh(t.ones(2, 3)) | t.cholesky(t.zeros(2, 2))
t.nn.Linear(3, 2)(t.ones(2, 2)) | t.nn.Linear(2, 2)(t.ones(2).double()) | t.nn.Linear(2, 2)(t.ones(2).long())
t.nn.Conv2d(3, 2, 3)(t.ones(1, 2, 5, 5)) | t.nn.Conv2d(3, 2, 3)(t.ones(1, 3, 2, 2))
t.nn.Conv2d(3, 2, 3)(t.ones(3, 5)) | t.nn.Conv1d(3, 2, 3)(t.ones(1, 2, 5))
t.nn.MaxPool2d(3)(t.ones(1, 1, 2, 2)) | t.nn.BatchNorm1d(3)(t.ones(2, 4)) | t.nn.BatchNorm2d(3)(t.ones(2, 3))
t.nn.LayerNorm(3)(t.ones(2, 4)) | t.nn.GroupNorm(2, 4)(t.ones(2, 3)) | t.nn.Embedding(3, 2)(t.tensor([5]))
t.nn.Embedding(3, 2)(t.ones(2)) | t.nn.LSTM(3, 2)(t.ones(2, 4, 5)) | t.nn.GRU(3, 2)(t.ones(4, 5))
t.nn.Fold(2, 2)(t.ones(1, 3, 4)) | t.nn.functional.nll_loss(t.ones(2, 3), t.ones(2))
t.nn.functional.mse_loss(t.ones(2), t.ones(3)) | t.nn.functional.l1_loss(t.ones(2), t.ones(3))
t.nn.functional.binary_cross_entropy(t.ones(2), t.ones(3)) | t.nn.Linear(2, 2).load_state_dict({})
t.nn.functional.binary_cross_entropy(t.ones(2) * 2, t.ones(2)) | t.nn.functional.dropout(t.ones(2), 2.0)
t.ones(2).to("nowhere") | t.device("nowhere") | t.set_default_dtype(t.int64) | t.finfo(t.int64)
"""  # for ops: tests/properties/test_refused.py


def twice(t):
    y = t.ones(2, requires_grad=True).exp().sum()
    y.backward()
    y.backward()


def setitem(t):
    t.ones(2)[:] = t.ones(3)


def raised(call, t):
    try:
        eval(call, {"t": t, "twice": twice, "setitem": setitem})
    except KINDS as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", rows(WRONG_CALLS))
def test_the_class_of_an_error(call):
    theirs = raised(call, torch)
    assert theirs is not None
    ours = raised(call, rv)
    assert [
        kind.__name__ for kind in KINDS if isinstance(theirs, kind) and not isinstance(ours, kind)
    ] == [], ours


# set_default_dtype beside PyTorch's: the dtype of each result of creations, operations and layers.


CREATIONS = """
t.tensor([1.5, 2]) | t.tensor(1.5) | t.tensor([]) | t.tensor([1, 2]) | t.tensor([True])
t.tensor([[1, 2.5]]) | t.as_tensor([1.5]) | t.as_tensor([np.float32(1)]) | t.tensor(np.ones(2, "f"))
t.tensor([np.float64(1)]) | t.Tensor([1, 2]) | t.Tensor(2, 3) | t.Tensor() | t.FloatTensor([1])
t.DoubleTensor([1]) | t.asarray([1.5]) | t.zeros(2) | t.ones(2) | t.empty(2) | t.rand(2) | t.randn(2)
t.eye(2) | t.full((2,), 1.5) | t.full((2,), 1) | t.arange(3) | t.arange(3.0) | t.arange(0, 1, 0.5)
t.linspace(0, 1, 3) | t.logspace(0, 1, 3) | t.zeros_like(t.tensor([1])) | t.rand_like(t.zeros(2))
t.randn(2, generator=t.Generator()) | t.scalar_tensor(2) | t.zeros(2, dtype=t.float32)
t.rand(2, dtype=t.float32) | t.randperm(3) | t.randint(3, (2,)) | t.normal(0.0, 1.0, (2,))
t.arange(3) * 0.5 | t.arange(3) + 1.5 | t.arange(3) ** 0.5 | t.arange(3) * 2 | 2.5 - t.arange(3)
t.zeros(2, dtype=t.float32) * 0.5 | t.zeros(2, dtype=t.float16) + 1.5 | t.tensor([True]) * 0.5
1 / t.arange(1, 3) | t.arange(3) / 2 | t.tensor(2) * 0.5 | t.tensor(2.5) * t.ones(1, dtype=t.float32)
t.where(t.tensor([True]), 1.5, 2.5) | t.where(t.tensor([True]), t.arange(1), 2.5)
t.nn.Parameter(t.zeros(2)) | t.result_type(t.arange(2), 1.5) | t.promote_types(t.int64, t.float32)
t.get_default_dtype() | t.nn.LazyLinear(3)(t.zeros(2, 4)) | t.nn.init.xavier_uniform_(t.empty(2, 2))
t.nn.init.orthogonal_(t.empty(2, 2)) | t.nn.utils.spectral_norm(t.nn.Linear(2, 3)).weight_u
"""  # for ops and layers: tests/properties/test_modes.py


@pytest.fixture(params=["float32", "float64"])
def both(request):
    for library in (rv, torch):
        library.set_default_dtype(getattr(library, request.param))
    yield
    for library in (rv, torch):
        library.set_default_dtype(library.float32)


def shown(value):
    return str(value if str(value).startswith("torch.") else value.dtype)


@pytest.mark.parametrize("call", rows(CREATIONS))
def test_results(both, call):
    expected = shown(eval(call, {"t": torch, "np": np}))
    assert shown(eval(call, {"t": rv, "np": np})) == expected


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "LBFGS"])
def test_a_step_of_training(both, name):
    def losses(t):
        layer = t.nn.Linear(3, 1)
        layer.load_state_dict({"weight": t.tensor([[0.5, -0.25, 1]]), "bias": t.tensor([0.1])})
        optimizer = getattr(t.optim, name)(layer.parameters(), lr=0.1)
        scheduler = t.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        x, out = t.linspace(-1, 1, 12).reshape(4, 3), []

        def loss():
            return (layer(x) - t.arange(4).reshape(4, 1) / 3).square().mean()

        for _ in range(4):
            out.append(optimizer.step(closure_of(optimizer, loss)))
            scheduler.step()
        return out

    ours, theirs = losses(rv), losses(torch)
    assert [shown(x) for x in ours] == [shown(x) for x in theirs]
    tolerance = 1e-12 if rv.get_default_dtype() is rv.float64 else 1e-5
    np.testing.assert_allclose([x.item() for x in ours], [x.item() for x in theirs], rtol=tolerance)
