"""`step.run`: many calls in one, with the bits, the state and the errors of the same calls in a loop;
forms of its arguments and results, and what it refuses."""

import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, outcome, squares
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.refused import refused
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
    return training(layer, optim.SGD(layer.parameters(), lr=0.1), squares), layer


def into_its_argument():
    step, layer = squared()
    return lambda x: step(x.add_(1)), layer


def looked_up():
    table = nn.Embedding(6, 3)
    return training(table, optim.SGD(table.parameters(), lr=0.1), squares), table


def difference():
    return (lambda x, y: ((x - y) ** 2).sum()), rv.ones(1)


def summed():
    return (lambda x: rv.tensor(x).sum() * 2), rv.ones(1)


@dataclass
class Case:
    """Runs of a step, which are compared with the same calls in a loop.

    make: the step, and what is to be compared after each run. arrays: what the step gets rows of, or a
    function of what is compared that gives them. runs: the indices of each run; None: an entry for each
    step. in_core: the least number of steps that run in the core. between: what happens after each run.
    """

    make: Callable
    arrays: Any
    runs: list
    in_core: int
    between: Callable = lambda number, *watched: None


MOST = STEPS - 7
THREE_RUNS = np.array_split(ORDER, 3)
CASES = {
    "one run": Case(learner, BOTH, [ORDER], MOST),
    "three runs": Case(learner, BOTH, THREE_RUNS, MOST),
    "arrays": Case(learner, (X, Y), THREE_RUNS, MOST),
    "an entry for each step": Case(learner, ENTRIES, [None], 1),
    "a step that returns nothing": Case(returns_nothing, BOTH, [ORDER], MOST),
    "a smaller last batch": Case(learner, BOTH, [RAGGED], 15),
    "changes between runs": Case(reading, BOTH, [ORDER] * 5, 100, changed),
    "losses that are not finite": Case(learner, (rv.tensor(SPOILED), BOTH[1]), [ORDER], 1),
    "a program of another call": Case(summed, (IMAGES,), [BLOCKS, None, BLOCKS], 20),
    "memory that the step changes": Case(counting, BOTH[:1], [ORDER] * 2, 1),
    "its own parameter": Case(of_its_parameter, lambda layer: (layer.weight.detach(),), [None] * 3, 0),
    "its argument": Case(into_its_argument, lambda layer: (rv.ones(12, 4, 6),), [None], 0),
    "columns": Case(summed, (np.asfortranarray(X),), [ORDER], 0),
    "gaps": Case(summed, (np.repeat(X, 2, 0)[::2],), [ORDER], 0),
    "big-endian": Case(summed, (X.astype(">f4"),), [ORDER], 0),
    "one array twice": Case(difference, BOTH[:1] * 2, [ORDER], 0),
    "a wrong index": Case(looked_up, (rv.tensor(WRONG),), [None], 0),
}


def looped(step, *arrays, indices):
    found = [step(*(a[i] for a in arrays)) for i in (range(len(arrays[0])) if indices is None else indices)]
    return found[0] if found[0] is None else rv.stack([t.detach() for t in found])


def played(case, compiled):
    """The observations after each run of the case: result or error, state, arrays, random calls."""
    rv.manual_seed(3)
    step, *watched = case.make()
    arrays = case.arrays(*watched) if callable(case.arrays) else case.arrays
    run, seen = rv.compile(step).run if compiled else partial(looped, step), []
    for number, indices in enumerate(case.runs):
        shown = outcome(run, *arrays, indices=indices)
        seen.append((shown, bits(watched), bits(list(arrays)), rv.random.current().plain_state()["calls"]))
        case.between(number, *watched)
    return seen


@pytest.mark.filterwarnings("ignore:.compile.")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bits_are_those_of_a_loop(case, runs):
    expected = played(case, False)
    assert played(case, True) == expected
    assert sum(runs) >= case.in_core


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
    """An object with a compiled method, its training step."""

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
        np.testing.assert_array_equal(found.numpy(), looped(Model(seed).train, x, indices=ORDER).numpy())
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
                seen.append(
                    infer.run(BOTH[0], indices=part) if compiled else looped(predict, BOTH[0], indices=part)
                )
                model.train()
            seen.append(train.run(*BOTH, indices=part) if compiled else looped(step, *BOTH, indices=part))
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
