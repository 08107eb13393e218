"""`step.run`: the forms of its arguments and results, and what it refuses."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import ranvier as rv
from compile.test_runs import ORDER, X, Y
from ranvier import nn
from support.refused import refused

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
