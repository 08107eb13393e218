"""A module of the user's that is called again and again without gradients: replayed by itself where nobody
can tell, and else its code runs at each call."""

import copy
import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from compile.test_repeated import OFTEN, as_written, check_threads, replays
from ranvier import nn
from ranvier.nn import functional as F

pytestmark = pytest.mark.usefixtures("replayed_soon")

FACTOR = 2.0
SETTINGS = {"shift": 0.25}


def tripled(x, times=3):
    return x * times


class Base(nn.Module):
    """Layers, a number and whatever a test puts there."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 6)
        self.scale = 1.5
        self.register_buffer("mean", rv.zeros(8))

    def forward(self, x):
        return self.second(F.relu(self.first(x)))


class Residual(Base):
    def forward(self, x):
        return x + super().forward(x) * self.scale


class Blocks(Base):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Residual(), nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.LayerNorm(6)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Helpers(Base):
    @property
    def factor(self):
        return FACTOR * self.scale

    @staticmethod
    def shifted(x):
        return x + SETTINGS["shift"]

    def forward(self, x):
        parts = [tripled(part) for part in x.chunk(2, 1)]
        h = self.shifted(rv.cat(parts, 1)) * self.factor
        if self.training:
            h = h * 2
        return self.second(self.first(h.view(h.size(0), -1)).clamp(min=0))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 3)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return F.log_softmax(self.head(self.drop(x.flatten(1))), 1)


class TwoResults(Base):
    def forward(self, x):
        h = self.first(x)
        with rv.no_grad():
            y = self.second(h)
        return {"hidden": h, "y": (y, y.argmax(1))}


def flat(result):
    """The Tensors of a result."""
    if isinstance(result, dict):
        return flat(tuple(result.values()))
    return [t for part in result for t in flat(part)] if isinstance(result, tuple) else [result]


def all_bits(result):
    return [bits(t) for t in flat(result)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [Base, Residual, Blocks, Helpers, Images, TwoResults])
@rv.no_grad()
def test_it_is_replayed_with_the_same_bits(make, training):
    rv.manual_seed(1)
    model = make().train(training)
    twin = copy.deepcopy(model)
    xs = [rv.randn(*((3, 2, 6, 6) if make is Images else (4, 6))) for _ in range(4)]
    for seed in range(OFTEN):
        rv.manual_seed(seed)
        mine = model(xs[seed % 4])
        rv.manual_seed(seed)
        assert all_bits(mine) == all_bits(as_written(twin, xs[seed % 4]))
    assert replays(model)
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert bits(a) == bits(b)


def test_several_arguments():
    class Both(Base):
        def forward(self, x, y):
            return self.second(self.first(x) * self.first(y))

    model = Both()
    x, y = rv.randn(4, 6), rv.randn(4, 6)
    with rv.no_grad():
        expected = bits(as_written(lambda x: model(x, y), x))
        assert {bits(model(x, y)) for _ in range(OFTEN)} == {expected}
        assert replays(model)
        for a, b in ((x, x), (y, x), (x[:2], y[:2]), (x, y[0])):
            assert bits(model(a, b)) == bits(as_written(lambda a, b=b: model(a, b), a))
        assert bits(model(x, y=y)) == expected
    assert model(x, y).requires_grad


# --- what the code reads
def set_factor(m):
    global FACTOR
    FACTOR += 0.5


def doubled(x, times=6):
    return x * times


def replace_method(m):
    m.shifted = lambda x: x - 1


CHANGES = {
    "a number": lambda m: setattr(m, "scale", m.scale + 1),
    "a global variable": set_factor,
    "a setting": lambda m: SETTINGS.update(shift=SETTINGS["shift"] + 1),
    "a weight": lambda m: m.first.weight.mul_(1.5),
    "by data": lambda m: m.first.weight.data.add_(0.5),
    "by NumPy": lambda m: m.first.weight.detach().numpy().__imul__(0.5),
    "a layer": lambda m: setattr(m, "second", nn.Identity()),
    "another mode": lambda m: m.train(not m.training),
    "a hook": lambda m: m.first.register_forward_hook(lambda module, args, y: y * 3),
    "a hook of its own": lambda m: m.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "a function of its own": lambda m: setattr(m, "forward", lambda x: x * 5),
    "a function of a layer": lambda m: setattr(m.first, "forward", lambda x: x[:, :1] * rv.ones(8)),
    "a method": replace_method,
    "a default": lambda m: setattr(tripled, "__defaults__", (tripled.__defaults__[0] + 1,)),
    "its class": lambda m: setattr(m, "__class__", Residual),
}


@pytest.mark.parametrize("change", CHANGES)
@rv.no_grad()
def test_a_change_is_seen_by_the_next_call(change):
    model = Helpers()
    xs = [rv.randn(4, 6) for _ in range(4)]
    for i in range(OFTEN):
        model(xs[i % 4])
    assert replays(model)
    before = bits(model(xs[0]))
    CHANGES[change](model)
    for x in xs * 3:
        assert bits(model(x)) == bits(as_written(model, x))
    assert bits(model(xs[0])) != before


@pytest.mark.parametrize("name", ["forward", "shifted", "factor"])
@rv.no_grad()
def test_a_change_of_the_class_is_seen(monkeypatch, name):
    model, x = Helpers(), rv.randn(4, 6)
    for _ in range(OFTEN):
        model(x)
    before = bits(model(x))
    new = {"forward": Base.forward, "shifted": staticmethod(lambda x: x - 2), "factor": 7.0}[name]
    monkeypatch.setattr(Helpers, name, new)
    for _ in range(3):
        assert bits(model(x)) == bits(as_written(model, x)) != before


@rv.no_grad()
def test_a_wrapped_call_runs_at_each_call(monkeypatch):
    model, x, calls = Blocks(), rv.randn(4, 6), []
    for _ in range(OFTEN):
        model(x)
    original = nn.Module.__call__

    def wrapped(self, *args, **kwargs):
        calls.append(type(self).__name__)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", wrapped)
    as_written(model, x)
    each, calls[:] = list(calls), []
    for _ in range(5):
        model(x)
    assert calls == each * 5


# --- results
class Same(Base):
    def forward(self, x):
        return x


class View(Base):
    def forward(self, x):
        return x[1:]


class OfItself(Base):
    def forward(self, x):
        return self.first.weight


class WithItself(Base):
    def forward(self, x):
        return self.first(x), x


@rv.no_grad()
def test_results_that_are_not_new():
    x = rv.randn(4, 6)
    models = Same(), View(), OfItself(), WithItself()
    for _ in range(OFTEN):
        same, view, own, (_, argument) = (m(x) for m in models)
        assert same is x
        assert argument is x
        assert own is models[2].first.weight
        assert view.data_ptr() == x[1:].data_ptr()


@rv.no_grad()
def test_each_result_is_new():
    model, x = Base(), rv.randn(4, 6)
    results = [model(x) for _ in range(OFTEN)]
    assert len({y.data_ptr() for y in results}) == OFTEN
    results[-1].mul_(2)
    assert bits(results[-1]) != bits(model(x)) == bits(results[0])


def test_gradients_and_other_arguments():
    model, x = Base(), rv.randn(4, 6)
    with rv.no_grad():
        for _ in range(OFTEN):
            expected = bits(model(x))
        assert bits(model(x.requires_grad_())) == expected
        assert bits(model(nn.Parameter(x.detach()))) == expected
        assert bits(model(x.detach().numpy())) == expected
        with pytest.raises(ValueError, match="in layer"):
            model(rv.randn(4, 5))
    x = x.detach()
    model(x).sum().backward()
    assert model.first.weight.grad is not None
    with rv.inference_mode():
        assert bits(model(x)) == expected


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
    class Products(Base):
        def forward(self, x):
            return self.second(F.linear(x, self.first.weight * 2) + self.mean * 3)

    model, x = Products().eval(), rv.randn(4, 6)
    memory = share(model)
    for i in range(OFTEN + 20):
        if i % 5 == 4:
            memory += 1
        assert bits(model(x)) == bits(as_written(model, x))
    assert replays(model)


def test_a_result_with_a_tape_keeps_it():
    class Scores(Base):
        def forward(self, x):
            with rv.enable_grad():
                return super().forward(x)

    model, x = Scores(), rv.randn(4, 6)
    for _ in range(OFTEN):
        with rv.no_grad():
            y = model(x)
        model.zero_grad()
        y.sum().backward()
        assert bits(model.second.bias.grad) == bits(rv.full((6,), 4.0))


def test_a_debugger_sees_the_code():
    model, x, seen = Base(), rv.randn(4, 6), []

    def trace(frame, event, arg):
        seen.append(frame.f_code)

    with rv.no_grad():
        for _ in range(OFTEN):
            model(x)
        assert replays(model)
        for watch in (sys.settrace, sys.setprofile):
            before = sys.gettrace() if watch is sys.settrace else sys.getprofile()
            seen.clear()
            watch(trace)
            try:
                model(x)
            finally:
                watch(before)
            assert Base.forward.__code__ in seen


@rv.no_grad()
def test_copies_have_no_program():
    model, x = Base(), rv.randn(4, 6)
    for _ in range(OFTEN):
        y = model(x)
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not replays(twin)
        assert bits(twin(x)) == bits(y)
    twin = Base()
    twin.__dict__.update(model.__dict__)
    twin.first = nn.Linear(6, 8)
    assert bits(twin(x)) == bits(as_written(twin, x)) != bits(y)


def test_several_threads():
    check_threads(Blocks())


def test_within_transforms():
    model, x = Base(), rv.randn(4, 6)
    with rv.no_grad():
        for _ in range(OFTEN):
            expected = bits(model(x))
        stacked = rv.stack([x, x * 2])
        assert bits(rv.func.vmap(model)(stacked)[0]) == expected
        parameters = {name: rv.stack([p, p * 0]) for name, p in model.named_parameters()}
        for _ in range(20):
            both = rv.func.vmap(lambda p: rv.func.functional_call(model, p, (x,)))(parameters)
            assert np.allclose(both[0].numpy(), model(x).numpy(), atol=1e-6)
            assert not both[1].any()
        assert bits(model(x)) == expected
    tangent = rv.func.jvp(model, (x,), (rv.ones(4, 6),))[1]
    assert bits(tangent) == bits(rv.func.jvp(lambda x: as_written(model, x), (x,), (rv.ones(4, 6),))[1])
