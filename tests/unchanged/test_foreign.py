"""Objects of other libraries that take over calls of torch, and `out=`."""

import importlib
import pickle
import sys
import types

import pytest
import ranvier as rv
from ranvier.torch import IN_PLACE
from ranvier.torch.dispatch import public
from support.refused import refused


class Diagonal:
    """A matrix of another library, which answers for itself."""

    def __init__(self, values):
        self.values = values

    @classmethod
    def __torch_function__(cls, function, kinds, args=(), settings=None):
        assert kinds == (cls,)
        if function is add:
            return "added", args[1], settings
        if function is matmul:
            return args[0] * args[1].values
        return NotImplemented


add, matmul = public(rv.add, "add"), public(rv.matmul, "matmul")
total = public(rv.sum, "sum")


def test_a_refused_call_goes_to_the_class_of_an_argument():
    d = Diagonal(rv.tensor([1.0, 2.0]))
    assert add(d, 3, alpha=2) == ("added", 3, {"alpha": 2})
    assert matmul(rv.ones(3, 2), d).tolist() == [[1.0, 2.0]] * 3
    refused(TypeError, "[sum] got Diagonal", total, d)
    refused(TypeError, "[add] got object", add, rv.ones(1), object())
    assert add(rv.ones(1), 1).item() == 2
    assert public(rv.add, "add") is add  # tables of other libraries have it as a key


def test_out():
    y = rv.zeros(2)
    assert total(rv.ones(3, 2), 0, out=y) is y
    assert y.tolist() == [3.0, 3.0]
    assert public(rv.norm, "norm")(rv.ones(4, 2), dim=0, out=y) is y
    assert y.tolist() == [2.0, 2.0]
    empty = rv.zeros(0)
    assert total(rv.ones(3, 2), 0, out=empty) is empty
    assert empty.tolist() == [3.0, 3.0]
    x = rv.rand(50, 2).bfloat16()
    for name in ("sum", "mean", "prod", "cumsum", "std"):  # in the dtype of out, rounded once
        op = getattr(rv, name)
        found = public(op, name)(x, 0, out=rv.zeros(0))
        assert found.tolist() == op(x.float(), 0).tolist()
    places = rv.zeros(2, dtype=rv.int64)
    greatest = public(rv.max, "max")(rv.tensor([[1.0, 4.0], [3.0, 2.0]]), 0, out=(y, places))
    assert greatest.values is y
    assert greatest.indices is places
    assert (y.tolist(), places.tolist()) == ([3.0, 4.0], [1, 0])
    with pytest.warns(UserWarning, match=r"\[sum\] got out of shape \(2,\); it is resized to \(\)"):
        assert total(rv.ones(3), out=y) is y
    assert y.tolist() == 3.0
    refused(RuntimeError, "[sum] got out in a call with gradients", total,
            rv.ones(3, 2, requires_grad=True), 0, out=y)  # fmt: skip


def test_the_modules_have_them(monkeypatch):
    module = types.ModuleType("torch")
    module.__spec__ = IN_PLACE.find_spec("torch")
    module.__spec__.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "torch", module)
    assert module.add is add
    assert module.relu.__wrapped__ is rv.relu
    assert pickle.loads(pickle.dumps(module.add)) is add
    assert module.sigmoid_(rv.zeros(1)).item() == 0.5
    assert not hasattr(module, "nothing_")


def test_modules_that_libraries_go_through(monkeypatch):
    """pyro makes a subclass of each class in torch.distributions.__dict__."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"}
    monkeypatch.setattr(sys, "meta_path", [IN_PLACE, *sys.meta_path])
    try:
        for name in before:
            del sys.modules[name]
        whole = vars(importlib.import_module("torch.distributions"))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
            del sys.modules[name]
        sys.modules.update(before)
    assert whole["Normal"] is rv.distributions.Normal
    kind = type("Own", (whole["Kumaraswamy"],), {})
    refused(NotImplementedError, "[torch.distributions.Kumaraswamy] ranvier leaves it out", kind, 1.0, 1.0)
    assert not hasattr(rv.distributions, "Kumaraswamy")


def test_a_step_with_them_is_recorded():
    step = rv.compile(lambda x: add(x, x).exp().sum())
    for k in range(5):
        assert step(rv.ones(2) * k).item() == pytest.approx(2 * rv.tensor(2.0 * k).exp().item())
