"""A Sequential that is called again and again without gradients: replayed by itself, with the same bits."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from ranvier import nn
from ranvier.autograd.recording import running
from ranvier.autograd.replaced import replaced
from ranvier.compile import repeated
from ranvier.nn import often

pytestmark = pytest.mark.usefixtures("replayed_soon")
OFTEN = 60  # more calls than it takes
NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (4, 6)),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 3)), (4, 6)),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Softmax(1)),
        (4, 6),
    ),
    "conv": (
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 5, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
        ),
        (3, 2, 12, 12),
    ),
    "nested": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(6, 8), nn.ELU()), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2))
        ),
        (4, 6),
    ),
    "float64": (lambda: nn.Sequential(nn.Linear(6, 8), nn.SiLU()).double(), (4, 6)),
    "a view at the end": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Unflatten(1, (2, 4))), (4, 6)),
}


def as_written(model, x):
    """The layers one after the other."""
    running.append(threading.get_ident())
    try:
        return model(x)
    finally:
        running.remove(threading.get_ident())


def call_of(model):
    """Of a module that is replayed."""
    return often.attached(model, often.REPLAY, None)


def replays(model):
    """Whether it has a program."""
    call = call_of(model)
    return call is not None and len(call.programs) > 0


def inputs(shape, dtype, count=4):
    rng = np.random.default_rng(0)
    return [rv.from_numpy(rng.normal(size=shape).astype(dtype)) for _ in range(count)]


def in_float32(sequential):
    return next(sequential.parameters()).dtype == rv.float32


@pytest.fixture(params=[(name, training) for name in NETWORKS for training in (False, True)], ids=str)
def pair(request):
    """A network that is replayed, an equal one that is not, and what goes in."""
    name, training = request.param
    make, shape = NETWORKS[name]
    rv.manual_seed(1)
    model = make().train(training)
    twin = copy.deepcopy(model)
    xs = inputs(shape, np.float32 if in_float32(model) else np.float64)
    with rv.no_grad():
        for seed in range(OFTEN):
            rv.manual_seed(seed)
            mine = model(xs[seed % 4])
            rv.manual_seed(seed)
            assert bits(mine) == bits(as_written(twin, xs[seed % 4]))
    assert replays(model)
    return model, twin, xs


def write_by_numpy(m):
    next(m.parameters()).detach().numpy()[...] *= 0.7


CHANGES = {
    "a weight": lambda m: next(m.parameters()).mul_(1.5),
    "by data": lambda m: next(m.parameters()).data.add_(0.5),
    "by NumPy": write_by_numpy,
    "a state dict": lambda m: m.load_state_dict({k: v * 0 + 0.3 for k, v in m.state_dict().items()}),
    "a layer more": lambda m: m.append(nn.Tanh()),
    "another layer": lambda m: m.__setitem__(-1, nn.Sigmoid()),
    "a layer less": lambda m: m.pop(-1),
    "another mode": lambda m: m.train(not m.training),
    "a hook": lambda m: m[0].register_forward_hook(lambda module, args, y: y * 3),
    "a hook of its own": lambda m: m.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "a function of its own": lambda m: setattr(m[-1], "forward", lambda x: x * 5),
}


@pytest.mark.parametrize("change", CHANGES)
@rv.no_grad()
def test_a_change_is_seen_by_the_next_call(pair, change):
    model, twin, xs = pair
    for m in (model, twin):
        CHANGES[change](m)
    for seed, x in enumerate(xs * 2):
        rv.manual_seed(seed)
        mine = model(x)
        rv.manual_seed(seed)
        assert bits(mine) == bits(as_written(twin, x))
    for mine, other in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert bits(mine) == bits(other)


@rv.no_grad()
def test_arguments_of_other_forms(pair):
    model, twin, (x, *_) = pair
    n = len(x)
    forms = [rv.cat([x, x]), x[: n - 1], rv.from_numpy(np.asfortranarray(x.numpy())), x.clone()[::2], x[1:]]
    for _ in range(3):
        for form in forms:
            if model.training and len(form) < 2:
                continue
            rv.manual_seed(2)
            mine = model(form)
            rv.manual_seed(2)
            assert bits(mine) == bits(as_written(twin, form))


@rv.no_grad()
def test_parameters_that_change_often_end_it():
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    twin = copy.deepcopy(model)
    for _ in range(2 * OFTEN):
        weight = nn.Parameter(rv.randn(16, 6))
        model[0].weight = twin[0].weight = weight
        assert bits(model(x)) == bits(as_written(twin, x))
    assert often.attached(model, often.REPLAY, 1) is None


@rv.no_grad()
def test_many_shapes_end_it():
    model = NETWORKS["mlp"][0]()
    twin = copy.deepcopy(model)
    for rows in range(1, 12):
        x = rv.randn(rows, 6)
        for _ in range(OFTEN if rows == 1 else 60):  # enough for a recording of each
            assert bits(model(x)) == bits(as_written(twin, x))
    assert often.attached(model, often.REPLAY, 1) is None


@rv.no_grad()
def test_memory_that_changes_often_is_forgotten():
    model, others = NETWORKS["mlp"][0](), [rv.randn(16, 6) for _ in range(2)]
    twin, x = copy.deepcopy(model), rv.randn(4, 6)
    before = len(replaced)
    for call in range(2 * OFTEN):
        for m in (model, twin):
            m[0].weight.data = others[call % 2]
        assert bits(model(x)) == bits(as_written(twin, x))
    assert len(replaced) <= before + 2


def test_a_call_within_a_recording_of_it():
    """As of a signal handler: the lock is this thread's, and layers run."""
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    with rv.no_grad():
        expected = bits(as_written(model, x))
        for _ in range(OFTEN):
            model(x)
        call = call_of(model)
        with call._lock:
            assert bits(call._call(x)) == expected


@rv.no_grad()
def test_a_result_in_the_memory_of_the_argument_stays_there():
    x = rv.randn(2, 4)
    for model in (nn.Sequential(nn.Flatten()), nn.Sequential(nn.Identity()), nn.Sequential()):
        for _ in range(OFTEN):
            y = model(x)
        assert y is x or y.data_ptr() == x.data_ptr()


def test_a_tape_is_made_with_gradients():
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    with rv.no_grad():
        results = [model(x) for _ in range(OFTEN)]
        assert results[-1] is not results[-2]
        assert len({y.data_ptr() for y in results}) == OFTEN
        model(x.clone().requires_grad_())
    assert replays(model)
    model(x).sum().backward()
    assert model[0].weight.grad is not None


@rv.no_grad()
def test_errors_are_those_of_the_layers():
    model = NETWORKS["mlp"][0]()
    for _ in range(OFTEN):
        model(rv.randn(4, 6))
    wrong = rv.randn(4, 5)
    texts = []
    for call in (model, lambda x: as_written(model, x)):
        with pytest.raises(ValueError, match="in layer") as raised:
            call(wrong)
        texts.append(str(raised.value))
    assert texts[0] == texts[1]


@rv.no_grad()
def test_copies_and_files_have_no_program():
    model, x = NETWORKS["conv"][0]().eval(), rv.randn(3, 2, 12, 12)
    for _ in range(OFTEN):
        y = model(x)
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert call_of(twin) is None
        assert bits(twin(x)) == bits(y)


@rv.no_grad()
def test_a_copy_of_its_dict_is_another_network():
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    for _ in range(OFTEN):
        model(x)
    twin, shares = nn.Sequential(), nn.Sequential()
    twin.__dict__.update(model.__dict__)
    shares.__dict__ = model.__dict__
    twin._modules = dict(model._modules)
    twin[0] = nn.Linear(6, 16)
    for _ in range(OFTEN):
        for m in (twin, model, shares):
            assert bits(m(x)) == bits(as_written(m, x))
    assert bits(twin(x)) != bits(model(x))
    assert replays(twin)


@rv.no_grad()
def test_few_or_short_calls_are_not_recorded(monkeypatch):
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    expected = bits(as_written(model, x))
    assert {bits(model(x)) for _ in range(16)} == {expected}
    assert not replays(model)
    monkeypatch.setattr(often, "_ENOUGH", 1e9)
    assert {bits(model(x)) for _ in range(OFTEN)} == {expected}
    assert not replays(model)
    monkeypatch.setattr(often, "_ENOUGH", 0.0)
    assert {bits(model(x)) for _ in range(2)} == {expected}
    assert replays(model)


@rv.no_grad()
def test_long_calls_are_not_recorded(monkeypatch):
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    monkeypatch.setattr(repeated, "_PRODUCTS", 1 << 10)
    many = rv.randn(1000, 6)
    expected = bits(as_written(model, many))
    assert {bits(model(many)) for _ in range(OFTEN)} == {expected}
    assert not replays(model)
    for _ in range(OFTEN):
        model(x)
    assert replays(model)
    count = len(call_of(model).programs)
    assert {bits(model(many)) for _ in range(OFTEN)} == {expected}
    assert len(call_of(model).programs) == count
    assert repeated.is_long(model, (rv.tensor(2.0), many))
    assert not repeated.is_long(model, (rv.tensor(2.0),))


@rv.no_grad()
def test_names_of_the_user_are_free():
    model, x = nn.Sequential(nn.Linear(6, 4), nn.ReLU()), rv.randn(4, 6)
    model._replay = [1]
    expected = bits(as_written(model, x))
    assert {bits(model(x)) for _ in range(OFTEN)} == {expected}
    assert replays(model)
    assert model._replay == [1]


def traces(model):
    return pickle.dumps(model), [*vars(model)], dir(model), model.__sizeof__(), repr(model)


@rv.no_grad()
def test_nothing_of_it_is_in_the_module():
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    before = traces(model)
    for name in vars(model):
        for _ in range(OFTEN):
            model(x)
        gc.collect()
        assert replays(model), name
    assert traces(model) == before


@rv.no_grad()
def test_each_object_of_a_shared_dict_keeps_its_own():
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    other = nn.Sequential(nn.Linear(6, 3))
    own = dict(vars(other))
    vars(other).clear()
    other.__dict__ = model.__dict__
    for _ in range(OFTEN):
        y = model(x), other(x)
    gc.collect()
    assert call_of(model).owner is model
    assert call_of(other).owner is other
    other.__dict__ = own
    assert bits(other(x)) == bits(as_written(other, x)) != bits(y[1])


@rv.no_grad()
def test_it_is_freed_with_its_program():
    model = NETWORKS["mlp"][0]()
    for _ in range(OFTEN):
        model(rv.ones(4, 6))
    assert replays(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def check_threads(model):
    """Four threads that call it at the same time get the same bits."""
    x, results = rv.randn(4, 6), []
    begin = threading.Barrier(4)

    def work():
        begin.wait()
        with rv.no_grad():
            results.extend(bits(model(x)) for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 800


def test_several_threads():
    check_threads(NETWORKS["mlp"][0]())


@rv.no_grad()
def test_within_a_compiled_step_and_transforms():
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    for _ in range(OFTEN):
        expected = bits(model(x))
    step = rv.compile(lambda x: model(x) * 1, strict=True)
    assert [bits(step(x)) for _ in range(4)] == [expected] * 4
    stacked = rv.stack([x, x])
    assert bits(rv.func.vmap(model)(stacked)) == bits(as_written(model, stacked))
    tangent = rv.func.jvp(model, (x,), (rv.ones(4, 6),))[1]
    assert bits(tangent) == bits(rv.func.jvp(lambda x: as_written(model, x), (x,), (rv.ones(4, 6),))[1])
