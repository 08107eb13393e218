"""Calls that the core answers without Python: when, when not, and changes between them.

After some replays a compiled function is called without entering Python (`direct` waits for that); `entered`
gives the Python functions that a call enters. Results have to have the bits of the function that is not
compiled.
"""

import sys
import threading
from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, outcome
from ranvier import nn
from ranvier.nn import functional as F
from support.strict import strict

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
RUNS_EAGERLY = pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")


class Block(nn.Module):
    """A network that reads what the changes below change."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 4)
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(4)
        self.scale, self.powers, self.table = 1.0, [1, 2], {"shift": 0.5}

    def forward(self, x):
        h = self.drop(self.a(x).tanh()) * self.scale
        for power in self.powers:
            h = h * power
        return self.norm(self.b(h)) + self.table["shift"]


def entered(call, *args, **kwargs):
    """The Python functions that a call enters, and its result."""
    found = []
    sys.setprofile(lambda frame, event, arg: found.append(frame.f_code.co_name) if event == "call" else None)
    try:
        result = call(*args, **kwargs)
    finally:
        sys.setprofile(None)
    return found, result


def direct(fast, *args):
    """The result of the first call that the core answers."""
    for _ in range(40):
        found, result = entered(fast, *args)
        if {*found} <= {"current"}:  # a guard of the random stream
            return result
    raise AssertionError(found)


@pytest.fixture(params=["model", "function"])
def pair(request):
    """A compiled function and the same in Python."""
    rv.manual_seed(0)
    model = Block().eval()
    if request.param == "model":
        return rv.compile(model), model, model
    return rv.compile(f := lambda x: F.softmax(model(x), 1) * 2), f, model


@rv.no_grad()
def test_no_python_runs_where_nothing_has_changed(pair):
    fast, eager, _ = pair
    x = rv.from_numpy(X)
    results = [direct(fast, x), fast(x)]
    assert results[0] is not results[1]
    for result in results:
        assert bits(result) == bits(eager(x))
        assert result.numpy().flags.owndata
        assert (result.grad, result.grad_fn, result.requires_grad, result._version) == (None, None, False, 0)
    results[0].zero_()
    assert bits(fast(x)) == bits(results[1])


@rv.no_grad()
def test_a_tuple_of_results():
    model = Block().eval()
    two = rv.compile(lambda x: (y := model(x), {"sum": y.sum(), "same": y}))
    x = rv.from_numpy(X)
    for _ in range(12):
        two(x)
    found, (y, more) = entered(two, x)
    assert "_call" not in found
    assert y is more["same"]
    assert bits(more["sum"]) == bits(y.sum())


class Pair(NamedTuple):
    x: Any
    more: Any


def total(x, scale=1.0, **more):
    """The sum of all Tensors in x and more, with plain values as factors."""
    if isinstance(x, dict):
        x = [*x.keys(), *x.values()]
    if isinstance(x, (list, tuple)):
        return sum(total(item, 1 + i) for i, item in enumerate(x)) * scale + sum(map(total, more.values()))
    return (x.sum() if isinstance(x, rv.Tensor) else len(x) if isinstance(x, str) else x) * scale


# Calls of a few signatures: arguments and keywords
SIGNATURES = {
    "numbers": lambda x, y: [([x, k], {}) for k in range(10)],
    "True and 1": lambda x, y: [([x, k], {}) for k in (True, 1, 1.0)],
    "zeros": lambda x, y: [([x, k], {}) for k in (-1.0, 0.0, -0.0)],
    "zeros in a list": lambda x, y: [([[x, k]], {}) for k in (0.0, -0.0)],
    "scalars of NumPy": lambda x, y: [([x, k], {}) for k in (np.float32(2), np.float64(3))],
    "texts": lambda x, y: [([[x, k]], {}) for k in ("a", "aa")],
    "keywords": lambda x, y: [([x], {"scale": 2.0, "b": y}), ([x], {"b": y, "scale": 2.5}), ([x], {"b": y})],
    "another keyword": lambda x, y: [([x], {"b": y}), ([x], {"other": y}), ([x], {"b": y, "other": y})],
    "keywords and places": lambda x, y: [([x, 1], {}), ([x], {"scale": 1}), ([], {"x": x})],
    "lists and tuples": lambda x, y: [([[x, y], 2], {}), ([(x, y), 2], {})],
    "a named tuple": lambda x, y: [([Pair(x, (y, 1))], {}), ([(x, (y, 1))], {})],
    "the same Tensor twice": lambda x, y: [([[x, y]], {}), ([[x, x]], {})],
    "twice in lists": lambda x, y: [([[x, [x]]], {}), ([[x, [y]]], {})],
    "a longer list": lambda x, y: [([[x, [y]]], {}), ([[x, [y, y]]], {})],
    "dicts": lambda x, y: [([{"a": x, "b": y}], {}), ([{"a": x, "b": 3, "c": 4}], {})],
    "keys": lambda x, y: [([{"a": x, "b": y}], {}), ([{"aa": x, "b": y}], {})],
    "a list in a dict": lambda x, y: [([{"a": [x, n], "b": y}], {}) for n in (1, 2)],
    "shapes": lambda x, y: [([x[:n] * 1.0], {}) for n in range(1, 4)],
    "dtypes": lambda x, y: [([[x, [y]]], {}), ([[x, [y.double()]]], {})],
    "items": lambda x, y: [([[x, k]], {}) for k in ([1, 2], [2, 1], [1, 2, 0], (1, 2), [1, 2.0], [[1], 2])],
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_signature_has_a_program(name):
    """Whatever is in the arrays: in turn without Python's code of the step, in a row without any."""
    fast = strict(total)

    def calls(number):
        return SIGNATURES[name](rv.from_numpy(X + number), rv.from_numpy(X[:2] - number))

    for number in range(80):
        for args, kwargs in calls(number):
            found, result = entered(fast, *args, **kwargs)
            assert bits(result) == bits(total(*args, **kwargs))
            assert "total" not in found or "_compare" in found or number < 70
    assert len(fast.programs) == len(calls(0))
    args, kwargs = calls(0)[0]
    in_a_row = [{*entered(fast, *args, **kwargs)[0]} for _ in range(8)]
    assert any(found <= {"_error_handling"} for found in in_a_row)  # a guard on np.errstate


FORMS = {
    "an array": X,
    "fewer rows": X[:2],
    "backwards": X[::-1],
    "float64": X.astype(np.float64),
    "columns": np.asfortranarray(X),
    "gaps": np.repeat(X, 2, 0)[::2],
    "a Tensor with gaps": rv.from_numpy(np.repeat(X, 2, 0)[::2]),
    "a parameter": nn.Parameter(rv.tensor(X)),
    "a wrong shape": rv.from_numpy(X[:, :3].copy()),
    "two rows with gaps": rv.from_numpy(np.repeat(X[:2], 2, 0)[::2]),
}


@RUNS_EAGERLY
@pytest.mark.parametrize("form", FORMS)
def test_arguments_of_another_form(pair, form):
    fast, eager, _ = pair
    with rv.no_grad():
        for _ in range(3):
            direct(fast, rv.from_numpy(X[:2] if form == "two rows with gaps" else X))
            assert outcome(fast, FORMS[form]) == outcome(eager, FORMS[form])


@RUNS_EAGERLY
def test_a_tape_is_made_where_one_is_needed(pair):
    fast, eager, model = pair
    x, needs = rv.from_numpy(X), rv.tensor(X, requires_grad=True)
    with rv.no_grad():
        direct(fast, x)
        with rv.enable_grad():
            assert fast(x).requires_grad == (eager is not model)  # in evaluation mode a model makes none
        direct(fast, x)
    fast(needs).sum().backward()
    assert needs.grad is not None
    model.train()
    assert fast(x).requires_grad
    with rv.no_grad():
        assert not direct(fast, x).requires_grad
        with rv.enable_grad():
            assert fast(x).requires_grad


def test_beside_a_thread_that_waits(pair):
    fast, eager, _ = pair
    x, done = rv.from_numpy(X), threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with rv.no_grad():
            assert [bits(direct(fast, x)) for _ in range(3)] == [bits(eager(x))] * 3
    finally:
        done.set()
        thread.join()


def test_nobody_calls_the_core_while_another_thread_has_the_lock():
    fast, x = rv.compile(lambda x: F.softmax(x, 1) * 2), rv.from_numpy(X)
    direct(fast, x)
    result, began = [], threading.Event()

    def work():
        began.set()
        result.append(fast(x))

    thread = threading.Thread(target=work)
    with fast._lock:
        thread.start()
        assert began.wait(60)
        thread.join(0.1)
        assert not result
        assert bits(fast(x)) == bits(F.softmax(x, 1) * 2)  # the lock is this thread's
    thread.join(60)
    assert bits(result[0]) == bits(F.softmax(x, 1) * 2)


def test_checks_of_values_still_raise():
    table = rv.tensor(X)
    fast, good = rv.compile(lambda i: table[i] * 2), rv.tensor([0, 2])
    for _ in range(3):
        direct(fast, good)
        with pytest.raises(IndexError):
            fast(rv.tensor([0, 3]))
        assert fast(good).tolist() == (table[good] * 2).tolist()


def test_checks_beside_an_eager_run_come_in_time(pair, records):
    fast, eager, _ = pair
    fast, x, calls = rv.compile(eager, verify=6), rv.from_numpy(X), []
    with rv.no_grad():
        for _ in range(40):
            fast(x)
            calls.append(len(records))
    between = np.diff(np.flatnonzero(np.diff(calls)))
    assert between[-3:].tolist() == [7] * 3  # six replays, then a check
