"""func.functional_call, which calls a module with other parameters: the same cases with this library and with
PyTorch, where it is installed, and some with expected values.

Each case is a function of the library T and its `func` F; it returns a tree of tensors, numbers and text,
which `text` (trees.py) makes comparable.
"""

import importlib
import threading

import numpy as np
import pytest
import ranvier as rv
from func.trees import text
from ranvier import func
from support.refused import refused


def counter(T):
    """A module that counts its calls in a buffer, with a scale and two layers that share a weight."""

    class Counting(T.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", T.zeros(()))
            self.register_buffer("last", T.zeros(()), persistent=False)
            self.scale = T.nn.Parameter(T.tensor(2.0))
            self.inner = T.nn.Sequential(T.nn.Linear(2, 2, bias=False), T.nn.Linear(2, 2, bias=False))
            self.inner[1].weight = self.inner[0].weight

        def forward(self, x, fail=False):
            self.calls.add_(1)
            self.last = x.sum()
            if fail:
                raise KeyError("fail")
            return self.inner(x) * self.scale

    model = Counting()
    with T.no_grad():
        model.inner[0].weight.copy_(T.tensor([[1.0, 2.0], [3.0, 4.0]]))
    return model


def replaced(T, F):
    """A parameter and buffers replaced: values, gradients, what is written to the buffers; the module keeps
    its own."""
    model, x = counter(T), T.tensor([[1.0, 2.0]])
    own = dict(model.named_parameters())
    w = (T.eye(2) * 3).requires_grad_()
    buffers = {"calls": T.zeros(()), "last": T.zeros(())}
    calls = buffers["calls"]
    y = F.functional_call(model, ({"inner.0.weight": w}, buffers), x)
    y.sum().backward()
    single = {"last": T.zeros(()), "scale": T.tensor(5.0)}
    z = F.functional_call(model, single, (), {"x": x})
    same = all(a is b for a, b in zip(own.values(), dict(model.named_parameters()).values(), strict=True))
    return y, w.grad, calls, z, single, model.calls, model.last, same, model.scale.grad


def put_back(T, F):
    """After an error in forward the module has its own parameters again."""
    model = counter(T)
    scale, given = model.scale, {"scale": T.tensor(1.0), "calls": T.zeros(())}
    with pytest.raises(KeyError):
        F.functional_call(model, given, T.ones(1, 2), {"fail": True})
    return (
        model.scale is scale,
        [name for name, _ in model.named_parameters()],
        given,
        model.calls,
        model.last,
    )


def tied(T, F):
    """Two layers share a weight: one name replaces both, two names must agree, or tie_weights=False."""
    model, x, w, v = counter(T), T.ones(1, 2), T.eye(2), T.ones(2, 2)
    names = ("inner.0.weight", "inner.1.weight")
    one = [F.functional_call(model, {name: w}, x) for name in names]
    both = F.functional_call(model, dict.fromkeys(names, w), x)
    apart = F.functional_call(model, dict(zip(names, (w, v), strict=True)), x, tie_weights=False)
    refused(ValueError, "tied", F.functional_call, model, dict(zip(names, (w, v), strict=True)), x)
    return one, both, apart


def strictly(T, F):
    """strict=True refuses missing and unknown names; else the module has its own, and unknown ones are added
    for the call."""
    model, x = T.nn.Linear(2, 1), T.ones(1, 2)
    full = {"weight": T.ones(1, 2), "bias": T.ones(1)}
    for given in ({"weight": x}, {**full, "other": x}):
        with pytest.raises(RuntimeError):
            F.functional_call(model, given, x, strict=True)
    given = {**full, "other": x}
    return (
        F.functional_call(model, full, x, strict=True),
        F.functional_call(model, given, x),
        hasattr(model, "other"),
    )


def batch_norm(T, F):
    """Running statistics are written to the given tensors, not to the module."""
    model, x = T.nn.BatchNorm1d(2), T.tensor([[1.0, 2.0], [3.0, 8.0]])
    given = {name: value.clone() for name, value in model.state_dict().items()}
    loss = lambda p, rest: (F.functional_call(model, {**rest, **p}, x) ** 3).sum()  # noqa: E731
    g = F.grad(loss)({"weight": T.ones(2)}, given)
    return g, given["running_mean"], given["num_batches_tracked"].item(), model.running_mean


def by_parameters(T, F):
    """Gradients and a Hessian by the parameters of a network; a parametrized one."""
    model = T.nn.Sequential(T.nn.Linear(2, 2), T.nn.Tanh(), T.nn.Linear(2, 1))
    parametrize = importlib.import_module(f"{T.__name__}.nn.utils.parametrize")
    parametrize.register_parametrization(model[2], "weight", T.nn.Tanh())
    given = {name: T.linspace(-1, 1, p.numel()).reshape(p.shape) for name, p in model.named_parameters()}
    loss = lambda p, x: (F.functional_call(model, p, (x,)) ** 2).mean()  # noqa: E731
    x = T.tensor([[1.0, 2.0], [0.5, -1.0]])
    grads, value = F.grad_and_value(loss)(given, x)
    return grads, value, value.requires_grad, F.hessian(loss)(given, x), [p.grad for p in model.parameters()]


CALLS = [replaced, put_back, tied, strictly, batch_norm, by_parameters]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # in its first forward mode
@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.__name__)
def test_functional_call_as_pytorchs(case, torch):
    assert text(case(rv, func)) == text(case(torch, torch.func))


def test_functional_call():
    assert repr(text(tied(rv, func))) == "([[[2.0, 2.0]], [[2.0, 2.0]]], [[2.0, 2.0]], [[4.0, 4.0]])"
    assert text(put_back(rv, func))[0] is True
    assert text(put_back(rv, func))[2:] == ({"scale": 1.0, "calls": 1.0}, 0.0, 2.0)
    y, grad, *rest = text(replaced(rv, func))
    assert (y, grad) == ([[18.0, 36.0]], [[12.0, 24.0], [12.0, 24.0]])
    assert rest == [1.0, [[135.0, 295.0]], {"last": 3.0, "scale": 5.0}, 1.0, 0.0, True, 27.0]
    assert text(batch_norm(rv, func))[1:] == ([0.2, 0.5], 1, [0.0, 0.0])


def test_functional_call_refuses():
    layer, x = rv.nn.Linear(2, 1), rv.ones(1, 2)
    call = func.functional_call
    refused(TypeError, "got int; expected a dict", call, layer, 3, x)
    refused(TypeError, "expected a dict, or a tuple of dicts", call, layer, ({}, 3), x)
    refused(ValueError, "in several dicts", call, layer, ({"bias": rv.ones(1)}, {"bias": rv.ones(1)}), x)
    refused(TypeError, "got float for 'weight'", call, layer, {"weight": 3.0}, x)
    refused(TypeError, "got Tensor for 3", call, layer, {3: x}, x)
    refused(TypeError, "got 'in_features'; expected the name", call, layer, {"in_features": x}, x)
    refused(AttributeError, "has no layer 'other'", call, layer, {"other.weight": x}, x)
    assert isinstance(layer.weight, rv.nn.Parameter)


def test_compiled_calls_see_what_changes():
    """The given values and those of the module are compared before each replay; buffers change."""
    model = rv.nn.Sequential(rv.nn.BatchNorm1d(3), rv.nn.Linear(3, 2))
    given = {name: value.detach().clone() for name, value in model.state_dict().items() if name != "1.bias"}
    model.requires_grad_(False)
    compiled = rv.compile(lambda x: func.functional_call(model, given, x))
    changes = {
        7: lambda: given["1.weight"].mul_(2),
        10: lambda: given.update({"1.weight": rv.randn(2, 3)}),
        13: lambda: model[1].bias.mul_(5),
        15: lambda: given.pop("1.weight"),
        17: lambda: model[1].weight.mul_(3),
        19: lambda: model.eval(),
    }
    for i in range(22):
        changes.get(i, lambda: None)()
        x, before = rv.randn(5, 3), {name: value.clone() for name, value in given.items()}
        assert text(compiled(x)) == text(func.functional_call(model, before, x)), i
        assert text(given) == text(before), i
    assert model[0].num_batches_tracked.item() == 0


def test_another_thread_needs_a_copy():
    """The first call is within forward when the second one begins."""
    inside, ended = threading.Event(), threading.Event()

    class Waits(rv.nn.Linear):
        def forward(self, x):
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                assert ended.wait(60)
            return super().forward(x)

    layer, x, results = rv.nn.Sequential(Waits(1, 1)), rv.ones(1, 1), []
    values = {"0.weight": rv.full((1, 1), 3.0), "0.bias": rv.zeros(1)}
    thread = threading.Thread(target=lambda: results.append(func.functional_call(layer, values, x).item()))
    thread.start()
    assert inside.wait(60)
    for module in (layer, layer[0], rv.nn.Sequential(layer)):
        text = "another thread calls with other parameters"
        refused(RuntimeError, text, func.functional_call, module, {}, x)
    ended.set()
    thread.join()
    assert results == [3.0]
    assert func.functional_call(layer, values, x).item() == 3.0


@pytest.mark.parametrize("training", [False, True])
def test_statistics_of_each_member(training):
    members = [rv.nn.BatchNorm1d(2, dtype=rv.float64).train(training) for _ in range(3)]
    for i, member in enumerate(members):
        member.running_mean.add_(i)
        member.num_batches_tracked.add_(i)
    x = rv.tensor(np.random.default_rng(0).standard_normal((4, 2)))
    buffers = {}
    for name, _ in members[0].named_buffers():
        buffers[name] = rv.stack([dict(member.named_buffers())[name] for member in members])
    y = rv.func.vmap(lambda state: func.functional_call(members[0], state, (x,)))(buffers)
    for i, member in enumerate(members):
        np.testing.assert_allclose(y[i].detach().numpy(), member(x).detach().numpy(), rtol=1e-12, atol=1e-14)
        for name, value in member.named_buffers():
            np.testing.assert_allclose(buffers[name][i].numpy(), value.numpy(), rtol=1e-12)


def test_statistics_without_momentum_are_refused():
    model = rv.nn.BatchNorm1d(2, momentum=None)
    buffers = {name: rv.stack([value, value]) for name, value in model.named_buffers()}
    call = rv.func.vmap(lambda state: func.functional_call(model, state, (rv.ones(3, 2),)))
    refused(RuntimeError, "momentum None", call, buffers)
