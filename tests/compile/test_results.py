"""Results of compiled steps and models: containers, arguments among them, gradients, memory, tapes."""

import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, same
from ranvier import nn
from support.refused import refused
from support.strict import strict

CALLS = 10


Named = namedtuple("Named", "first second")
Pair, Bag = type("Pair", (tuple,), {}), type("Bag", (dict,), {})


@dataclasses.dataclass(frozen=True)
class Output:
    first: object
    second: object
    note: str = "none"


@dataclasses.dataclass(slots=True)
class Slotted:
    first: object
    second: object
    inner: object = None


@dataclasses.dataclass
class Late:
    loss: object
    norm: object = dataclasses.field(init=False)


class Doubled(namedtuple("Doubled", "first second")):
    def __new__(cls, x):
        return super().__new__(cls, x, x * 2)


@dataclasses.dataclass
class WithInit:
    loss: object
    scale: dataclasses.InitVar[float]
    scaled: object = None

    def __post_init__(self, scale):
        self.scaled = self.loss * scale


@dataclasses.dataclass
class Closed:
    loss: object

    def __getstate__(self):
        raise TypeError("not to be pickled")


def around_itself(x):
    made = [x * 2]
    made.append(made)
    return made


# What makes the result of x, and whether it is replayed (None: it may be), or why not.
MADE = {
    "dict": (lambda x: {"given": x * 1, "made": (x * 2, [x + 1])}, True),
    "one in two places": (lambda x: (lambda y: (y, {"same": y}))(x * 2), True),
    "equal lists": (lambda x: ([x * 2], [x * 2]), True),
    "nothing": (lambda x: None, True),
    "plain values": (lambda x: (x * 2, None, 3, "text", True), True),
    "OrderedDict": (lambda x: OrderedDict(second=x * 2, first=x + 1), True),
    "named tuple": (lambda x: Named(x * 2, x + 1), True),
    "dataclass": (lambda x: Output(x * 2, x + 1, "both"), True),
    "slots": (lambda x: Slotted(x * 2, x + 1), True),
    "nested": (lambda x: Slotted([x * 2], OrderedDict(a=Output({"b": x + 1}, None)), (Output(1, 2),)), True),
    "integers": (lambda x: (x * 9).long(), True),
    "booleans": (lambda x: x > 0, True),
    "float64": (lambda x: x.double() * 2, True),
    "a constant": (lambda x: rv.constant(np.full(3, 2, np.float32)) + x.mean(), True),
    "InitVar": (lambda x: WithInit(x.sum(), 2.0), None),
    "a field that is not set": (lambda x: Late(x.sum()), None),
    "a dataclass that cannot be copied": (lambda x: Closed(x.sum()), None),
    "a tuple of its own class": (lambda x: Pair((x * 2, x + 1)), None),
    "a named tuple with __new__": (lambda x: Doubled(x + 1), None),
    "itself": (around_itself, "itself|in two places"),
    "a list in two places": (lambda x: (lambda both: (both, both))([x * 2]), "the same list in two places"),
    "a dict in two places": (
        lambda x: (lambda b: [b, {"b": b}])({"x": x * 2}),
        "the same dict in two places",
    ),
    "a dict of its own class": (
        lambda x: Bag(x=x * 2),
        "returns a Bag, .* tuple, list, dict, OrderedDict or data",
    ),
    "a set": (lambda x: Slotted(x * 2, {1}), "returns a set, which a replay"),
    "a leaf": (lambda x: (x * 2).requires_grad_(), "a leaf that it has made"),
}


def fields(x):
    """A result as containers that can be compared, where it holds itself, too."""
    if dataclasses.is_dataclass(x):
        names = [f.name for f in dataclasses.fields(x) if hasattr(x, f.name)]
        return type(x), [fields(getattr(x, name)) for name in names]
    if isinstance(x, dict):
        return type(x), [(key, fields(value)) for key, value in x.items()]
    if isinstance(x, (list, tuple)):
        return type(x), ["itself" if part is x else fields(part) for part in x]
    return (type(x), bits(x), x.requires_grad) if isinstance(x, rv.Tensor) else x


@pytest.mark.filterwarnings("ignore:.compile.")
@pytest.mark.parametrize("name", MADE)
def test_what_a_step_makes(name):
    make, captured = MADE[name]
    step, kept = rv.compile(make), []
    for number in range(CALLS):
        (x,) = drawn((4, 3))(number)
        kept.append((step(x), fields(make(x))))
    assert all(fields(found) == expected for found, expected in kept)  # each in its own memory
    containers = [found for found, _ in kept if not isinstance(found, (rv.Tensor, type(None)))]
    assert len({id(found) for found in containers}) == len(containers)
    assert captured is None or bool(step.programs) == (captured is True)
    if isinstance(captured, str):
        with pytest.raises(rv.CaptureError, match=captured):
            strict(make)(x)


GETS = {
    "a named tuple": lambda n: Named(n, n + 1),
    "a named tuple with __new__": Doubled,
    "a tuple of its own class": lambda n: Pair((n, n + 1)),
}


@pytest.mark.filterwarnings("ignore:.compile.")
@pytest.mark.parametrize("name", GETS)
@pytest.mark.parametrize("array", [True, False])
def test_what_a_step_gets(name, array):
    def function(t):
        return rv.tensor(t[0]).sum() + rv.tensor(t[1]).mean() * len(type(t).__name__)

    step = rv.compile(function)
    for number in range(CALLS):
        x = np.full(3, number, np.float32)
        given = GETS[name](x if array else rv.tensor(x))
        assert step(given).item() == function(given).item()


def test_an_argument_that_holds_itself(recwarn):
    items = [1]
    items.append(items)
    step = rv.compile(lambda x, items: x * len(items))
    for number in range(CALLS):
        assert step(rv.full((3,), number), items).tolist() == [2.0 * number] * 3
    assert step.programs or ["[compile]" in str(w.message) for w in recwarn] == [True]


# --- arguments that a model returns
class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


RETURNING = {
    "identity": nn.Identity(),
    "dropout": nn.Sequential(nn.Dropout2d(0.3)),
    "flatten": nn.Flatten(),
    "slice": Layer(lambda x: x[:, :1]),
    "among others": Layer(lambda x: {"given": x, "made": (x * 2, x)}),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("name", RETURNING)
def test_a_model_that_returns_its_argument(name, dtype):
    model = RETURNING[name].eval()
    fast, kept = strict(model), []
    for number in range(5):
        x = (np.arange(48).reshape(2, 3, 2, 4) % 5 - number).astype(dtype)
        if x.dtype.kind == "f":
            x[0, 0, 0, :2] = [np.nan, -0.0]
        kept.append((fast(x), bits(model(rv.tensor(x.copy())))))
        x[...] = 1  # the result has its own memory
    assert all(bits(found) == expected for found, expected in kept)
    assert len(fast.programs) == 1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_integer_arguments(dtype):  # that the model does not return, but for int64
    table = nn.Embedding(9, 4)
    model = Layer(lambda index, x: Output(table(index).sum(-1) * x, index if dtype == np.int64 else x)).eval()

    def inputs(number):
        return rv.tensor((np.arange(6) + number).astype(dtype) % 9), rv.full((6,), number)

    with rv.no_grad():
        assert same(lambda: model, inputs).programs


# --- gradients, tapes, and what the caller does to a result
@pytest.mark.parametrize("view", [lambda g: g, lambda g: g.detach(), lambda g: g.view(-1)[1:]])
def test_a_gradient_among_the_results_is_that_of_the_leaf(view):
    """What the caller does to it, the next statement finds in the leaf, after a check, too."""
    w = nn.Parameter(rv.ones(3, 2))

    @strict
    def gradient(x):
        w.grad = None
        (w * x).sum().backward()
        return view(w.grad), w.detach()

    for i in range(9):
        x = rv.full((3, 2), i + 1.0)
        found, data = gradient(x)
        assert (found is w.grad) == (view(w.grad) is w.grad)
        found.zero_()
        expected = x.clone()
        view(expected).zero_()
        np.testing.assert_array_equal(w.grad.numpy(), expected.numpy())
        assert not data.requires_grad
        data.requires_grad_()
    assert len(gradient.programs) == 2  # one for the first call, which finds no gradient


def test_a_gradient_is_the_one_of_the_call():
    p, x = rv.ones(3, requires_grad=True), rv.ones(3)
    step = strict(lambda x: (x * 2, p.grad))
    for value in (1.0, 1.0, 1.0, 7.0, 8.0, None):
        p.grad = None if value is None else rv.full((3,), value)
        assert step(x)[1] is p.grad


def test_views_of_one_result_count_its_changes_together():
    step = strict(lambda x: (lambda y: (y, y.view(-1)))(x * 2))
    w = rv.ones(3, requires_grad=True)
    for _ in range(4):
        y, view = step(rv.ones(3))
        loss = (view * w).sum()
        y.add_(100.0)
        refused(RuntimeError, "modified by an inplace operation", loss.backward)


def test_a_tape_notices_a_replay_after_a_change_of_another_part():
    w = nn.Parameter(rv.ones(3, 2))
    optimizer = rv.optim.SGD([w], lr=0.1)

    @strict
    def train(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    x = rv.ones(3, 2)
    for _ in range(5):
        train(x)
    with rv.no_grad():
        w[0].mul_(2)
    loss = (w[1:] * w[1:]).sum()
    train(x)
    refused(RuntimeError, "modified by an inplace operation", loss.backward)


def test_a_tape_notices_a_change_before_a_replay_of_another_part():
    w, both = nn.Parameter(rv.ones(2)), rv.ones(4)
    first = both[:2]
    double = strict(lambda: first.mul_(2).sum())
    for _ in range(5):
        double()
    loss = (w * both[2:]).sum()
    both[2:].add_(1.0)
    double()
    refused(RuntimeError, "modified by an inplace operation", loss.backward)


class Cache:
    def __init__(self):
        self.sum = rv.zeros(2)


def test_an_object_that_is_given_may_be_returned():
    step = rv.compile(lambda x, cache: (x + cache.sum.add_(x), cache), strict=True)
    for cache in (Cache(), Cache()):
        for number in range(1, CALLS):
            y, returned = step(rv.ones(2), cache)
            assert (y.tolist(), returned) == ([number + 1.0] * 2, cache)
    assert len(step.programs) == 2
