"""Code of a module whose effect has to come at each call: it is never replayed by itself."""

import collections
import copy
import random
import sys
import time
import types

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from compile.test_repeated import NETWORKS, OFTEN, as_written, replays
from compile.test_repeated_classes import Base
from ranvier import nn

pytestmark = pytest.mark.usefixtures("replayed_soon")

FACTOR = 2.0
CALLS = []


def store_attribute(self, x):
    self.scale += 1
    return x


def store_global(self, x):
    global FACTOR
    FACTOR += 0.0
    CALLS.append(1)
    return x


def append(self, x):
    self.seen.append(len(self.seen))
    return x


def append_few(self, x):
    if len(self.seen) < 300:
        self.seen.append(1)
    return x


def store_item(self, x):
    self.kept["calls"] = self.kept.get("calls", 0) + 1
    return x


def update(self, x):
    self.kept.update(calls=self.kept.get("calls", 0) + 1)
    return x


def count(self, x):
    self.counts.update(["calls"])
    return x


def next_number(self, x):
    return x * next(self.numbers)


def add_name(self, x):
    self.names.add(len(self.names))
    return x


def push(self, x):
    self.queue.append(len(self.queue))
    return x


def keep(self, x):
    object.__setattr__(self, "last", x)
    return x


def keep_by_setattr(self, x):
    setattr(self, "last", x)  # noqa: B010
    return x


def by_vars(self, x):
    vars(self)["scale"] = self.scale + 1
    return x


def draw(self, x):
    return x * random.random()


def draw_by_numpy(self, x):
    return x * float(np.random.rand())  # noqa: NPY002


def tell_time(self, x):
    return x * (time.perf_counter() > 0)


def say(self, x):
    print("called", file=sys.stderr)
    return x


def read(self, x):
    return x if x.sum().item() > 0 else -x


def branch(self, x):
    return x * 2 if (x > 0).any() else x


def yields(self, x):
    return next(y for y in [x * self.scale])


EFFECTS = [
    *(
        store_attribute,
        store_global,
        append,
        append_few,
        store_item,
        update,
        count,
        next_number,
        add_name,
        push,
    ),
    *(keep, keep_by_setattr, by_vars, draw, draw_by_numpy, tell_time, say, read, branch, yields),
]


STATE = {
    "seen": list,
    "kept": dict,
    "names": set,
    "counts": collections.Counter,
    "numbers": lambda: iter(range(1, 10**6)),
    "queue": collections.deque,
}


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("effect", EFFECTS)
@rv.no_grad()
def test_code_with_an_effect_runs_at_each_call(effect, inner):
    used = [name for name in STATE if name in effect.__code__.co_names]

    class Inner(Base):
        def __init__(self):
            super().__init__()
            for name in used:
                setattr(self, name, STATE[name]())

        def forward(self, x):
            return effect(self, super().forward(x))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, x):
            return self.inner(x) * 2

    model = Outer() if inner else Inner()
    owner = model.inner if inner else model
    twin = copy.deepcopy(model)
    twins = twin.inner if inner else twin
    xs = [rv.randn(4, 6) for _ in range(4)]
    for i in range(OFTEN + 60):
        random.seed(i), np.random.seed(i)  # noqa: NPY002
        mine = model(xs[i % 4])
        random.seed(i), np.random.seed(i)  # noqa: NPY002
        assert bits(mine) == bits(as_written(twin, xs[i % 4]))
        if i % 64 == 63:
            model(xs[0][:3]), as_written(twin, xs[0][:3])
    assert owner.scale == twins.scale
    for name in used:
        mine, other = getattr(owner, name), getattr(twins, name)
        assert mine == other or next(mine) == next(other)
    assert hasattr(owner, "last") == hasattr(twins, "last")
    if hasattr(owner, "last"):
        assert bits(owner.last) == bits(twins.last)


def in_place(self, x):
    self.mean.mul_(0.5).add_(x.mean(0), alpha=0.5)
    return x + self.mean


def of_the_argument(self, x):
    return x.mul_(0.5)


@pytest.mark.parametrize("change", [in_place, of_the_argument])
@rv.no_grad()
def test_changes_of_tensors_are_made_at_each_call(change):
    class Changes(Base):
        def forward(self, x):
            if change is of_the_argument:
                change(self, x)
                return self.first(x)
            return change(self, self.first(x))

    model = Changes()
    twin = copy.deepcopy(model)
    for i in range(OFTEN + 20):
        rv.manual_seed(i)
        x = rv.randn(4, 6)
        y = x.clone()
        if i % 3 == 0:
            x, y = rv.randn(6, 4).t(), None
            y = x.clone()
        assert bits(model(x)) == bits(as_written(twin, y))
        assert bits(x) == bits(y)
        assert bits(model.mean) == bits(twin.mean)


def compiled(model):
    return rv.compile(lambda x: model(x))


@pytest.mark.filterwarnings("ignore:.*NumPy does it")
@pytest.mark.parametrize("wrap", [lambda model: model, compiled])
@pytest.mark.parametrize(
    "fill", [nn.init.xavier_uniform_, nn.init.normal_, nn.init.eye_, nn.init.orthogonal_]
)
@rv.no_grad()
def test_what_init_fills_is_filled_at_each_call(fill, wrap):
    class Fills(Base):
        def forward(self, x):
            fill(self.second.weight)
            return self.first(x)

    model, x = Fills(), rv.randn(4, 6)
    twin, call = copy.deepcopy(model), wrap(model)
    for i in range(OFTEN + 20):
        for run, owner in (call, model), (lambda x: as_written(twin, x), twin):
            rv.manual_seed(i)
            owner.second.weight.mul_(2)
            run(x)
        assert bits(model.second.weight) == bits(twin.second.weight)


def nonlocal_counter():
    calls = 0

    def count_call(x):
        nonlocal calls
        calls += 1
        return x

    return count_call, lambda: calls


COUNT_CALL, COUNTED = nonlocal_counter()
BOX = types.SimpleNamespace(marked=False, marks={}, seen=[None])
MARKED = False


def mark(x):
    BOX.marked = True
    return x


def mark_item(x):
    BOX.marks["called"] = True
    return x


def mark_place(x):
    BOX.seen[0] = "called"
    return x


def mark_nonlocal(x):
    return COUNT_CALL(x)


def mark_global(x):
    global MARKED
    MARKED = True
    return x


def marks():
    return MARKED, BOX.marked, dict(BOX.marks), list(BOX.seen), COUNTED()


@pytest.mark.parametrize("store", [mark, mark_item, mark_place, mark_nonlocal, mark_global])
@rv.no_grad()
def test_what_code_stores_and_does_not_read_is_stored_at_each_call(store):
    """The caller takes it away after many calls. Guards see that too, but nothing is recorded at all."""
    global MARKED

    class Marks(Base):
        def forward(self, x):
            return store(super().forward(x))

    model, x = Marks(), rv.randn(4, 6)
    for _ in range(OFTEN):
        model(x)
    MARKED = BOX.marked = False
    BOX.seen[0] = None
    BOX.marks.clear()
    before = marks()
    model(x)
    assert marks() != before
    assert not replays(model)


class Counter(nn.Module):
    """Code of the user's, which has to run at each call."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


@rv.no_grad()
def test_code_of_the_user_runs_at_each_call():
    x, counter = rv.randn(2, 4), Counter()
    model = nn.Sequential(nn.Linear(4, 4), counter)
    for _ in range(OFTEN):
        model(x)
    assert counter.calls == OFTEN
    assert not replays(model)
    model.pop(1)
    later = nn.Sequential(*model)
    for _ in range(OFTEN):
        later(x)
    assert replays(later)
    later.append(counter)
    for _ in range(OFTEN):
        later(x)
    assert counter.calls == 2 * OFTEN


def twice(original):
    def wrapped(*args, **kwargs):
        wrapped.calls += 1
        return original(*args, **kwargs) * 2

    wrapped.calls = 0
    return wrapped


@pytest.mark.parametrize("when", [0, OFTEN])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *((nn.Sequential, name) for name in ("forward", "__call__")),
        *((nn.Linear, name) for name in ("forward", "__call__")),
        (nn.Module, "__call__"),
        ("the network", "forward"),
    ],
    ids=str,
)
def test_what_wraps_a_method_runs_at_each_call(monkeypatch, owner, name, when):
    model, x = NETWORKS["mlp"][0](), rv.randn(4, 6)
    owner = model if owner == "the network" else owner
    with rv.no_grad():
        for _ in range(when):
            model(x)
        wrapper = twice(getattr(owner, name))
        monkeypatch.setattr(owner, name, wrapper)
        expected, each = bits(as_written(model, x)), wrapper.calls
        wrapper.calls = 0
        assert [bits(model(x)) for _ in range(OFTEN)] == [expected] * OFTEN
        assert wrapper.calls == each * OFTEN
