"""`step.run`: many calls in one, with the bits, the state and the errors of the same calls in a loop;
forms of its arguments and results, and what it refuses."""

import types

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, outcome, squares
from ranvier import nn, optim
from ranvier.compile.batches import Batches
from ranvier.nn import functional as F
from support.refused import refused
from support.strict import strict
from support.threads import in_threads
from support.training import training

STEPS = 30
RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 48)
ORDER = np.stack([RNG.permutation(48)[:8] for _ in range(STEPS)])
ONCE = RNG.permutation(48)
RAGGED = [ONCE[i : i + 5] for i in range(0, 48, 5)] * 4
SPOILED = np.where(np.arange(48)[:, None] == 11, np.float32(np.nan), X)
IMAGES = RNG.standard_normal((40, 4, 6)).astype(np.float32)
BLOCKS = np.arange(40).reshape(10, 4)
LABELS = RNG.integers(0, 6, (20, 4))
WRONG = np.where(np.arange(80).reshape(20, 4) == 54, 6, LABELS)
BOTH = rv.tensor(X), rv.tensor(Y)
ENTRIES = rv.tensor(X.reshape(6, 8, 6)), rv.tensor(Y.reshape(6, 8))


def learner():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return training(model, optimizer), model, optimizer


def returns_nothing():
    step, *watched = learner()

    def update(x, y):
        step(x, y)

    return update, *watched


def reading():
    """It depends on a variable, a mode, settings and a schedule, which change between runs."""
    _, model, optimizer = learner()
    held = types.SimpleNamespace(scale=1.0)
    optimizer.held, optimizer.schedule = held, optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    return training(model, optimizer, lambda z, y: F.cross_entropy(z, y) * held.scale), model, optimizer


def changed(number, model, optimizer):
    optimizer.held.scale = 2.0 if number else 1.0
    model.train(number != 2)
    optimizer.param_groups[0]["momentum"] = 0.8 - 0.1 * number
    optimizer.schedule.step()


def squared():
    layer = nn.Linear(6, 2)
    return training(layer, optim.SGD(layer.parameters(), lr=0.01), squares), layer


def counting():
    """It adds to memory of its own."""
    total, (step, layer) = rv.zeros(6), squared()

    def count(x):
        total.add_(x.sum(0))
        return step(x * total.tanh())

    return count, total, layer


def of_its_parameter():
    """Its argument is a parameter, which it changes."""
    layer = nn.Linear(6, 2)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    step = training(layer, optimizer, squares)
    step.rows = layer.weight.detach()
    return step, layer


def into_its_argument():
    step, layer = squared()
    return lambda x: step(x.add_(1)), layer


def looked_up():
    table = nn.Embedding(6, 3)
    return training(table, optim.SGD(table.parameters(), lr=0.1), squares), table


def summed():
    return (lambda x: rv.tensor(x).sum() * 2), rv.ones(1)


# What makes the step, arrays, the indices of each run (None: an entry for each step), the least number of
# steps in the core, and what happens between runs.
ROWS = {
    "one run": (learner, BOTH, [ORDER], STEPS - 7),
    "three runs": (learner, BOTH, np.array_split(ORDER, 3), STEPS - 7),
    "arrays": (learner, (X, Y), np.array_split(ORDER, 3), STEPS - 7),
    "an entry for each step": (learner, ENTRIES, [None], 1),
    "a step that returns nothing": (returns_nothing, BOTH, [ORDER], STEPS - 7),
    "a smaller last batch": (learner, BOTH, [RAGGED], 15),
    "changes between runs": (reading, BOTH, [ORDER] * 5, 100, changed),
    "losses that are not finite": (learner, (rv.tensor(SPOILED), BOTH[1]), [ORDER], 1),
    "a program of another call": (summed, (IMAGES,), [BLOCKS, None, BLOCKS], 20),
    "memory that the step changes": (counting, BOTH[:1], [ORDER] * 2, 1),
    "its own parameter": (of_its_parameter, "rows", [None] * 3, 0),
    "its argument": (into_its_argument, "copies", [None], 0),
    "columns": (summed, (np.asfortranarray(X),), [ORDER], 0),
    "gaps": (summed, (np.repeat(X, 2, 0)[::2],), [ORDER], 0),
    "big-endian": (summed, (X.astype(">f4"),), [ORDER], 0),
    "one array twice": (lambda: (lambda x, y: ((x - y) ** 2).sum(), rv.ones(1)), BOTH[:1] * 2, [ORDER], 0),
    "a wrong index": (looked_up, (rv.tensor(WRONG),), [None], 0),
}  # fmt: skip


def looped(step, given, indices):
    found = [step(*(a[i] for a in given)) for i in (range(len(given[0])) if indices is None else indices)]
    return found[0] if found[0] is None else rv.stack([t.detach() for t in found])


def played(row, compiled):
    make, given, parts, _, *between = row
    rv.manual_seed(3)
    step, *watched = make()
    given = (step.rows,) if given == "rows" else (rv.ones(12, 4, 6),) if given == "copies" else given
    fast, shown = rv.compile(step), []
    for number, indices in enumerate(parts):
        run = (
            (lambda n=indices: fast.run(*given, indices=n))
            if compiled
            else lambda n=indices: looped(step, given, n)
        )
        shown.append(
            (
                outcome(run),
                bits(watched),
                bits(list(given)),
                rv.random.current().plain_state()["calls"],
            )
        )
        for change in between:
            change(number, *watched)
    return shown


@pytest.mark.filterwarnings("ignore:.compile.")
@pytest.mark.parametrize("name", ROWS)
def test_bits_are_those_of_a_loop(name, runs):
    expected = played(ROWS[name], False)
    assert played(ROWS[name], True) == expected
    assert sum(runs) >= ROWS[name][3]


def test_what_cannot_be_captured_warns_once_and_runs(recwarn):
    w = rv.ones(3, requires_grad=True)
    step = rv.compile(lambda x: (x * w.sum().item()).sum())
    for _ in range(2):
        np.testing.assert_array_equal(step.run(rv.ones(5, 2)).numpy(), np.full(5, 6.0))
    assert ["runs eagerly: item" in str(w.message) for w in recwarn] == [True]


def test_strict_raises_after_one_step():
    seen = []
    step = rv.compile(lambda x: seen.append(x.sum().item()), strict=True)
    with pytest.raises(rv.CaptureError):
        step.run(rv.ones(4, 2))
    assert seen == [2.0]


class Model:
    def __init__(self, seed):
        rv.manual_seed(seed)
        self.train, self.layer = squared()

    @rv.compile
    def step(self, x):
        return self.train(x)


@pytest.mark.filterwarnings("ignore:.compile.")
def test_a_method_of_two_objects_and_a_step_in_a_step(runs):
    models, x = [Model(0), Model(1)], rv.tensor(X)
    losses = [model.step.run(x, indices=ORDER) for model in models]
    assert sum(runs) > STEPS
    for seed, found in enumerate(losses):
        np.testing.assert_array_equal(found.numpy(), looped(Model(seed).train, (x,), ORDER).numpy())
    outer = rv.compile(lambda parts: models[0].step.run(parts).sum())
    inner = [outer(rv.tensor(X.reshape(6, 8, 6))).item() for _ in range(5)]
    assert inner == sorted(inner, reverse=True)


def test_two_steps_that_share_parameters(runs):
    def go(compiled):
        rv.manual_seed(3)
        step, model, _ = learner()
        predict = lambda x: F.softmax(model(x), 1)  # noqa: E731
        train, infer = rv.compile(step), rv.compile(predict)
        seen = []
        for part in np.split(ORDER, 3):
            with rv.no_grad():
                model.eval()
                seen.append(infer.run(BOTH[0], indices=part) if compiled else looped(predict, BOTH[:1], part))
                model.train()
            seen.append(train.run(*BOTH, indices=part) if compiled else looped(step, BOTH, part))
        return bits([seen, model])

    assert go(True) == go(False)
    assert sum(runs) > 30


def test_two_threads_run_one_step():
    total = rv.zeros(1)
    fast = rv.compile(lambda x: total.add_(x.sum()) * 1)
    in_threads(2, lambda number: [fast.run(rv.ones(50, 3)) for _ in range(20)])
    assert total.item() == 2 * 20 * 50 * 3


# --- forms of arguments and results
def test_nested_arguments_keywords_and_plain_values():
    w = nn.Parameter(rv.tensor(2.0))

    def step(batch, factor, *, more, parameter):
        return (batch["x"] * factor + more[0][0]) * parameter.detach()

    fast, x, z = rv.compile(step), rv.tensor(X), rv.tensor(X[:, 0].copy())
    for _ in range(2):
        got = fast.run({"x": x, "name": "a"}, 3.0, more=[(z, 1)], parameter=w)
        np.testing.assert_array_equal(got.numpy(), (X * np.float32(3) + X[:, :1]) * np.float32(2))


def test_results_of_other_shapes_are_in_a_list():
    ragged = rv.compile(lambda x: x * 2).run(rv.tensor(X), indices=[np.arange(8)] * 6 + [np.arange(3)])
    assert [len(r) for r in ragged] == [8] * 6 + [3]
    np.testing.assert_array_equal(ragged[-1].numpy(), X[:3] * 2)


def test_arrays_and_tensors_have_separate_programs():
    def step(x):
        return rv.tensor(1.0 if isinstance(x, np.ndarray) else 2.0) * rv.ones(2)

    fast = rv.compile(step)
    for _ in range(3):
        assert (fast.run(rv.tensor(X)).numpy() == 2).all()
        assert (fast.run(X).numpy() == 1).all()


# --- what is refused, before anything runs
@pytest.mark.parametrize(
    ("error", "text", "args", "indices"),
    [
        (ValueError, "got no array", (3.0,), None),
        (ValueError, "got no array", (nn.Parameter(rv.ones(2)),), None),
        (ValueError, "an array without axes", (rv.tensor(1.0),), None),
        (ValueError, "arrays of 48, 47 steps", (X, Y[1:]), None),
        (ValueError, "got no steps", (X[:0],), None),
        (ValueError, "got no steps", (X,), ORDER[:0]),
        (ValueError, "got no steps", (X,), []),
        (ValueError, "the index 48", (X,), [np.array([1, 2]), np.array([3, 48])]),
        (ValueError, "the index -1", (X,), np.array([[0, -1]])),
        (TypeError, "other indices", (X,), ORDER[0]),
        (TypeError, "other indices", (X,), ORDER * 1.0),
        (TypeError, "other indices", (X,), ORDER > 3),
        (TypeError, "other indices", (X,), [1, 2]),
        (TypeError, "other indices", (X,), [ORDER]),
        (TypeError, "other indices", (X,), 3),
    ],
)
def test_refusals(error, text, args, indices):
    ran = []
    step = rv.compile(lambda *a: ran.append(a))
    refused(error, text, step.run, *args, indices=indices)
    refused(error, "[run] got", step.run, *args, indices=indices)
    assert not ran


# --- batches of a run, as the core takes them
SAMPLES = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
SCALES = np.arange(10, dtype=np.float32)
GIVEN = rv.tensor(SAMPLES), rv.tensor(SCALES)
TURN = np.random.default_rng(1).permutation(40)


def call(function):
    return function(rv.tensor(SAMPLES[:4]), rv.tensor(SCALES[0]), 2)


def replaying():
    """A function with 30 replays until the next check."""
    function = strict(lambda x, scale, power: ((x * scale).sum(), x**power if power > 1 else x + scale))
    for _ in range(33):
        call(function)
    return function


def batches(first=0, count=10, order=TURN, size=4):
    return Batches(order, size, first, count)


def test_the_run_ends_before_a_check():
    function, done = replaying(), []
    for _ in range(5):
        taken = batches(count=8)
        function.run_batches((*GIVEN, 2), taken)
        done.append(taken.done)
    assert done == [8, 8, 8, 6, 0]
    (program,) = function.programs
    checks = program.checks
    call(function)
    assert program.checks == checks + 1


@pytest.mark.parametrize(("first", "done"), [(0, 4), (2, 2), (4, 6)])
def test_it_ends_after_a_number_that_is_not_finite(first, done):
    function, x, taken = replaying(), SAMPLES.copy(), batches(first, 10 - first)
    x[TURN[14]] = np.nan
    total, powers = function.run_batches((rv.tensor(x), GIVEN[1], 2), taken)
    assert taken.done == len(total) == done
    rows = x[TURN[4 * first :][: 4 * done]].reshape(done, 4, 3)
    np.testing.assert_array_equal(powers.numpy(), rows**2)
    assert np.isnan(total.numpy()).tolist() == [False] * (done - 1) + [first < 4]


LEFT = {
    "value": ((*GIVEN, 3), 4),
    "size": ((*GIVEN, 2), 5),
    "shape": ((GIVEN[0][:, :2].clone(), GIVEN[1], 2), 4),
    "dtype": ((GIVEN[0].double(), GIVEN[1], 2), 4),
    "layout": ((rv.from_numpy(np.asfortranarray(SAMPLES)), GIVEN[1], 2), 4),
    "axes": ((GIVEN[0], GIVEN[1][:, None], 2), 4),
    "number": (GIVEN, 4),
    "parameter": ((rv.nn.Parameter(rv.tensor(SAMPLES)), GIVEN[1], 2), 4),
}
WRONG = {
    "the index 40 of 40 samples": ((*GIVEN, 2), batches(order=np.where(TURN == 39, 40, TURN))),
    "the index -1 of 40 samples": ((*GIVEN, 2), batches(order=np.where(TURN == 39, -1, TURN))),
    "40 rows; expected 11 batches of 4": ((GIVEN[0], rv.zeros(11), 2), batches(count=11)),
    "10 rows; expected 11": ((rv.zeros(44, 3), GIVEN[1], 2), batches(0, 11, np.arange(44))),
    "expected": ((*GIVEN, 2), batches(first=-1, count=1)),
    "an order that is no contiguous array": ((*GIVEN, 2), batches(order=TURN[::2], count=1)),
    "no contiguous array of indices": ((*GIVEN, 2), batches(order=TURN.astype(np.int32), count=1)),
}


def test_what_a_call_would_not_replay_is_left_to_it():
    function = replaying()
    for name, (args, size) in LEFT.items():
        taken = batches(size=size, count=2)
        assert function.run_batches(args, taken) is None, name
        assert taken.done == 0


def test_indices_and_counts_are_checked_before_anything_runs():
    function = replaying()
    for text, (args, taken) in WRONG.items():
        refused((ValueError, TypeError), text, function.run_batches, args, taken)
        assert taken.done == 0
