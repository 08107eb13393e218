"""Many batches in one call of a program: results of separate calls, and refusals before anything runs."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.compile.batches import Batches
from ranvier.train.compiled import CompiledOrEager
from support.refused import refused

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
SCALES = np.arange(10, dtype=np.float32)
ORDER = np.random.default_rng(1).permutation(40)


def scaled(x, scale, power):
    return (x * scale).sum(), x**power if power > 1 else x + scale


def as_trainer(function):
    """Compiled as Trainer does: arrays of NumPy arrive as Tensors."""
    return CompiledOrEager("fit", function)


def compiled():
    """A function whose program was measured, with 30 replays until the next check."""
    function = as_trainer(scaled)
    for _ in range(32):
        function(X[:4], np.array(SCALES[0]), 2)
    function(X[:4], np.array(SCALES[0]), 2)
    return function


def batches(first=0, count=10, order=ORDER, size=4):
    return Batches(order, size, first, count)


@pytest.mark.parametrize("order", [ORDER, None])
@pytest.mark.parametrize("first", [0, 3])
def test_results_are_those_of_separate_calls(order, first):
    function, taken = compiled(), batches(first, 10 - first, order)
    total, powers = function.run_batches((X, SCALES, 2), taken)
    assert taken.done == len(total) == 10 - first
    for i in range(taken.done):
        rows = np.arange(40) if order is None else order
        chosen = X[rows[4 * (first + i) :][:4]]
        expected = scaled(rv.tensor(chosen), rv.tensor(SCALES[first + i]), 2)
        assert total.numpy()[i].tobytes() == expected[0].numpy().tobytes()
        np.testing.assert_array_equal(powers.numpy()[i], expected[1].numpy())


def test_the_run_ends_before_a_check():
    function = compiled()
    (program,) = function.programs
    assert program.checks_left == 30
    done = []
    for _ in range(4):
        taken = batches(count=8)
        function.run_batches((X, SCALES, 2), taken)
        done.append(taken.done)
    assert done == [8, 8, 8, 6]
    assert program.checks_left == 0
    assert function.run_batches((X, SCALES, 2), batches()) is None
    checks = program.checks
    function(X[:4], np.array(SCALES[0]), 2)
    assert program.checks == checks + 1


def test_it_ends_after_a_number_that_is_not_finite():
    function, x = compiled(), X.copy()
    x[ORDER[14]] = np.nan
    taken = batches()
    total, _ = function.run_batches((x, SCALES, 2), taken)
    assert taken.done == len(total) == 4
    assert np.isnan(total.numpy()[3])


@pytest.mark.parametrize(
    ("args", "size"),
    [
        ((X, SCALES, 3), 4),
        ((X, SCALES, 2), 5),
        ((X[:, :2].copy(), SCALES, 2), 4),
        ((X.astype(np.float64), SCALES, 2), 4),
        ((np.asfortranarray(X), SCALES, 2), 4),
        ((X, SCALES[:, None], 2), 4),
        ((X, SCALES), 4),
        ((rv.nn.Parameter(rv.tensor(X)), SCALES, 2), 4),
    ],
    ids=["value", "size", "shape", "dtype", "layout", "axes", "number", "parameter"],
)
def test_what_a_call_would_not_replay_is_left_to_it(args, size):
    taken = batches(size=size, count=2)
    assert compiled().run_batches(args, taken) is None
    assert taken.done == 0


def test_a_guard_that_does_not_hold():
    class Settings:
        factor = 2.0

    settings = Settings()
    function = as_trainer(lambda x: (x * settings.factor).sum())
    for _ in range(5):
        function(X[:4])
    assert function.run_batches((X,), batches(count=1)) is not None
    settings.factor = 3.0
    assert function.run_batches((X,), batches(count=1)) is None


def test_indices_and_counts_are_checked_before_anything_runs():
    function = compiled()
    wrong = ORDER.copy()
    for index in (40, -1):
        wrong[39] = index
        refused(ValueError, f"[program] got the index {index} of 40 samples", function.run_batches,
                (X, SCALES, 2), batches(order=wrong))  # fmt: skip
    refused(ValueError, "[program] got 40 rows; expected 11 batches of 4", function.run_batches,
            (X, np.zeros(11, np.float32), 2), batches(count=11))  # fmt: skip
    refused(ValueError, "[program] got 10 rows; expected 11 batches of 1", function.run_batches,
            (np.zeros((44, 3), np.float32), SCALES, 2), batches(count=11, order=np.arange(44)))  # fmt: skip
    refused(ValueError, "expected", function.run_batches, (X, SCALES, 2), batches(first=-1, count=1))
    for order in (ORDER.astype(np.int32), ORDER[::2], ORDER[:, None], ORDER.tolist()):
        refused(TypeError, "[program] got an order that is no contiguous array of indices",
                function.run_batches, (X, SCALES, 2), batches(order=order, count=1))  # fmt: skip
    (program,) = function.programs
    assert program.core.batches_done == 0
