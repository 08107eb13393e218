"""`step.run`: forms of its arguments and results, what it refuses, and what its batches leave to calls."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import ranvier as rv
from compile.test_runs import ORDER, X, Y
from ranvier import nn
from ranvier.compile.batches import Batches
from support.refused import refused
from support.strict import strict

Pair = namedtuple("Pair", "first second")


@dataclass
class Record:
    total: rv.Tensor
    rows: list


@pytest.mark.parametrize(
    ("form", "check"),
    [
        (lambda a, b: (a, {"b": [b, None]}), lambda r: (r[0], r[1]["b"][0])),
        (lambda a, b: Pair(a, (b,)), lambda r: (r.first, r.second[0])),
        (lambda a, b: Record(a, [b]), lambda r: (r.total, r.rows[0])),
        (lambda a, b: (a, a, b), lambda r: (r[1], r[2])),
    ],
)
def test_containers_of_results(form, check):
    def step(x):
        return form(x.sum(), x * 2)

    total, rows = check(rv.compile(step).run(rv.tensor(X).reshape(12, 4, 6)))
    np.testing.assert_array_equal(rows.numpy(), X.reshape(12, 4, 6) * 2)
    np.testing.assert_array_equal(total.numpy(), [rv.tensor(x).sum().item() for x in X.reshape(12, 4, 6)])
    assert not total.requires_grad


def test_nested_arguments_keywords_and_plain_values():
    w = nn.Parameter(rv.tensor(2.0))

    def step(batch, factor, *, more, parameter):
        return (batch["x"] * factor + more[0][0]) * parameter.detach()

    fast, x, z = rv.compile(step), rv.tensor(X), rv.tensor(X[:, 0].copy())
    for _ in range(2):
        got = fast.run({"x": x, "name": "a"}, 3.0, more=[(z, 1)], parameter=w)
        np.testing.assert_array_equal(got.numpy(), (X * np.float32(3) + X[:, :1]) * np.float32(2))


def test_results_that_are_no_tensors_or_have_other_shapes_are_in_a_list():
    numbers = rv.compile(lambda x: (x.sum(), 3)).run(rv.ones(5, 2))
    assert [(t.item(), n) for t, n in numbers] == [(2.0, 3)] * 5
    assert rv.compile(lambda x: None).run(rv.ones(5, 2)) is None
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


SAMPLES = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
SCALES = np.arange(10, dtype=np.float32)
GIVEN = rv.tensor(SAMPLES), rv.tensor(SCALES)
TURN = np.random.default_rng(1).permutation(40)


def call(function):
    return function(rv.tensor(SAMPLES[:4]), rv.tensor(SCALES[0]), 2)


def compiled():
    """A function with 30 replays until the next check."""
    function = strict(lambda x, scale, power: ((x * scale).sum(), x**power if power > 1 else x + scale))
    for _ in range(33):
        call(function)
    return function


def batches(first=0, count=10, order=TURN, size=4):
    return Batches(order, size, first, count)


def test_the_run_ends_before_a_check():
    function, done = compiled(), []
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
    function, x, taken = compiled(), SAMPLES.copy(), batches(first, 10 - first)
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
    "the index 40 of 40 samples": (
        (*GIVEN, 2),
        batches(order=np.where(TURN == 39, 40, TURN)),
    ),
    "the index -1 of 40 samples": (
        (*GIVEN, 2),
        batches(order=np.where(TURN == 39, -1, TURN)),
    ),
    "40 rows; expected 11 batches of 4": ((GIVEN[0], rv.zeros(11), 2), batches(count=11)),
    "10 rows; expected 11": ((rv.zeros(44, 3), GIVEN[1], 2), batches(0, 11, np.arange(44))),
    "expected": ((*GIVEN, 2), batches(first=-1, count=1)),
    "an order that is no contiguous array": ((*GIVEN, 2), batches(order=TURN[::2], count=1)),
    "no contiguous array of indices": ((*GIVEN, 2), batches(order=TURN.astype(np.int32), count=1)),
}


def test_what_a_call_would_not_replay_is_left_to_it():
    function = compiled()
    for name, (args, size) in LEFT.items():
        taken = batches(size=size, count=2)
        assert function.run_batches(args, taken) is None, name
        assert taken.done == 0


def test_indices_and_counts_are_checked_before_anything_runs():
    function = compiled()
    for text, (args, taken) in WRONG.items():
        refused((ValueError, TypeError), text, function.run_batches, args, taken)
        assert taken.done == 0
