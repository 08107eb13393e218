"""A module that is replayed by itself, whose memory or code is changed, wrapped, watched or copied."""

import copy
import gc
import pickle
import sys
import weakref

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from compile.staleness.judge import as_written
from compile.test_repeated import OFTEN, Base, Blocks, X, call_of, mlp, own, played, replays, same
from ranvier import nn
from ranvier.nn import functional as F
from support.threads import in_threads

pytestmark = pytest.mark.usefixtures("replayed_soon")


# --- memory that is changed under another name, and Tensors that the code changes
def one_vector(model):
    """All parameters in one vector."""
    vector, at = rv.cat([p.detach().reshape(-1) for p in model.parameters()]), 0
    for p in model.parameters():
        p.data = vector[at : at + p.numel()].view_as(p)
        at += p.numel()
    return vector


def of_a_tensor(model):
    weight = rv.randn(8, 6)
    model.first.weight = nn.Parameter(weight)
    return weight


def of_numpy(model):
    mean = np.zeros(8, np.float32)
    model.mean = rv.from_numpy(mean)
    return mean


def of_another_network(model):
    other = type(model)()
    for p, its in zip(model.parameters(), other.parameters(), strict=True):
        p.data = its.data
    return other.second.weight.detach()


SHARED = [one_vector, of_a_tensor, of_numpy, of_another_network, lambda model: model.state_dict()["mean"]]


@pytest.mark.parametrize("share", SHARED)
@rv.no_grad()
def test_memory_that_is_changed_under_another_name(share):
    model = own(lambda s, x: s.second(F.linear(x, s.first.weight * 2) + s.mean * 3)).eval()
    memory = share(model)
    for number in range(OFTEN + 20):
        if number % 5 == 4:
            memory += 1
        same(model, X, calls=1)
    assert replays(model)


CHANGING = {
    "a buffer": lambda s, x: s.mean.mul_(0.5).add_(s.first(x).mean(0), alpha=0.5),
    "the argument": lambda s, x: x.mul_(0.5),
    **{
        f.__name__: lambda s, x, f=f: f(s.second.weight)
        for f in (nn.init.xavier_uniform_, nn.init.normal_, nn.init.eye_, nn.init.orthogonal_)
    },
}


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", CHANGING)
@rv.no_grad()
def test_changes_of_tensors_are_made_at_each_call(name, compiled):
    model = own(lambda self, x: (CHANGING[name](self, x), self.first(x) + self.mean)[1])
    twin = copy.deepcopy(model)
    call = rv.compile(lambda x: model(x)) if compiled else model
    for number in range(OFTEN + 20):
        model.second.weight.mul_(2), twin.second.weight.mul_(2)
        rv.manual_seed(number)
        x = rv.randn(6, 4).t() if number % 3 == 0 else rv.randn(4, 6)
        y = x.clone()
        rv.manual_seed(number)
        found = bits(call(x))
        rv.manual_seed(number)
        assert [found, bits(x), bits(model)] == [bits(as_written(twin, y)), bits(y), bits(twin)]


# --- code that has to run
def test_code_of_the_user_in_a_layer_runs_at_each_call():
    def forward(self, x):
        self.calls += 1
        return x * self.calls

    counter = type("Counter", (nn.Module,), {"calls": 0, "forward": forward})()
    model = nn.Sequential(nn.Linear(6, 6), counter)
    later = played(lambda: nn.Sequential(model[0]))
    later.append(counter)
    with rv.no_grad():
        for m in (model, later):
            for _ in range(OFTEN):
                m(X)
            assert not replays(m)
    assert counter.calls == 2 * OFTEN


METHODS = [(owner, name) for owner in (nn.Sequential, nn.Linear) for name in ("forward", "__call__")]


@pytest.mark.parametrize("when", [0, OFTEN])
@pytest.mark.parametrize(("owner", "name"), [*METHODS, (nn.Module, "__call__"), (None, "forward")], ids=str)
@rv.no_grad()
def test_what_wraps_a_method_runs_at_each_call(monkeypatch, owner, name, when):
    """Of a class; None: of the network itself."""
    for model in (mlp(), own(lambda self, x: nn.Sequential.forward(self.body, self.first(x)))):
        model.body = nn.Sequential(nn.Linear(8, 3)) if isinstance(model, Base) else nn.Identity()
        for _ in range(when):
            model(X)
        calls, place = [], owner or model
        original = getattr(place, name)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, lambda *a, f=original, c=calls: (c.append(1), f(*a) * 2)[1])
            expected, each = bits(as_written(model, X)), len(calls)
            calls.clear()
            assert [bits(model(X)) for _ in range(OFTEN)] == [expected] * OFTEN
            assert len(calls) == each * OFTEN


def test_a_debugger_sees_the_code():
    model, seen = played(Base), []
    for get, watch in ((sys.gettrace, sys.settrace), (sys.getprofile, sys.setprofile)):
        before = get()
        seen.clear()
        watch(lambda frame, event, arg: seen.append(frame.f_code))
        try:
            with rv.no_grad():
                model(X)
        finally:
            watch(before)
        assert Base.forward.__code__ in seen


# --- copies, and what is left of it
@pytest.mark.parametrize("make", [mlp, Base])
def test_copies_and_files_have_no_program(make):
    model = played(make)
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert call_of(twin) is None
        assert same(twin, X, calls=1) == same(model, X, calls=1)


@rv.no_grad()
def test_copies_of_its_dict():
    """A copy is another network; two objects with the same one have a call each."""
    model = played()
    twin, shares = nn.Sequential(), nn.Sequential(nn.Linear(6, 3))
    own_dict = vars(shares)
    shares.__dict__ = model.__dict__
    twin.__dict__.update(model.__dict__)
    twin._modules = {**model._modules, "0": nn.Linear(6, 16)}
    for _ in range(OFTEN):
        found = [same(m, X, calls=1) for m in (model, shares, twin)]
    assert found[0] == found[1] != found[2]
    assert replays(twin)
    gc.collect()
    assert [call_of(m).owner is m for m in (model, shares)] == [True, True]
    shares.__dict__ = own_dict
    assert same(shares, X, calls=1) != found[0]


def traces(model):
    return pickle.dumps(model), [*vars(model)], dir(model), model.__sizeof__(), repr(model)


def test_nothing_of_it_is_in_the_module():
    model = mlp()
    model._replay = [1]  # names of the user are free
    before = traces(model)
    for name in vars(model):
        same(model, X)
        gc.collect()
        assert replays(model), name
    assert traces(model) == before
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", [mlp, Blocks])
def test_several_threads(make):
    model = make()
    work = rv.no_grad()(lambda number: [bits(model(X)) for _ in range(200)])
    assert len({found for each in in_threads(4, work) for found in each}) == 1


@pytest.mark.parametrize("make", [mlp, Base])
def test_within_a_compiled_step_and_transforms(make):
    model = played(make)
    stacked = rv.stack([X, X * 2])
    with rv.no_grad():
        expected = bits(model(X))
        step = rv.compile(lambda x: model(x) * 1, strict=True)
        assert [bits(step(X)) for _ in range(4)] == [expected] * 4
        assert bits(rv.func.vmap(model)(stacked)) == bits(as_written(model, stacked))
        parameters = {name: rv.stack([p, p * 0]) for name, p in model.named_parameters()}
        for _ in range(20):
            both = rv.func.vmap(lambda p: rv.func.functional_call(model, p, (X,)))(parameters)
            assert np.allclose(both[0].numpy(), model(X).numpy(), atol=1e-6)
            assert not both[1].any()
        assert bits(model(X)) == expected
    tangents = [rv.func.jvp(f, (X,), (rv.ones(4, 6),))[1] for f in (model, lambda x: as_written(model, x))]
    assert bits(tangents[0]) == bits(tangents[1])
