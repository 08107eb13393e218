"""Arguments of a compiled step are the caller's own: results and changes are those of the eager step.

Each step is called twelve times, compiled and as it is. After each call the result, the arguments and which
of them share memory with the result have to be equal. A step that cannot be replayed warns once and runs
eagerly.
"""

import math
import re
import types
import warnings

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from support.refused import refused
from support.strict import strict
from support.training import training

CALLS, NAN = 12, math.nan


class Scaled(rv.Tensor):
    def scaled(self):
        return self * 3


def tensor(i):
    return rv.arange(6.0) + i


def array(i):
    return np.arange(6, dtype=np.float32) + i


def table(i):
    return np.arange(24, dtype=np.float32).reshape(4, 6) + i


def one(make):
    return lambda i: [make(i)]


def two(make, other):
    return lambda i: [make(i), other(i)]


def with_attribute(i):
    x = tensor(i)
    x.factor = float(i % 3)
    return x


def shared(i):
    x = tensor(i)
    return [x, x[2:]]


def windows(i):
    """Two overlapping windows, each time elsewhere in their memory, and a third array."""
    memory = rv.from_numpy(np.arange(12, dtype=np.float32) + i)[i % 3 : 6 + i % 3]
    return [memory[:-1], memory[1:], tensor(i)]


def written_late(i):
    """At first they are zeros, which a product leaves as they are."""
    x = rv.tensor(np.full(6, 0 if i < 3 else i, np.float32))
    return [x, x[2:]]


def marked(x):
    x.seen = 1
    return x * 2


def other_data(x):
    x.data = rv.zeros(2)
    return x * 2


def assigned(x):
    x[1:3] = 0.5
    return x.sum()


def reshaped(x):
    x.shape = (3, 2)
    return rv.neg(x)


def hooked(x):
    x.requires_grad_().register_hook(lambda g: g)
    x.requires_grad_(False)
    return x * 2


def written(a, b):
    a.mul_(2)
    return b * 1


def replaced(named):
    named["new"] = named["x"] * 2
    named["x"] = named["x"] + 1
    return named["new"].sum()


READ = rv.arange(6.0)
HELPER = rv.compile(lambda x: x.mul_(2).sum())
REPLAY, EITHER = "", None  # no reason to run eagerly: it is replayed; it may be replayed or not
WRITES = r"changes memory (of one of its arguments|that two of its arguments share)|writes to an argument"
VALUE = r"storage_offset\(\) reads a value"
RETURNS = r"returns one of its arguments"
CONTAINER = r"changes a list, dict, array or Tensor among its arguments"


def of_numpy(name):
    return rf"the step uses {name} of an array of NumPy among its arguments at .*test_arguments\.py:\d+"


# The step, its arguments in call i, and why it runs eagerly.
ROWS = {
    # what the step gets
    "a Tensor": (lambda x: x * 2, one(tensor), REPLAY),
    "an array": (lambda x: rv.neg(x), one(array), REPLAY),
    "a Tensor's class": (lambda x: x * (1 + (type(x) is rv.Tensor)), one(tensor), REPLAY),
    "an array's class": (lambda x: rv.neg(x) * (1 + (type(x) is np.ndarray)), one(array), EITHER),
    "a kind of array": (lambda x: rv.neg(x) * (1 + isinstance(x, np.ndarray)), one(array), REPLAY),
    "the form": (lambda x: rv.neg(x) * x.ndim * len(x) * x.shape[0], one(array), REPLAY),
    "the owner": (lambda x: rv.neg(x) * (1 + x.flags.owndata), one(array), EITHER),
    "no base": (lambda x: rv.neg(x) * (1 + (x.base is None)), one(array), EITHER),
    "an attribute": (lambda x: x * x.factor, one(with_attribute), EITHER),
    "a subclass": (lambda x: x.scaled(), lambda i: [Scaled(array(i))], EITHER),
    "an array by a Tensor's product": (lambda x, y: y * x, two(array, tensor), REPLAY),
    "a Tensor by an array": (lambda x, y: x * y, two(tensor, array), REPLAY),
    "one twice": (lambda x, y: y * (1 + (x is y)), lambda i: [tensor(i)] * 2, REPLAY),
    "what it reads, in a list": (
        lambda xs: xs[0] * (1 + (xs[0] is READ)),
        lambda i: [[READ if i % 5 == 2 else tensor(i)]],
        EITHER,
    ),
    "two of one memory": (lambda a, b: a[2:] * b, shared, REPLAY),
    "memory that it reads otherwise, too": (
        lambda x: x * READ,
        lambda i: [tensor(i) if i % 3 else READ[:]],
        r"shares memory with a Tensor that the step reads otherwise",
    ),
    "empty parts of it": (lambda a, b: (READ * 2, a + b), lambda i: [READ[:0], READ[:0]], REPLAY),
    "overlapping windows": (lambda a, b, c: (a * b).sum() * c, windows, REPLAY),
    "a Tensor made of it": (lambda x: rv.tensor(x) * 2, one(array), REPLAY),
    "a Tensor of float64": (lambda x: rv.tensor(x, dtype=rv.float64).sum(), one(array), REPLAY),
    "a FloatTensor": (lambda x, y: rv.FloatTensor(x) * rv.DoubleTensor(y), two(array, array), REPLAY),
    "LongTensor": (lambda x: rv.LongTensor(x) * rv.FloatTensor([1.5]), lambda i: [np.arange(6) + i], REPLAY),
    "a Tensor of integers": (lambda x: rv.as_tensor(x).long() * 2, one(array), REPLAY),
    "a few columns": (lambda x: x * 1, lambda i: [rv.from_numpy(table(i)[:0, ::2])], REPLAY),
    "every third column": (lambda x: x * 2, lambda i: [rv.from_numpy(table(i).T[::3])], EITHER),
    "no columns": (lambda x: x * 2, lambda i: [rv.from_numpy(table(i)[:, :0:2])], EITHER),
    "one column": (lambda x: x * 2, lambda i: [rv.from_numpy(table(i)[::2, :1])], EITHER),
    "where a Tensor begins": (lambda x: x * x.storage_offset(), lambda i: [tensor(i)[i % 3 :][:3]], VALUE),
    "signs of NaN": (lambda x, nan: x * nan, two(tensor, lambda i: math.copysign(NAN, i % 2 - 0.5)), REPLAY),
    "a range": (lambda x, r: x * len(r), two(tensor, lambda i: [range(3), "range(0, 3)"][i % 2]), REPLAY),
    # what NumPy computes
    "std of a Tensor": (lambda x: x.std(), one(tensor), REPLAY),
    "std of an array": (lambda x: x.std(), one(array), of_numpy("std")),
    "ints by 255": (lambda x: rv.tensor(x / 255), lambda i: [np.arange(6) + i], of_numpy("__truediv__")),
    "an array by 255": (lambda x: rv.tensor(255 - x), one(array), of_numpy("__rsub__")),
    "exp": (lambda x: rv.tensor(np.exp(x)), one(array), of_numpy("exp")),
    "sort": (lambda x: rv.tensor(np.sort(x)), one(array), of_numpy("sort")),
    "an item": (lambda x: float(x[1]), one(array), of_numpy("__getitem__")),
    "a list": (lambda x: list(x), one(array), of_numpy("__iter__")),
    "bytes": (lambda x: bytes(x), one(array), of_numpy("tobytes")),
    "a text": (lambda x: f"{x}", one(array), of_numpy("__format__")),
    "a condition": (lambda x: rv.ones(2 + x.any()), one(array), of_numpy("any")),
    "a mask": (lambda x, y: y[x > 2], two(array, tensor), of_numpy("__gt__")),
    # what the step changes
    "backward": (lambda x: (x.requires_grad_() * x).sum().backward(), one(tensor), EITHER),
    "requires_grad": (lambda x: (x.requires_grad_() * 2).detach(), one(tensor), EITHER),
    "a new attribute": (marked, one(tensor), EITHER),
    "a hook": (hooked, one(tensor), CONTAINER),
    "other data": (other_data, one(tensor), EITHER),
    "in place": (lambda x: x.mul_(2).sum(), one(tensor), WRITES),
    "by index": (assigned, one(tensor), WRITES),
    "backwards": (lambda x: x.mul_(2).sum(), lambda i: [rv.from_numpy(array(i)[::-1])], EITHER),
    "backwards along both axes": (
        lambda x: x.mul_(2).sum(),
        lambda i: [rv.from_numpy(table(i)[::-1, ::-2])],
        EITHER,
    ),
    "gaps": (lambda x: x.mul_(2).sum(), lambda i: [rv.from_numpy(table(i)[:, ::2])], WRITES),
    "columns": (lambda x: x.mul_(2).sum(), lambda i: [rv.from_numpy(table(i).T)], WRITES),
    "all of an array": (lambda x: [x.fill(1.0), rv.neg(x)][1], one(array), of_numpy("fill")),
    "an array backwards": (lambda x: [x.fill(1.0), rv.neg(x)][1], lambda i: [array(i)[::-1]], EITHER),
    "an array by a Tensor": (lambda x: rv.from_numpy(x).mul_(2).sum(), one(array), WRITES),
    "an array's shape": (reshaped, one(array), EITHER),
    "in a compiled helper": (lambda x: HELPER(x) + x.sum(), one(tensor), WRITES),
    "one of two": (written, two(tensor, tensor), WRITES),
    "both of one memory": (written, shared, WRITES),
    "zeros of one memory": (written, written_late, WRITES),
    "an argument's list": (lambda x: (x.append(x[0] * 2), x[0] + 1)[1], lambda i: [[tensor(i)]], CONTAINER),
    "an argument's dict": (replaced, lambda i: [{"x": tensor(i)}], CONTAINER),
    "arrays": (lambda x: (x.reverse(), rv.neg(x[0]))[1], lambda i: [[array(i), table(i)]], CONTAINER),
    # what it returns
    "itself": (lambda x: x, one(tensor), RETURNS),
    "an array itself": (lambda x: x, one(array), RETURNS),
    "an array in a dict": (lambda x: {"x": x}, one(array), RETURNS),
    "a view": (lambda x: x[0:2], one(tensor), RETURNS),
    "a view of a view": (lambda x: (x * 2, x[::2][1:]), one(tensor), RETURNS),
    "a view of columns": (lambda x: x[1:], lambda i: [rv.from_numpy(table(i).T)], RETURNS),
    "a view of an array": (lambda x: x[0:2], one(array), of_numpy("__getitem__")),
    "detached": (lambda x: x.detach(), one(tensor), RETURNS),
}


def arrays_of(x):
    """The arrays in a result or an argument."""
    if isinstance(x, (list, tuple, dict)):
        return [a for item in (x.values() if isinstance(x, dict) else x) for a in arrays_of(item)]
    return [x.detach().numpy()] if isinstance(x, rv.Tensor) else [x] if isinstance(x, np.ndarray) else []


def seen(step, args):
    """One call: the result, the arguments after it, and which of them share memory with the result."""
    result = step(*args)
    shared = [[np.shares_memory(a, b) for b in arrays_of(args)] for a in arrays_of(result)]
    own = [(type(x), x.requires_grad, bits(x.grad), vars(x)) for x in args if isinstance(x, rv.Tensor)]
    return type(result), bits(result), bits(args), own, shared, [result is x for x in args]


@pytest.mark.parametrize("held", [False, True], ids=["new", "held"])
@pytest.mark.parametrize("name", ROWS)
def test_as_the_eager_step(name, held):
    """held: the same objects in each call."""
    function, make, why = ROWS[name]
    step = rv.compile(function)
    ours, eagers = make(0), make(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(CALLS):
            if not held:
                ours, eagers = make(i), make(i)
            assert seen(step, ours) == seen(function, eagers), f"call {i}"
    if why:
        assert re.search(why, str(caught[0].message))
        assert not step.programs
    elif why is not EITHER:
        assert not caught
        assert step.programs[0].checks > 1


KEPT = {
    "itself": lambda x: x,
    "a view": lambda x: x[0:2],
    "a form": lambda x: x.reshape(2, 3),
    "detached": lambda x: x.detach(),
    "data": lambda x: x.data,
    "an array": lambda x: x.numpy(),
}


@pytest.mark.filterwarnings("ignore:.compile.")
@pytest.mark.parametrize("name", KEPT)
def test_what_the_step_keeps_of_an_argument_is_in_the_callers_memory(name):
    kept, x = [], tensor(0)
    step = rv.compile(lambda x: (kept.append(KEPT[name](x)), x * 2)[1])
    for _ in range(CALLS):
        step(x)
    x.fill_(9.0)
    assert len(kept) == CALLS
    assert all(np.asarray(part).min() == 9.0 for part in kept)


@pytest.mark.parametrize("make", [tensor, array])
def test_a_step_that_raises_has_changed_its_argument(make):
    def function(x):
        (x if isinstance(x, rv.Tensor) else rv.from_numpy(x)).mul_(2)
        raise KeyError

    step, x = rv.compile(function), make(1)
    for i in range(1, 4):
        with pytest.raises(KeyError):
            step(x)
        assert x.tolist() == (array(1) * 2**i).tolist()


@pytest.mark.filterwarnings("ignore:.compile.")
def test_an_argument_is_the_callers_object():
    held = types.SimpleNamespace(given=tensor(0))
    function = lambda x: rv.neg(x) if x is held.given else rv.exp(x)  # noqa: E731
    step = rv.compile(function)
    for i in [*range(CALLS), *[2] * CALLS]:
        x = held.given if i % 3 == 2 else tensor(i)
        assert step(x).tolist() == function(x).tolist()


def test_an_argument_in_the_memory_of_a_parameter():
    def made(wrap):
        w = rv.nn.Parameter(rv.ones(2))
        optimizer = rv.optim.SGD([w], lr=0.1)
        return w, wrap(training(lambda x: w * x, optimizer, lambda y: y.sum()))

    (w, train), (v, eager) = made(strict), made(lambda step: step)
    refused(rv.CaptureError, "changes memory of one of its arguments", train, w.detach())
    eager(v.detach())
    for _ in range(5):
        train(rv.ones(2)), eager(rv.ones(2))
    train(w.detach()), eager(v.detach())  # no replay: the step itself
    assert w.tolist() == v.tolist()


def test_an_argument_without_elements_keeps_its_strides():
    step = strict(lambda x: (x.stride(), x * 2))
    assert {step(rv.zeros(3, 4)[:0])[0] for _ in range(4)} == {(4, 1)}


def test_an_argument_without_elements_has_no_memory():
    """Results may lie where its strides would lead to."""
    step, x = strict(lambda x, y: y * 2.0 + x.sum()), rv.zeros(0, 2**30)
    assert [step(x, rv.tensor(y)).item() for y in (1.0, 2.0, 3.0)] == [2.0, 4.0, 6.0]


def test_memory_maps_are_arguments_like_others(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(2,))
    fast = strict(lambda x: rv.neg(x))
    for i in range(6):
        x[:] = i
        assert fast(x).tolist() == [-i] * 2


def test_a_long_list_among_the_arguments_is_not_looked_at():
    with pytest.warns(UserWarning, match="argument.* with 300 items"):
        rv.compile(lambda x, v: x * len(v))(rv.ones(3), [1.0] * 300)
