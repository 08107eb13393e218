"""rv.compile names the reason why a step cannot be replayed, the line, and what to do instead.

`strict` is rv.compile that raises CaptureError where it would warn and run the step eagerly.
"""

import datetime
import hashlib
import io
import math
import os
import random
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import ranvier as rv
from compile.beside import squares
from ranvier import nn, optim
from ranvier.nn import functional as F
from ranvier.nn.utils import rnn
from support.refused import refused
from support.strict import strict
from support.threads import beside
from support.training import training

X = rv.ones(4, 3)
GENERATOR, SOURCE, HASH = random.Random(0), io.BytesIO(b"text"), hashlib.sha256()
TURNS, WEIGHT = iter(range(100)), rv.ones(3, requires_grad=True)
PLACES, NOTHING = rv.tensor([1, 2]), rv.tensor([math.nan])  # values that decide on shapes
LABELS, SHARES = rv.tensor([0, 2, 1, 0]), rv.tensor([0, 0.5, 1, 0.25])
ADAM, STEP, LONG = optim.Adam([WEIGHT]), "step", [2.0] * 1025
GRU, PACKED = nn.GRU(1, 2), rnn.pack_sequence([rv.ones(2, 1), rv.ones(1, 1)])
PAIR, OWNER = [2.0, 3.0], types.SimpleNamespace(turns=iter(range(9)))
HERE = r".*test_refused_steps\.py"
NUMPY_MADE = rf"{HERE}.* make it before the step or with rv\.arange"
VALUE = "reads a value"


def put(x, *key):
    y = x.clone()
    y[key[0] if len(key) == 1 else key] = 1.0
    return y


def pooled_twice(x):
    w = x.clone().requires_grad_()
    (g,) = rv.autograd.grad((F.max_pool1d(w, 2) ** 2).sum(), w, create_graph=True)
    return rv.autograd.grad((g * g).sum(), w)[0]


def started(x):
    threading.Thread(target=int).start()
    return x * 2


def pooled(x):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: x * 2).result()


def catches(x):
    try:
        return x[rv.tensor([0, 9])]
    except IndexError:
        return x * 0


def calls(function):
    """A step that calls this function without arguments."""
    return lambda x: x * (1 + (function() is None))


def trains(after):
    """A training step that does this with its optimizer or schedule, too."""
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    inner = training(model, optimizer, squares)
    return lambda x: (inner(x), after(optimizer, schedule))[0]


PLACE_OF_X = hash(X)
(WEIGHT * 2).sum().backward(), ADAM.step()

# The step, and the message of the first call.
REFUSED = {
    "a value": (lambda x: (x * 2).sum().item(), rf"item\(\) reads a value at {HERE}"),
    "a condition": (lambda x: x if x.sum() > 0 else -x, HERE),
    "isnan": (lambda x: x if rv.isnan(x).any() else -x, HERE),
    "numpy()": (lambda x: x * x.numpy().mean(), HERE),
    "a metric": (lambda x: x * rv.metrics.accuracy_score(LABELS, LABELS), HERE),
    "a new seed": (lambda x: [rv.manual_seed(1), x * 2][1], HERE),
    "a mask picks": (lambda x: x[x > 0].sum(), HERE),
    "masked_select": (lambda x: rv.masked_select(x, x > 0) * 1, HERE),
    "nonzero": (lambda x: x * len(rv.nonzero(x > 0)), HERE),
    "where alone": (lambda x: x * len(rv.where(x > 0)[0]), HERE),
    "one number as an index": (lambda x: x[LABELS[0]] * 1, HERE),
    "classes not given": (lambda x: x * F.one_hot(LABELS), f"one_hot without num_classes{HERE}"),
    "multinomial": (lambda x: x[0] * rv.multinomial(SHARES, 2).sum(), f"multinomial{HERE}"),
    "bernoulli": (lambda x: x[:, 0] * rv.bernoulli(SHARES), f"bernoulli{HERE}"),
    "poisson": (lambda x: x[:, 0] * rv.poisson(SHARES), f"poisson{HERE}"),
    "bincount": (lambda x: x[0] * rv.bincount(LABELS), HERE),
    "quantile": (lambda x: rv.quantile(x, SHARES), f"quantile{HERE}"),
    "unique": (lambda x: rv.unique(x).sum() * x, HERE),
    "packing": (
        lambda x: rnn.pack_padded_sequence(x[:, :, None], LABELS + 1, True, False)[0],
        f"pack_padded_sequence{HERE}",
    ),
    "set_": (lambda x: rv.zeros(3).set_(x) * 1, f"set_{HERE}"),
    "repeats": (lambda x: rv.repeat_interleave(x, LABELS, 0), f"repeat_interleave{HERE}"),
    "a state of an optimizer": (lambda x: x * float(ADAM.state[WEIGHT]["step"]), VALUE),
    "a state, by a variable": (lambda x: x * float(ADAM.state[WEIGHT][STEP]), VALUE),
    "a state, by an item": (lambda x: x * float(ADAM.state[WEIGHT][[STEP][0]]), VALUE),
    "all of a state": (
        lambda x: x * float(next(v for v in ADAM.state[WEIGHT].values() if v.ndim == 0)),
        VALUE,
    ),
    "a long list": (lambda x: x * LONG[7], r"a list of 1025 items, too many"),
    "places to split at": (lambda x: x * x.tensor_split(PLACES)[0].sum(), f"tensor_split {VALUE}"),
    "an index of no dimension": (lambda x: x * len(rv.argwhere(PLACES[0])), f"argwhere {VALUE}"),
    "a median of nothing": (lambda x: x * rv.nanmedian(NOTHING), f"nanmedian {VALUE}"),
    "a rank": (lambda x: x * len(rv.linalg.lstsq(X, X, driver="gelsd").residuals), f"lstsq {VALUE}"),
    "steps of sequences": (lambda x: x * GRU(PACKED)[1].mean(), f"gru {VALUE}"),
    "lengths": (lambda x: x * rnn.pad_packed_sequence(PACKED)[0].mean(), f"pad_packed_sequence {VALUE}"),
    "trials": (
        lambda x: x * rv.distributions.Binomial(PLACES[1:], probs=rv.tensor([0.5])).entropy(),
        f"enumerate_support {VALUE}",
    ),
    "noise of NumPy": (lambda x: x + np.random.default_rng(0).random(3, np.float32), HERE),
    "places by numbers": (lambda x: put(x, np.array([0, 1])), NUMPY_MADE),
    "places by two": (lambda x: put(x, np.array([0, 1]), np.array([1, 0])), NUMPY_MADE),
    "places by a mask": (lambda x: put(x, np.array([True, False, False, True])), NUMPY_MADE),
    "arange of NumPy": (lambda x: x[np.arange(4)], NUMPY_MADE),
    "full of NumPy": (lambda x: x * np.full(3, 2, np.float32), NUMPY_MADE),
    "a list of Tensors": (lambda x: rv.tensor([x[0, 0], x[0, 1]]) * 2, r"use rv\.stack"),
    "itself": (lambda x: (lambda made: made.append(made) or made)([x * 2]), "itself|in two places"),
    "a list twice": (lambda x: (lambda b: (b, b))([x * 2]), "the same list in two places"),
    "a dict twice": (lambda x: (lambda b: [b, {"b": b}])({"x": x * 2}), "the same dict in two places"),
    "a list that it reads": (lambda x: (x * PAIR[0], PAIR), "returns a list or dict that it reads"),
    "a set": (lambda x: [x * 2, {1}], "returns a set, which a replay"),
    "a dict of its own class": (
        lambda x: type("Bag", (dict,), {})(x=x * 2),
        "returns a Bag, .* tuple, list, dict, OrderedDict or data",
    ),
    "a leaf": (lambda x: (x * 2).requires_grad_(), "a leaf that it has made"),
    "its argument": (lambda x: x, r"returns one of its arguments at .*; return a clone\(\)"),
    "an error of values": (catches, r"catches an error of the library \(OpIndexError\) at .*test_refused"),
    "an iterator": (lambda x: x * next(TURNS), "TURNS in <lambda>, a range_iterator"),
    "that of an object": (lambda x: x * next(OWNER.turns), r"OWNER in <lambda>\.turns, a range_iterator"),
    "a live tape": (
        lambda x: (x * WEIGHT).sum(),
        r"gradients can still be computed.* call backward\(\) in it, or call it under rv\.no_grad\(\)",
    ),
    "a slope of a slope of a pool": (pooled_twice, "the second derivative of max pooling"),
    "a schedule": (trains(lambda o, schedule: schedule.step()), r"schedule's step\(\) at .*test_refused"),
    "a thread": (started, rf"calls threading\.__init__ at {HERE}"),
    "a pool": (pooled, rf"calls concurrent\.futures\.thread\.__init__ at {HERE}"),
    "the time": (calls(lambda: time.time()), rf"calls time\.time at {HERE}"),
    "the process": (calls(lambda: os.getpid()), r"calls (posix|nt)\.getpid"),
    "the date": (calls(lambda: datetime.datetime.now()), r"calls datetime\.datetime\.now"),
    "a generator": (calls(lambda: GENERATOR.random()), r"Random\.random|GENERATOR"),
    "a file": (calls(lambda: SOURCE.read()), r"BytesIO"),
    "its argument's hash": (lambda x: x * (2 if hash(x) == PLACE_OF_X else 3), rf"calls hash at {HERE}"),
    "its argument's own hash": (lambda x: x * (2 if x.__hash__() == PLACE_OF_X else 3), "names __hash__"),
    "a hash": (calls(lambda: HASH.update(b"more")), r"\.update|HASH"),
    "print": (calls(lambda: print(end="")), "calls print"),
    "random": (calls(random.random), rf"calls random\.Random\.random at {HERE}"),
    "choice": (calls(lambda: random.choice([1, 2])), rf"calls random\.choice at {HERE}"),
    "random of NumPy": (calls(np.random.random), "depends on .*, a RandomState|RandomState.random"),
    "memory of NumPy": (
        lambda x: x + float(np.empty_like(np.float32(1))),
        r"empty_like, .* not listed|multiarray\.empty_like",
    ),
    "a permutation": (calls(lambda: rv.randperm(5)), f"a draw of NumPy's generator at {HERE}"),
    "an integer": (calls(lambda: rv.randint(0, 9, (1,))), f"a draw of NumPy's generator at {HERE}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_first_call_is_refused(name):
    step, said = REFUSED[name]
    with pytest.raises(rv.CaptureError, match=said) as caught:
        strict(step)(X)
    if name == "a value":
        assert caught.value.result == 24.0


@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_arguments_of_another_machine(dtype):
    with pytest.raises(rv.CaptureError, match=f"is {dtype}|bytes in the order of another machine"):
        strict(lambda x: rv.abs(x) * 2)(np.arange(4).astype(dtype))


def set_to_an_argument(p, x):
    p.grad = x


def set_to_a_view(p, x):
    (p * x).sum().backward()
    p.grad = p.grad.detach()


def set_the_data(p, x):
    (p * x).sum().backward()
    p.grad.data = p.grad * 2


@pytest.mark.parametrize("step", [set_to_an_argument, set_to_a_view, set_the_data])
def test_gradients_that_a_replay_could_not_set(step):
    p = nn.Parameter(rv.ones(3))
    p.grad = rv.ones(3)
    with pytest.raises(rv.CaptureError, match=r"not made a gradient|changes its data"):
        strict(lambda x: step(p, x))(rv.ones(3))


def keeps(kept):
    return lambda x: (kept.append(x * 2), x + 1)[1]


def counts(scale):
    def function(x):
        scale[0] += 1
        return x * scale[0]

    return function


def rate(optimizer, schedule):
    optimizer.param_groups[0]["lr"] *= 0.9


# The step, and the message of the second call; the first may set something up.
LATER = {
    "an intermediate that is kept": (keeps([]), rf"{HERE}.*still referenced|still referenced.*{HERE}"),
    "a counter": (counts([1.0]), "changes the items of the variable scale in function"),
    "settings": (trains(rate), "the step changes the settings of the variable"),
}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", LATER)
def test_the_second_call_is_refused(name, verify):
    function, said = LATER[name]
    step = strict(function, verify=verify)
    expected = step(X)
    with pytest.raises(rv.CaptureError, match=said) as caught:
        step(X)
    assert caught.value.result.shape == expected.shape  # that of the eager step, which has run once


def test_numbers_drawn_by_another_thread_are_allowed():
    def draw():
        np.random.rand()  # noqa: NPY002
        random.random()

    with beside(draw):
        for _ in range(20):
            step = strict(lambda x: x * 2)
            assert [step(X).tolist() for _ in range(3)] == [[[2.0] * 3] * 4] * 3
        with pytest.raises(rv.CaptureError, match="RandomState"):
            strict(lambda x: x * np.random.rand())(X)  # noqa: NPY002


def test_wrong_kinds_are_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"\[Trainer\] got compile 'no'; expected True or False"):
        rv.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), compile="no")
    refused(TypeError, "[compile] got int; expected a function or a Module", strict, 3)


def test_what_is_kept_at_each_call_of_many_forms_is_told():
    kept = []
    step = rv.compile(lambda x, n: (kept.append(x * 2), x + n)[1])
    with pytest.warns(UserWarning, match="is still referenced after the step"):
        _ = [step(X, n) for n in range(8)]
