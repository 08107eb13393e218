"""Arguments of a compiled step are the caller's own: results and changes are those of the eager step."""

import math
import re
import types
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import functional as F

CALLS = 12


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
    """Of zeros, which a product leaves as they are, at first."""
    x = rv.tensor(np.full(6, 0 if i < 3 else i, np.float32))
    return [x, x[2:]]


def learned(x):
    x.requires_grad_()
    loss = (x * x).sum()
    loss.backward()
    return loss


def watched(x):
    x.requires_grad_()
    return (x * 2).detach()


def marked(x):
    x.seen = 1
    return x * 2


def other_data(x):
    x.data = rv.zeros(2)
    return x * 2


def doubled(x):
    x.mul_(2)
    return x.sum()


def assigned(x):
    x[1:3] = 0.5
    return F.mse_loss(x, rv.zeros(*x.shape))


def reshaped(x):
    x.shape = (3, 2)
    return rv.neg(x)


def written(a, b):
    a.mul_(2)
    return b * 1


def appended(items):
    items.append(items[0] * 2)
    return items[0] + 1


def replaced(named):
    named["new"] = named["x"] * 2
    named["x"] = named["x"] + 1
    return named["new"].sum()


HELPER = rv.compile(doubled)


def with_helper(x):
    return HELPER(x) + x.sum()


EITHER = None  # it may be replayed or not
WRITES = r"changes memory (of one of its arguments|that two of its arguments share)|writes to an argument"
RETURNS = r"returns one of its arguments"
CONTAINER = r"changes a list, dict, array or Tensor among its arguments"


def of_numpy(name):
    return rf"the step uses {name} of an array of NumPy among its arguments at .*test_arguments\.py:\d+"


# The step, its arguments in call i, and why it runs eagerly; "": it is replayed.
ROWS = {
    # what the step gets
    "a Tensor": (lambda x: x * 2, one(tensor), ""),
    "an array": (lambda x: rv.neg(x), one(array), ""),
    "a Tensor's class": (lambda x: x * (1 + (type(x) is rv.Tensor)), one(tensor), ""),
    "an array's class": (lambda x: rv.neg(x) * (1 + (type(x) is np.ndarray)), one(array), EITHER),
    "a kind of array": (lambda x: rv.neg(x) * (1 + isinstance(x, np.ndarray)), one(array), ""),
    "the form": (lambda x: rv.neg(x) * x.ndim * len(x) * x.shape[0], one(array), ""),
    "the owner": (lambda x: rv.neg(x) * (1 + x.flags.owndata), one(array), EITHER),
    "no base": (lambda x: rv.neg(x) * (1 + (x.base is None)), one(array), EITHER),
    "an attribute": (lambda x: x * x.factor, one(with_attribute), EITHER),
    "a subclass": (lambda x: x.scaled(), lambda i: [Scaled(array(i))], EITHER),
    "an array by a Tensor's product": (lambda x, y: y * x, lambda i: [array(i), tensor(i)], ""),
    "a Tensor by an array": (lambda x, y: x * y, lambda i: [tensor(i), array(i)], ""),
    "one twice": (lambda x, y: y * (1 + (x is y)), lambda i: [tensor(i)] * 2, ""),
    "two of one memory": (lambda a, b: a[2:] * b, shared, ""),
    "overlapping windows": (lambda a, b, c: (a * b).sum() * c, windows, ""),
    "a Tensor made of it": (lambda x: rv.tensor(x) * 2, one(array), ""),
    "a Tensor of float64": (lambda x: rv.tensor(x, dtype=rv.float64).sum(), one(array), ""),
    "a FloatTensor": (
        lambda x, y: rv.FloatTensor(x) * rv.DoubleTensor(y),
        lambda i: [array(i), array(i)],
        "",
    ),
    "a LongTensor": (lambda x: rv.LongTensor(x) * rv.FloatTensor([1.5]), lambda i: [np.arange(6) + i], ""),
    "a Tensor of integers": (lambda x: rv.as_tensor(x).long() * 2, one(array), ""),
    # what NumPy computes
    "std of a Tensor": (lambda x: x.std(), one(tensor), ""),
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
    "a mask": (lambda x, y: y[x > 2], lambda i: [array(i), tensor(i)], of_numpy("__gt__")),
    # what the step changes
    "backward": (learned, one(tensor), EITHER),
    "requires_grad": (watched, one(tensor), EITHER),
    "a new attribute": (marked, one(tensor), EITHER),
    "other data": (other_data, one(tensor), EITHER),
    "in place": (doubled, one(tensor), WRITES),
    "by index": (assigned, one(tensor), WRITES),
    "backwards": (doubled, lambda i: [rv.from_numpy(array(i)[::-1])], EITHER),
    "backwards along both axes": (doubled, lambda i: [rv.from_numpy(table(i)[::-1, ::-2])], EITHER),
    "gaps": (doubled, lambda i: [rv.from_numpy(table(i)[:, ::2])], WRITES),
    "columns": (doubled, lambda i: [rv.from_numpy(table(i).T)], WRITES),
    "all of an array": (lambda x: [x.fill(1.0), rv.neg(x)][1], one(array), of_numpy("fill")),
    "an array backwards": (lambda x: [x.fill(1.0), rv.neg(x)][1], lambda i: [array(i)[::-1]], EITHER),
    "an array by a Tensor": (lambda x: rv.from_numpy(x).mul_(2).sum(), one(array), WRITES),
    "an array's shape": (reshaped, one(array), EITHER),
    "in a compiled helper": (with_helper, one(tensor), WRITES),
    "one of two": (written, lambda i: [tensor(i), tensor(i)], WRITES),
    "both of one memory": (written, shared, WRITES),
    "zeros of one memory": (written, written_late, WRITES),
    "an argument's list": (appended, lambda i: [[tensor(i)]], CONTAINER),
    "an argument's dict": (replaced, lambda i: [{"x": tensor(i)}], CONTAINER),
    "a list of arrays": (
        lambda x: [x.reverse(), rv.neg(x[0])][1],
        lambda i: [[array(i), table(i)]],
        CONTAINER,
    ),
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
    if isinstance(x, (list, tuple)):
        return [a for item in x for a in arrays_of(item)]
    if isinstance(x, dict):
        return arrays_of(list(x.values()))
    return [x.detach().numpy()] if isinstance(x, rv.Tensor) else [x] if isinstance(x, np.ndarray) else []


def plain(x, tape=True):
    """What can be seen of a value. tape: also whether gradients could be computed."""
    if isinstance(x, (list, tuple)):
        return type(x), [plain(item, tape) for item in x]
    if isinstance(x, dict):
        return [(name, plain(item, tape)) for name, item in x.items()]
    if isinstance(x, rv.Tensor):
        grad = None if x.grad is None else x.grad.tolist()
        return type(x), str(x.dtype), x.tolist(), tape and x.requires_grad, grad, vars(x)
    return type(x), x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x


def seen(step, args):
    """One call: the result, the arguments after it, and which of them share memory with the result."""
    result = step(*args)
    shared = [[np.shares_memory(a, b) for b in arrays_of(args)] for a in arrays_of(result)]
    return plain(result, False), plain(args), shared, [result is x for x in args]


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


def test_an_argument_is_the_callers_object():
    held = types.SimpleNamespace(given=tensor(0))

    def function(x):
        return rv.neg(x) if x is held.given else rv.exp(x)

    step = rv.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in [*range(CALLS), *[2] * CALLS]:
            x = held.given if i % 3 == 2 else tensor(i)
            assert step(x).tolist() == function(x).tolist()


KEPT = {
    "itself": lambda x: x,
    "a view": lambda x: x[0:2],
    "a form": lambda x: x.reshape(2, 3),
    "detached": lambda x: x.detach(),
    "data": lambda x: x.data,
    "an array": lambda x: x.numpy(),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_the_step_keeps_of_an_argument_is_in_the_callers_memory(name):
    kept, x = [], tensor(0)
    step = rv.compile(lambda x: (kept.append(KEPT[name](x)), x * 2)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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


def test_the_sign_of_nan_counts():
    step = rv.compile(lambda x, scale: x * scale)
    for i, scale in enumerate([math.nan, math.nan, -math.nan, math.nan, -math.nan, -math.nan] * 2):
        negative = np.signbit(step(rv.ones(2), scale).numpy())
        assert negative.all() == np.signbit(scale), i


def test_a_step_that_asks_where_a_tensor_begins_runs_eagerly():
    step = rv.compile(lambda x: x * 0 + x.storage_offset())
    memory = rv.arange(9.0)
    with pytest.warns(UserWarning, match=r"storage_offset\(\) reads a value"):
        found = [step(memory[i : i + 2]).tolist()[0] for i in range(6)]
    assert found == [0, 1, 2, 3, 4, 5]
