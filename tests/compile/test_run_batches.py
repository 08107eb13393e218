"""Batches of a run, as the core takes them: `run_batches` of a compiled function.

One call of the core replays a function on many batches, rows of arrays in a given order, and notes in
`Batches.done` how many; it ends where a single call would do something else than a replay.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.compile.many_calls import Batches
from support.refused import refused
from support.strict import strict

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


LEFT = {  # arguments, and rows of a batch
    "value": ((*GIVEN, 3), 4),
    "size": ((*GIVEN, 2), 5),
    "shape": ((GIVEN[0][:, :2].clone(), GIVEN[1], 2), 4),
    "dtype": ((GIVEN[0].double(), GIVEN[1], 2), 4),
    "layout": ((rv.from_numpy(np.asfortranarray(SAMPLES)), GIVEN[1], 2), 4),
    "axes": ((GIVEN[0], GIVEN[1][:, None], 2), 4),
    "number": (GIVEN, 4),
    "parameter": ((rv.nn.Parameter(rv.tensor(SAMPLES)), GIVEN[1], 2), 4),
}
WRONG = {  # the error: arguments, and batches
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
