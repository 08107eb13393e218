"""rv.compile names the reason why a step cannot be replayed, and the line."""

import collections
import datetime
import hashlib
import io
import itertools
import math
import operator
import os
import random
import time

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim


def refused(function, *args):
    with pytest.raises(rv.CaptureError) as caught:
        rv.compile(function)(*args)
    assert "test_refused_steps.py" in str(caught.value) or "return" in str(caught.value)
    return caught.value


def test_a_value_read_is_refused_and_names_the_line():
    error = refused(lambda x: (x * 2).sum().item(), np.ones(3, np.float32))
    assert "item()" in str(error)
    assert error.result == 6.0


def test_numpy_noise_is_refused_unless_constant():
    x = np.random.default_rng(1).random(3, np.float32)
    refused(lambda x: x + np.random.default_rng(0).random(3, np.float32), x)
    step = rv.compile(lambda x: x + rv.constant(np.full(3, 2, np.float32)))
    assert step(x).tolist() == step(x).tolist() == (x + np.float32(2)).tolist()


@pytest.mark.parametrize("key", [[0, 1], ([0, 1], [1, 0]), [True, False, True, False]])
def test_places_set_by_arrays_are_refused(key):
    key = tuple(map(np.array, key)) if isinstance(key, tuple) else np.array(key)

    def step(x):
        y = x.clone()
        y[key] = 1.0
        return y

    with pytest.raises(rv.CaptureError, match=r"a change in place at .*; the core has no kernel for it"):
        rv.compile(step)(rv.ones(4, 4))


def test_an_intermediate_that_is_kept_is_refused():
    kept, x = [], np.ones(3, np.float32)
    step = rv.compile(lambda x: (kept.append(x * 2), x + 1)[1])
    step(x)  # which may set something up
    with pytest.raises(
        rv.CaptureError, match=r"still referenced .*test_refused_steps.py|test_refused_steps.py.*still ref"
    ):
        step(x)
    assert [k.tolist() for k in kept] == [[2.0] * 3] * 2
    refused(lambda x: x, np.ones(3, np.float32))


def test_an_iterator_from_outside_is_refused():
    turns = iter(range(100))
    step = rv.compile(lambda x: rv.exp(x) if next(turns) % 2 else rv.tanh(x))
    with pytest.raises(rv.CaptureError, match="turns in <lambda>, a range_iterator") as caught:
        step(np.ones(3, np.float32))
    np.testing.assert_array_equal(caught.value.result.numpy(), np.tanh(np.ones(3, np.float32)))


def test_numbers_that_change_are_found_by_the_check():
    scale = [1.0]

    def function(x):
        scale[0] += 1
        return x * scale[0]

    step, x = rv.compile(function), np.ones(3, np.float32)
    step(x)
    with pytest.raises(
        rv.CaptureError, match="changes the items of the variable scale in function each time"
    ) as caught:
        step(x)
    assert caught.value.result.tolist() == [3.0] * 3
    unchecked = rv.compile(function, verify=False)
    unchecked(x)
    with pytest.raises(rv.CaptureError, match="changes the items of the variable scale"):
        unchecked(x)


@pytest.mark.parametrize("values", [(1.0, float("nan")), (float("nan"), 1.0)])
def test_a_nan_differs_from_every_number(values):
    numbers = iter(values)
    step, x = rv.compile(lambda x: x * next(numbers)), np.ones(3, np.float32)
    with pytest.raises(rv.CaptureError):
        step(x), step(x)


def unseen(memory, at):
    """A function that adds one to an element; it is not noticed, because NumPy's code is not read."""
    space = {"memory": memory, "at": at}
    file = os.path.join(os.sep, "numpy", "unseen.py")
    exec(compile("def change():\n    memory[at] += 1\n", file, "exec"), space)
    return space["change"]


@pytest.mark.parametrize("at", [0, 5])
@pytest.mark.parametrize(
    "result",
    [
        lambda numbers, at: numbers.clone(),
        lambda numbers, at: numbers.double(),
        lambda numbers, at: numbers.long(),
        lambda numbers, at: numbers > at + 1,
    ],
    ids=["float32", "float64", "int64", "bool"],
)
def test_changes_without_a_guard_are_found_in_every_element(result, at):
    numbers = rv.arange(6.0)
    change = unseen(numbers._array, at)

    def function():
        change()
        return result(numbers, at)

    step = rv.compile(function)
    step()
    with pytest.raises(rv.CaptureError, match=r"reads memory that .*test_refused_steps\.py:\d+\)"):
        step()


@pytest.mark.parametrize("verify", [0, -1, 1.5, "often", None])
def test_an_invalid_verify_is_refused(verify):
    with pytest.raises(ValueError, match=r"\[compile\] got verify"):
        rv.compile(lambda x: x, verify=verify)


def test_truth_values_are_true_or_false() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"\[Trainer\] got compile 'no'; expected True or False"):
        rv.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), compile="no")


def test_objects_that_cannot_be_called_are_refused():
    with pytest.raises(TypeError, match=r"\[compile\] got int; expected a function or a Module"):
        rv.compile(3)


GENERATOR, SOURCE, HASH = random.Random(0), io.BytesIO(b"text"), hashlib.sha256()
FOREIGN = {  # what is called, and its name in the message
    r"time\.time": lambda: time.time(),
    r"posix\.getpid": lambda: os.getpid(),
    r"datetime\.datetime\.now": lambda: datetime.datetime.now(),
    r"Random\.random": lambda: GENERATOR.random(),
    r"BytesIO\.read": lambda: SOURCE.read(),
    r"\.update": lambda: HASH.update(b"more"),
    r"calls print": lambda: print(end=""),
}
PURE = {
    "math": lambda: math.sqrt(4.0),
    "operator": lambda: operator.add(1, 1),
    "itertools": lambda: list(itertools.chain([1], [2])),
    "text": lambda: "-".join(["a", "b"]).upper(),
    "containers": lambda: sorted({2, 1} | set(collections.Counter("ab").values())),
    "numpy": lambda: np.dtype("f4").itemsize + int(np.int64(2)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_functions_that_are_not_known_to_be_pure_are_refused(name):
    with pytest.raises(rv.CaptureError, match=name):
        rv.compile(lambda x: (FOREIGN[name](), x * 2)[1])(rv.ones(2))


@pytest.mark.parametrize("name", PURE)
def test_pure_functions_may_be_called(name):
    step = rv.compile(lambda x: (PURE[name](), x * 2)[1])
    for _ in range(3):
        assert step(rv.ones(2)).tolist() == [2.0, 2.0]
    assert len(step.programs) == 1
