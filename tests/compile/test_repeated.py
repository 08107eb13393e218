"""A module that is called again and again without gradients: replayed by itself, with the same bits, where
nobody can tell: not where its code is watched, nor in copies. Changes between calls and code with effects:
`staleness`, the way `alone`.

`same(model, *inputs)` asserts that calls have the bits of the layers run one by one; `replays` says whether
the model is replayed by now.
"""

import copy
import gc
import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from compile.staleness.judge import as_written
from ranvier import nn
from ranvier.compile import repeated
from ranvier.nn import call_counts, functional as F
from ranvier.tensors.replaced import replaced
from support.conv_networks import network
from support.threads import in_threads

pytestmark = pytest.mark.usefixtures("replayed_soon")
OFTEN = 60  # more calls than it takes
X = rv.randn(4, 6, generator=rv.Generator().manual_seed(0))
SEEDS = (0, 1, 2)  # seeds of random networks


def mlp():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


class Base(nn.Module):
    """Layers, a number and a buffer."""

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


class TwoResults(Base):
    def forward(self, x):
        h = self.first(x)
        with rv.no_grad():
            y = self.second(h)
        return {"hidden": h, "y": (y, y.argmax(1))}


def own(function):
    """A module with this forward pass."""
    return type("Own", (Base,), {"forward": function})()


NETWORKS = {
    "mlp": (mlp, (6,)),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 3)), (6,)),
    "float64": (lambda: nn.Sequential(nn.Linear(6, 8), nn.SiLU()).double(), (6,)),
    "a view at the end": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Unflatten(1, (2, 4))), (6,)),
    **{kind.__name__: (kind, (6,)) for kind in (Residual, Blocks, TwoResults)},
    **{f"conv {seed}": (lambda seed=seed: network(seed)[0], network(seed)[1]) for seed in SEEDS},
}


def call_of(model):
    """The call that replays a module."""
    return call_counts.attached(model, call_counts.REPLAY, None)


def replays(model):
    """True if it has a program."""
    call = call_of(model)
    return call is not None and len(call.programs) > 0


@rv.no_grad()
def same(model, *inputs, twin=None, calls=OFTEN):
    """The bits of its calls, which are those of the layers one after the other."""
    twin, found = model if twin is None else twin, None
    for number in range(calls):
        given = inputs[number % len(inputs)]
        given = given if isinstance(given, tuple) else (given,)
        rv.manual_seed(number)
        found = bits(model(*given))
        rv.manual_seed(number)
        assert found == bits(as_written(twin, *given)), number
    return found


def played(make=mlp, *inputs):
    """A module that is replayed."""
    model = make()
    same(model, *(inputs or (X,)))
    assert replays(model)
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_are_those_of_the_layers(name, training):
    make, shape = NETWORKS[name]
    rv.manual_seed(1)
    model = make().train(training)
    twin, dtype = copy.deepcopy(model), next(model.parameters()).dtype
    xs = [rv.randn(4, *shape, dtype=dtype) for _ in range(4)]
    same(model, *xs, twin=twin)
    assert replays(model)
    x = xs[0]
    forms = rv.cat([x, x]), x[:-1], rv.from_numpy(np.asfortranarray(x.numpy())), x.clone()[::2], x[1:]
    same(model, *forms, twin=twin, calls=15)
    assert bits(model) == bits(twin)


def test_several_arguments():
    model = own(lambda self, x, y: self.second(self.first(x) * self.first(y)))
    x, y = rv.randn(4, 6), rv.randn(4, 6)
    expected = same(model, (x, y))
    assert replays(model)
    same(model, (x, x), (y, x), (x[:2], y[:2]), (x, y[0]), calls=4)
    with rv.no_grad():
        assert bits(model(x, y=y)) == expected
    assert model(x, y).requires_grad


# --- when it ends, and when it does not begin
def parameters_that_change(model, number):
    model[0].weight = nn.Parameter(rv.randn(16, 6, generator=rv.Generator().manual_seed(number)))


def many_shapes(model, number):
    return rv.ones(1 + number // 60, 6)


@pytest.mark.parametrize("change", [parameters_that_change, many_shapes])
def test_what_changes_often_ends_it(change):
    model = mlp()
    for number in range(720):
        given = change(model, number)
        same(model, X if given is None else given, calls=1)
    assert call_counts.attached(model, call_counts.REPLAY, 1) is None


@rv.no_grad()
def test_memory_that_changes_often_is_forgotten():
    model, others, before = mlp(), [rv.randn(16, 6) for _ in range(2)], len(replaced)
    for number in range(2 * OFTEN):
        model[0].weight.data = others[number % 2]
        same(model, X, calls=1)
    assert len(replaced) <= before + 2


def test_few_or_short_calls_are_not_recorded(monkeypatch):
    model = mlp()
    for enough, calls, recorded in ((0.0, 16, False), (1e9, OFTEN, False), (0.0, 2, True)):
        monkeypatch.setattr(call_counts, "_ENOUGH", enough)
        same(model, X, calls=calls)
        assert replays(model) == recorded


def test_long_calls_are_not_recorded(monkeypatch):
    model, many = mlp(), rv.randn(1000, 6)
    monkeypatch.setattr(repeated, "_PRODUCTS", 1 << 10)
    same(model, many)
    assert not replays(model)
    same(model, X)
    count = len(call_of(model).programs)
    assert count
    same(model, many)
    assert len(call_of(model).programs) == count
    assert repeated.is_long(model, (rv.tensor(2.0), many))
    assert not repeated.is_long(model, (rv.tensor(2.0),))


def test_a_call_within_a_recording_of_it():
    """As of a signal handler: the lock is this thread's, and layers run."""
    model = played()
    call = call_of(model)
    with rv.no_grad(), call._lock:
        assert bits(call._call(X)) == bits(as_written(model, X))


# --- results and gradients
@rv.no_grad()
def test_results_that_are_not_new():
    models = [
        *(nn.Sequential(nn.Flatten()), nn.Sequential(nn.Identity()), nn.Sequential()),
        *map(
            own,
            (lambda s, x: x, lambda s, x: x[1:], lambda s, x: s.first.weight, lambda s, x: (s.first(x), x)),
        ),
    ]
    for _ in range(OFTEN):
        flat, *given, same_one, view, weight, (_, argument) = (m(X) for m in models)
        assert all(y is X for y in (*given, same_one, argument))
        assert flat is X or flat.data_ptr() == X.data_ptr()
        assert weight is models[5].first.weight
        assert view.data_ptr() == X[1:].data_ptr()


@rv.no_grad()
def test_each_result_is_new():
    model = Base()
    results = [model(X) for _ in range(OFTEN)]
    assert len({y.data_ptr() for y in results}) == OFTEN
    results[-1].mul_(2)
    assert bits(results[-1]) != bits(model(X)) == bits(results[0])


@pytest.mark.parametrize("make", [mlp, Base])
def test_gradients_and_other_arguments(make):
    model, x = played(make), X.clone()
    with rv.no_grad():
        expected = bits(model(x))
        for other in (x.requires_grad_(), nn.Parameter(x.detach()), x.detach().numpy()):
            assert bits(model(other)) == expected
        with pytest.raises(ValueError, match="in layer") as raised:
            model(rv.randn(4, 5))
        with pytest.raises(ValueError, match="in layer") as eager:
            as_written(model, rv.randn(4, 5))
        assert str(raised.value) == str(eager.value)
    assert replays(model)
    model(x.detach()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with rv.inference_mode():
        assert bits(model(x.detach())) == expected


def test_a_result_with_a_tape_keeps_it():
    model = own(lambda self, x: rv.enable_grad()(lambda: self.second(self.first(x)))())
    for _ in range(OFTEN):
        with rv.no_grad():
            y = model(X)
        model.zero_grad()
        y.sum().backward()
        assert bits(model.second.bias.grad) == bits(rv.full((6,), 4.0))


# --- code that has to run
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
    assert [call_of(m)._function.module is m for m in (model, shares)] == [True, True]
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
