"""A step on other objects of the same form gets the program that is there: a fresh model and optimizer, the
next cache of keys and values, another closure of the same code.

`agrees` calls a compiled step and the same step without `rv.compile` on equal objects, and compares results
and what the step has changed. The fixture `recordings` grows with each program that a recording gives.
"""

import gc
import sys
import weakref
from types import ModuleType

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from ranvier import nn, optim
from ranvier.compile import compiled_function, shared_programs

CALLS = 12  # a program is shared after its third check, at call 8


@pytest.fixture
def recordings(monkeypatch):
    found = []
    build = compiled_function.build

    def counted(*args):
        found.append(1)
        return build(*args)

    monkeypatch.setattr(compiled_function, "build", counted)
    return found


class Net(nn.Module):
    """A small network with attributes that its forward pass reads."""

    def __init__(self, seed=0, width=8, scale=2.0, tied=False, **attributes):
        super().__init__()
        rv.manual_seed(seed)
        self.first = nn.Linear(4, width)
        self.second = nn.Linear(width, 4)
        self.third = self.second if tied else nn.Linear(width, 4)
        self.scale = scale
        self.options = {"negative": False, "terms": [1, 2]}
        self.norm = nn.BatchNorm1d(width)
        self.calls = rv.zeros(1, dtype="int64")
        vars(self).update(attributes)

    def forward(self, x):
        h = self.norm(self.first(x)).relu()
        y = self.second(h) * self.scale + self.third(h) * len(self.options["terms"])
        self.calls += 1
        if self.options["negative"]:
            return -y
        return y


def train(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def batches(count=CALLS):
    generator = np.random.default_rng(3)
    for _ in range(count):
        yield rv.tensor(generator.random((5, 4), "f4")), rv.tensor(generator.random((5, 4), "f4"))


def trained(step, make, **settings):
    """The losses and the objects after some steps with a fresh model and optimizer."""
    model = make()
    optimizer = optim.Adam(model.parameters(), lr=0.01, **settings)
    losses = [step(model, optimizer, x, y).item() for x, y in batches()]
    return bits([losses, model.state_dict(), model.calls, optimizer.state_dict()])


def agrees(step, make, **settings):
    return trained(step, make, **settings) == trained(train, make, **settings)


def test_fresh_models_and_optimizers_record_once(recordings):
    step = rv.compile(train)
    assert agrees(step, Net)
    assert len(recordings) == 1
    for seed in (1, 2, 3, 4, 5):
        assert agrees(step, lambda seed=seed: Net(seed))
    assert len(recordings) == 1


def test_a_compiled_function_of_the_same_code(recordings):
    """As a program makes one in each call of a function."""
    for seed in range(6):

        def step(model, optimizer, x, y):
            return train(model, optimizer, x, y)

        recordings.clear()
        assert agrees(rv.compile(step), lambda seed=seed: Net(seed))
        assert bool(recordings) == (seed == 0)


def closure(model, optimizer):
    def step(x, y):
        return train(model, optimizer, x, y)

    return step


def test_closures_over_other_objects(recordings):
    for seed in range(4):
        results = []
        for compiled in (True, False):
            model = Net(seed)
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            step = closure(model, optimizer)
            step = rv.compile(step) if compiled else step
            recordings.clear()
            losses = [step(x, y).item() for x, y in batches()]
            assert bool(recordings) == (compiled and seed == 0)
            results.append(bits([losses, model.state_dict(), optimizer.state_dict()]))
        assert results[0] == results[1]


OTHERS = {
    "a number": lambda: Net(scale=3.0),
    "a sign": lambda: Net(scale=-2.0),
    "an int": lambda: Net(scale=2),
    "an item": lambda: Net(options={"negative": True, "terms": [1, 2]}),
    "a longer list": lambda: Net(options={"negative": False, "terms": [1, 2, 3]}),
    "a missing layer's bias": lambda: Net(second=nn.Linear(8, 4, bias=False)),
    "tied layers": lambda: Net(tied=True),
    "a width": lambda: Net(width=9),
    "evaluation": lambda: Net().eval(),
    "momentum of the norm": lambda: Net(norm=nn.BatchNorm1d(8, momentum=0.5)),
    "a frozen layer": lambda: frozen(Net()),
    "a hook": lambda: hooked(Net()),
    "a subclass": lambda: Larger(),
}


def frozen(model):
    model.first.requires_grad_(False)
    return model


def hooked(model):
    model.first.register_forward_hook(lambda module, args, result: result * 2)
    return model


class Larger(Net):
    def forward(self, x):
        return super().forward(x) * 3


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
@pytest.mark.parametrize("name", OTHERS)
def test_objects_that_differ(name):
    step = rv.compile(train)
    assert agrees(step, Net)
    assert agrees(step, OTHERS[name])
    assert agrees(step, Net)
    assert agrees(step, OTHERS[name])


@pytest.mark.parametrize("settings", [{"amsgrad": True}, {"weight_decay": 0.1}, {"maximize": True}], ids=str)
def test_optimizers_that_differ(settings):
    step = rv.compile(train)
    assert agrees(step, Net)
    assert agrees(step, Net, **settings)
    assert agrees(step, Net)


def added(pair):
    return pair.a * 2 + pair.b


def test_one_tensor_in_two_places(recordings):
    """Where the first objects have two Tensors, and the others one, the step is another one."""
    step = rv.compile(added)

    def pair(same, start):
        a = nn.Parameter(rv.arange(3.0) + start)
        b = a if same else nn.Parameter(rv.arange(3.0) * 2 + start)
        found = Pair()
        found.a = a
        found.b = b
        return found

    with rv.no_grad():
        for start, same in enumerate([False, False, True, False, True]):
            objects = pair(same, start)
            recordings.clear()
            for _ in range(CALLS):
                np.testing.assert_array_equal(step(objects).numpy(), added(objects).numpy())
            assert bool(recordings) == (start in (0, 2))
            objects.a.data.mul_(3)
            np.testing.assert_array_equal(step(objects).numpy(), added(objects).numpy())


class Pair:
    pass


def train_and_clear(model, optimizer, x, y):
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def test_steps_that_clear_gradients_at_their_end(recordings):
    step = rv.compile(train_and_clear)
    for seed in range(4):
        assert agrees(step, lambda seed=seed: Net(seed))
    assert len(recordings) == 1


def test_few_of_many_objects_stay_alive():
    step = rv.compile(added)
    alive = []
    with rv.no_grad():
        for start in range(40):
            objects = Pair()
            objects.a = nn.Parameter(rv.arange(3.0) + start)
            objects.b = nn.Parameter(rv.arange(3.0))
            alive.append(weakref.ref(objects))
            for _ in range(CALLS if start == 0 else 3):
                step(objects)
    del objects
    gc.collect()
    assert sum(reference() is not None for reference in alive) <= 8
    assert len(step.programs) <= 4


def test_names_in_the_dict_of_an_inner_object():
    def step(helper, x):
        factor = 2 if "factor" in helper.__dict__ else 3
        return x * factor

    x = rv.rand(3)
    with rv.no_grad():
        fast = rv.compile(step)
        for kind in (0, 1, 0, 1):
            helper = rv.compile(added)
            if kind:
                helper.factor = 3.0
            for _ in range(CALLS):
                np.testing.assert_array_equal(fast(helper, x).numpy(), step(helper, x).numpy())


def test_prepared_weights_belong_to_their_model(recordings):
    """A compiled model packs its weights once: each model its own, and again after a change."""
    models = [nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64)).eval() for _ in range(4)]
    compiled = [rv.compile(model) for model in models]
    x = rv.rand(3, 64)
    with rv.no_grad():
        for number, (model, fast) in enumerate(zip(models, compiled, strict=True)):
            recordings.clear()
            for _ in range(CALLS):
                np.testing.assert_array_equal(fast(x).numpy(), model(x).numpy())
            assert bool(recordings) == (number == 0)
        for changed in models:
            changed[0].weight.mul_(2)
            for model, fast in zip(models, compiled, strict=True):
                np.testing.assert_array_equal(fast(x).numpy(), model(x).numpy())


def test_a_new_cache_for_each_text(recordings):
    rv.manual_seed(0)
    words = nn.Embedding(20, 16)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    blocks = nn.TransformerEncoder(layer, 2)
    scores = nn.Linear(16, 20)
    model = nn.ModuleList([words, blocks, scores]).eval()

    def forward(token, cache):
        return model[2](model[1](model[0](token), is_causal=True, cache=cache))

    def text(step):
        cache = nn.KeyValueCache(batch=1, heads=2, max_length=32, head_dim=8, layers=2)
        token = rv.tensor([[3]])
        tokens = []
        for _ in range(20):
            token = step(token, cache)[:, -1:].argmax(-1)
            tokens.append(token.item())
        return tokens

    fast = rv.compile(forward)
    with rv.no_grad():
        expected = text(forward)
        assert text(fast) == expected
        recordings.clear()
        assert [text(fast) for _ in range(6)] == [expected] * 6
        assert not recordings
        assert len(fast.programs) <= 4  # those of old texts go


def test_objects_are_freed():
    step = rv.compile(train)
    alive = []
    for seed in range(8):
        model = Net(seed)
        optimizer = optim.Adam(model.parameters())
        for x, y in batches():
            step(model, optimizer, x, y)
        alive += [weakref.ref(model), weakref.ref(optimizer)]
    del step, model, optimizer
    gc.collect()
    assert not any(reference() is not None for reference in alive)


def test_a_variable_of_the_module_that_is_replaced(recordings, monkeypatch):
    module = ModuleType("with_a_model")
    monkeypatch.setitem(sys.modules, "with_a_model", module)
    exec("def predict(x):\n    return model(x)", vars(module))
    step = rv.compile(module.predict)
    x = rv.rand(3, 4)
    with rv.no_grad():
        for seed in range(4):
            rv.manual_seed(seed)
            module.model = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).eval()
            recordings.clear()
            for _ in range(CALLS):
                np.testing.assert_array_equal(step(x).numpy(), module.model(x).numpy())
            assert bool(recordings) == (seed == 0)


def test_a_namespace_that_is_no_module_is_freed():
    space = {"__name__": "nowhere"}
    exec("def predict(x):\n    return model(x)", space)
    space["model"] = nn.Linear(4, 4)
    alive = weakref.ref(space["model"])
    step = rv.compile(space["predict"])
    with rv.no_grad():
        for _ in range(CALLS):
            step(rv.rand(3, 4))
    del step, space
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("read_only", [True, False])
def test_arrays_that_differ_in_more_than_their_shape(read_only):
    """Read-only memory, and strides of dimensions of one element, which Python can read."""

    def step(pair):
        pair.a.add_(1)
        return pair.a * pair.a.stride(0)

    def pair(kind):
        memory = np.ones((1, 3), "f4")
        if kind and not read_only:
            memory = np.ones((4, 6), "f4")[:1, ::2][:, :3]
            memory = np.lib.stride_tricks.as_strided(memory, (1, 3), (400, 4))
        if kind and read_only:
            memory.flags.writeable = False
        made = Pair()
        made.a = rv.from_numpy(memory)
        return made

    fast = rv.compile(step)
    for kind in (0, 1, 0, 1):
        objects, twins = pair(kind), pair(kind)
        for _ in range(CALLS):
            outcomes = []
            for function, one in ((fast, objects), (step, twins)):
                try:
                    outcomes.append(function(one).tolist())
                except RuntimeError as error:
                    outcomes.append(str(error))
            assert outcomes[0] == outcomes[1]


def test_an_attribute_that_an_inner_compiled_function_may_have():
    def inner(x):
        return x * 2

    def make():
        helper = rv.compile(inner)

        def outer(x):
            return helper(x) * getattr(helper, "factor", 1.0)

        return rv.compile(outer), outer, helper

    x = rv.rand(3)
    with rv.no_grad():
        for kind in (0, 1, 0):
            fast, outer, helper = make()
            if kind:
                helper.factor = 3.0
            for call in range(CALLS):
                np.testing.assert_array_equal(fast(x).numpy(), outer(x).numpy())
                if call == 10:
                    helper.factor = 5.0


def test_checks_of_all_objects_count_together():
    def step(pair):
        return pair.a * 2

    fast = rv.compile(step)
    with rv.no_grad():
        for start in range(5):
            objects = Pair()
            objects.a = nn.Parameter(rv.arange(3.0) + start)
            for _ in range(CALLS):
                np.testing.assert_array_equal(fast(objects).numpy(), step(objects).numpy())
    (programs,) = shared_programs._programs.values()
    assert [program.checks for program in programs] == [5]
