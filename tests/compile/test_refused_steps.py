"""rv.compile names the reason why a step cannot be replayed, the line, and what to do instead."""

import collections
import datetime
import hashlib
import io
import itertools
import math
import operator
import os
import random
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn.utils import rnn
from support.strict import strict
from support.unseen import unseen

PACKAGE = str(Path(rv.__file__).parents[1])
X = rv.ones(4, 3)


class Turns:
    def __init__(self):
        self.turns = iter(range(9))

    def scale(self):
        return next(self.turns)


GENERATOR, SOURCE, HASH = random.Random(0), io.BytesIO(b"text"), hashlib.sha256()
TURNS, WEIGHT = iter(range(100)), rv.ones(3, requires_grad=True)
PLACES, NOTHING = (
    rv.tensor([1, 2]),
    rv.tensor([math.nan]),
)  # values that decide on shapes
GRU, PACKED = nn.GRU(1, 2), rnn.pack_sequence([rv.ones(2, 1), rv.ones(1, 1)])
OWNER = types.SimpleNamespace(scale=Turns().scale)
HERE = r".*test_refused_steps\.py"
NUMPY_MADE = rf"{HERE}.* make it before the step or with rv\.arange"


def put(x, *key):
    y = x.clone()
    y[key[0] if len(key) == 1 else key] = 1.0
    return y


def started(x):
    threading.Thread(target=int).start()
    return x * 2


def pooled(x):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: x * 2).result()


def calls(function):
    """A step that calls this function without arguments."""
    return lambda x: x * (1 + (function() is None))


def of_dtype(dtype, better):
    array = np.arange(4).astype(dtype)
    return lambda x: rv.abs(x) * 2, array, f"an array of the arguments is {array.dtype}.*{better}"


# The step, its argument, and the message of the first call.
REFUSED = {
    "a value": (lambda x: (x * 2).sum().item(), X, rf"item\(\) reads a value at {HERE}"),
    "places to split at": (lambda x: x * x.tensor_split(PLACES)[0].sum(), X, "tensor_split reads a value"),
    "an index of no dimension": (lambda x: x * len(rv.argwhere(PLACES[0])), X, "argwhere reads a value"),
    "a median of nothing": (lambda x: x * rv.nanmedian(NOTHING), X, "nanmedian reads a value"),
    "a rank": (lambda x: x * len(rv.linalg.lstsq(X, X, driver="gelsd").residuals), X, "lstsq reads a value"),
    "steps of sequences": (lambda x: x * GRU(PACKED)[1].mean(), X, "gru reads a value"),
    "lengths of sequences": (
        lambda x: x * rnn.pad_packed_sequence(PACKED)[0].mean(),
        X,
        "pad_packed_sequence reads a value",
    ),
    "trials": (
        lambda x: x * rv.distributions.Binomial(PLACES[1:], probs=rv.tensor([0.5])).entropy(),
        X,
        "enumerate_support reads a value",
    ),
    "noise of NumPy": (lambda x: x + np.random.default_rng(0).random(3, np.float32), X, HERE),
    "places by numbers": (lambda x: put(x, np.array([0, 1])), X, NUMPY_MADE),
    "places by two": (lambda x: put(x, np.array([0, 1]), np.array([1, 0])), X, NUMPY_MADE),
    "places by a mask": (lambda x: put(x, np.array([True, False, False, True])), X, NUMPY_MADE),
    "its argument": (lambda x: x, X, r"returns one of its arguments at .*; return a clone\(\)"),
    "an iterator": (lambda x: x * next(TURNS), X, "TURNS in <lambda>, a range_iterator"),
    "that of a method": (lambda x: x * OWNER.scale(), X, r"OWNER in <lambda>\.turns, a range_iterator"),
    "a live tape": (
        lambda x: (x * WEIGHT).sum(),
        X,
        r"gradients can still be computed.* call backward\(\) in it, or call it under rv\.no_grad\(\)",
    ),
    "arange of NumPy": (lambda x: x[np.arange(4)], X, NUMPY_MADE),
    "full of NumPy": (lambda x: x * np.full(3, 2, np.float32), X, NUMPY_MADE),
    "a list of Tensors": (lambda x: rv.tensor([x[0, 0], x[0, 1]]) * 2, X, r"use rv\.stack"),
    "big endian": of_dtype(">f4", r"float32 \(astype\)"),
    "big integers": of_dtype(">i8", "int64"),
    "a thread": (started, X, rf"calls threading\.__init__ at {HERE}"),
    "a pool": (pooled, X, rf"calls concurrent\.futures\.thread\.__init__ at {HERE}"),
    "the time": (calls(lambda: time.time()), X, rf"calls time\.time at {HERE}"),
    "the process": (calls(lambda: os.getpid()), X, r"calls (posix|nt)\.getpid"),
    "the date": (calls(lambda: datetime.datetime.now()), X, r"calls datetime\.datetime\.now"),
    "a generator": (calls(lambda: GENERATOR.random()), X, r"Random\.random"),
    "a file": (calls(lambda: SOURCE.read()), X, r"BytesIO\.read"),
    "a hash": (calls(lambda: HASH.update(b"more")), X, r"\.update"),
    "print": (calls(lambda: print(end="")), X, "calls print"),
    "random": (calls(random.random), X, rf"calls random\.Random\.random at {HERE}"),
    "choice": (calls(lambda: random.choice([1, 2])), X, rf"calls random\.choice at {HERE}"),
    "random of NumPy": (calls(np.random.random), X, "depends on .*, a RandomState"),
    "rand of NumPy": (calls(lambda: getattr(np.random, "rand".lower())()), X, "depends on .*, a RandomState"),
    "a permutation": (calls(lambda: rv.randperm(5)), X, f"a draw of NumPy's generator at {HERE}"),
    "an integer": (calls(lambda: rv.randint(0, 9, (1,))), X, f"a draw of NumPy's generator at {HERE}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_first_call_is_refused(name):
    step, x, said = REFUSED[name]
    with pytest.raises(rv.CaptureError, match=said) as caught:
        strict(step)(x)
    if name == "a value":
        assert caught.value.result == 24.0


def test_an_intermediate_that_is_kept_is_refused():
    kept = []
    step = strict(lambda x: (kept.append(x * 2), x + 1)[1])
    step(X)  # which may set something up
    with pytest.raises(rv.CaptureError, match=rf"{HERE}.*still referenced|still referenced.*{HERE}"):
        step(X)
    assert [k.tolist() for k in kept] == [(X * 2).tolist()] * 2


@pytest.mark.parametrize("verify", [True, False])
def test_numbers_that_change_are_found_by_the_check(verify):
    scale = [1.0]

    def function(x):
        scale[0] += 1
        return x * scale[0]

    step = strict(function, verify=verify)
    step(X)
    with pytest.raises(
        rv.CaptureError, match="changes the items of the variable scale in function"
    ) as caught:
        step(X)
    assert caught.value.result.tolist() == (X * 3).tolist()


@pytest.mark.parametrize("values", [(1.0, float("nan")), (float("nan"), 1.0)])
def test_a_nan_differs_from_every_number(values):
    number = unseen("return next(numbers)", numbers=iter(values))
    step = strict(lambda x: x * number())
    step(X)
    with pytest.raises(rv.CaptureError, match=r"instruction 0, .*differ"):
        step(X)


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
    change = unseen(f"numbers._array[{at}] += 1", numbers=numbers)

    def function():
        change()
        return result(numbers, at)

    step = strict(function)
    step()
    with pytest.raises(rv.CaptureError, match=rf"reads memory that {HERE}:\d+\)"):
        step()


PURE = {
    "math": lambda: math.sqrt(4.0),
    "operator": lambda: operator.add(1, 1),
    "itertools": lambda: list(itertools.chain([1], [2])),
    "text": lambda: "-".join(["a", "b"]).upper(),
    "containers": lambda: sorted({2, 1} | set(collections.Counter("ab").values())),
    "numpy": lambda: np.dtype("f4").itemsize + int(np.int64(2)),
}


@pytest.mark.parametrize("name", PURE)
def test_pure_functions_may_be_called(name):
    step = strict(lambda x: (PURE[name](), x * 2)[1])
    for _ in range(3):
        assert step(rv.ones(2)).tolist() == [2.0, 2.0]
    assert len(step.programs) == 1


def test_numbers_drawn_by_another_thread_are_allowed():
    running = True

    def draw():
        while running:
            np.random.rand()  # noqa: NPY002
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(20):
            step = strict(lambda x: x * 2)
            assert [step(X).tolist() for _ in range(3)] == [[[2.0] * 3] * 4] * 3
        with pytest.raises(rv.CaptureError, match="RandomState"):
            strict(lambda x: x * np.random.rand())(X)  # noqa: NPY002
    finally:
        running = False
        thread.join()


def test_a_module_of_random_numbers_may_be_imported_by_the_step():
    code = (
        "import sys, ranvier as rv\n"
        "def f(x):\n    import random\n    return x * 2\n"
        "assert 'random' not in sys.modules\n"
        "step = rv.compile(f, strict=True)\n"
        "assert [step(rv.ones(1)).item() for _ in range(3)] == [2.0] * 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": PACKAGE})


def test_drawn_floats_are_new_in_each_replay():
    step = strict(lambda x: x * rv.rand(3))
    assert len({tuple(step(X)[0].tolist()) for _ in range(5)}) == 5


@pytest.mark.parametrize("verify", [0, -1, 1.5, "often", None])
def test_an_invalid_verify_is_refused(verify):
    with pytest.raises(ValueError, match=r"\[compile\] got verify"):
        strict(lambda x: x, verify=verify)


def test_wrong_kinds_are_refused() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"\[Trainer\] got compile 'no'; expected True or False"):
        rv.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), compile="no")
    with pytest.raises(TypeError, match=r"\[compile\] got int; expected a function or a Module"):
        strict(3)
