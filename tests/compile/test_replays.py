"""The exchange between replays and the call: values that are compared, modes, the random stream,
results, gradients and memory. Others: `staleness`.

`strict` compiles a step and raises where it cannot be replayed.
"""

import cProfile
import dataclasses
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, same
from ranvier import nn
from support.refused import refused
from support.strict import strict


def test_error_handling_of_numpy_counts_by_value():
    """Each np.errstate makes a new object."""
    factor = np.float32(2.0)
    step = strict(lambda x: x * factor)
    for divide, programs in (("ignore", 1), ("warn", 2), ("ignore", 2), ("raise", 3)):
        for _ in range(3):
            with np.errstate(divide=divide):
                assert step(rv.ones(2)).tolist() == [2.0, 2.0]
        assert len(step.programs) == programs


def test_a_function_that_is_defined_again():
    """As by a notebook whose cell is run twice: its code is equal to the first one's, but another object."""
    source = "def step(x):\n    return sum(x * i for i in [1.0, 2.0])\n"
    for _ in range(2):
        space = {}
        exec(compile(source, "cell", "exec"), space)
        assert strict(space["step"])(rv.ones(2)).tolist() == [3.0, 3.0]


class Closed(type):
    def __hash__(cls):
        raise OSError("metaclass")


@pytest.mark.filterwarnings("ignore:.compile.")
def test_a_value_that_raises_when_it_is_looked_at_makes_the_step_eager():
    """The step itself never looks: `is None` reads no attribute."""

    def read(self, name):
        raise OSError(name)

    closed, factors = Closed("Own", (), {"__getattribute__": read})(), [2.0]
    step = rv.compile(lambda x: x * factors[0] if closed is not None else x)
    with pytest.warns(UserWarning, match="a value that raises OSError when it is looked at"):
        step(rv.ones(2))
    for factors[0] in (3.0, 4.0, 5.0):
        assert step(rv.ones(2)).tolist() == [factors[0]] * 2
    assert rv.compile(lambda x, other: x * 2)(rv.ones(2), [closed]).tolist() == [2.0, 2.0]


def test_the_stream_that_a_step_draws_from_is_that_of_the_call():
    drop, x = nn.Dropout(0.5), rv.ones(8)

    def found(step):
        a, b = (rv.Generator().manual_seed(seed) for seed in (1, 2))
        shown = []
        for generator in (a, a, a, a, b, b, a, b):
            with rv.random.using(generator):
                shown.append(step(x).tolist())
        return shown

    step = lambda x: drop(x) * 1  # noqa: E731
    assert found(strict(step)) == found(step)


def test_a_profiler_continues_after_a_recording():
    profile = cProfile.Profile()
    profile.enable()
    step, x = strict(lambda x: x * 2), rv.ones(3)
    for _ in range(3):
        step(x)
    sum([1, 2])
    profile.disable()
    assert any("sum" in str(entry.code) for entry in profile.getstats())
    events = []
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        strict(lambda x: x * 3)(x)
        before = len(events)
        sum([1, 2])
    finally:
        sys.setprofile(None)
    assert len(events) > before


def test_a_step_refused_with_gradients_is_captured_without():
    w = rv.ones(3).requires_grad_()
    fast = rv.compile(lambda x: x * w)
    with pytest.warns(UserWarning, match="gradients can still be computed"):
        fast(rv.ones(3))
    with rv.no_grad():
        for _ in range(3):
            fast(rv.ones(3))
    assert len(fast.programs) == 1


CALLS = 10


@dataclasses.dataclass(frozen=True)
class Output:
    first: object
    second: object


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
    """Changes that the caller makes to it are found in the leaf by the next statement, after a check, too."""
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


def test_a_gradient_that_is_read_by_another_name_stays_where_it_is():
    """The other name keeps the old one when the caller sets another."""
    w = rv.ones(3, requires_grad=True)
    held = w.grad = rv.ones(3)

    @strict
    def step(x):
        (w * x).sum().backward()
        return held * 2.0

    for number in range(10):
        if number == 5:
            w.grad = rv.full((3,), 0.5)
        assert step(rv.ones(3)).tolist() == [2.0 * min(number + 2, 6)] * 3
    assert w.grad.tolist() == [5.5] * 3


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


def test_a_step_in_a_file_whose_path_is_no_text():
    """Python keeps bytes of a path that are no UTF-8 as lone surrogates."""
    variables = {}
    exec(compile("def step(x):\n    return x * 2\n", "/caf\udce9/step.py", "exec"), variables)
    step = strict(variables["step"])
    assert [step(rv.full((2,), float(n))).tolist() for n in range(6)] == [[2.0 * n] * 2 for n in range(6)]
    assert step.programs
