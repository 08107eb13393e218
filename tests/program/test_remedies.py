"""The message of a refused step: the line, and the remedy for this case."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import ranvier as rv

X = np.ones((4, 3), np.float32)


def refusal(function, *args):
    with pytest.raises(rv.CaptureError) as caught:
        rv.compile(function)(*args)
    return str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: rv.tensor(x) * 2,
        lambda x: rv.tensor(x, dtype=rv.float64).sum(),
        lambda x: rv.tensor(x, dtype=rv.int64) * 2,
        lambda x: x * rv.tensor([1.0, 2.0, 3.0]),
        lambda x: x * rv.tensor([[1], [2], [3], [4]]),
        lambda x: x * rv.as_tensor([1.0, 2.0, 3.0]),
        lambda x: x[rv.arange(4), rv.tensor([0, 1, 2, 0])],
        lambda x: x * rv.tensor([True, False, True]),
    ],
)
def test_tensors_made_inside_a_step(function):
    step = rv.compile(function)
    for number in range(1, 7):
        expected = function(rv.tensor(X * number))
        found = step(X * number)
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("begin", [[0.0, 0.0, 0.0], [1, 2, 3]])
def test_a_tensor_of_numbers_begins_anew_when_the_step_changes_it(begin):
    def function(x):
        total = rv.tensor(begin)
        total += x.sum(0).to(total.dtype)
        return total * 1

    step = rv.compile(function)
    for number in range(1, 7):
        assert step(X * number).tolist() == function(rv.tensor(X * number)).tolist()


def test_integers_are_cloned_inside_a_step():
    step = rv.compile(lambda i: (i.clone(), (i > 1).clone()))
    for number in range(4):
        i = np.arange(3) + number
        assert [part.tolist() for part in step(i)] == [i.tolist(), (i > 1).tolist()]


def test_arrays_that_numpy_makes_inside():
    for function in (lambda x: x[np.arange(4)], lambda x: x * np.full(3, 2, np.float32)):
        said = refusal(function, X)
        assert "test_remedies.py" in said
        assert "make it before the step or with rv.arange" in said
    said = refusal(lambda x: rv.tensor([x[0, 0], x[0, 1]]) * 2, X)
    assert "use rv.stack" in said


@pytest.mark.parametrize(
    ("dtype", "better"),
    [("int32", "pass it as int64"), (">f4", "float32 (astype)"), ("float16", "float32"), (">i8", "int64")],
)
def test_arguments_in_dtypes_that_numpy_computes_in(dtype, better):
    said = refusal(lambda scale, i: i * scale, 2, np.arange(4).astype(dtype))
    assert f"array 0 of the arguments is {np.dtype(dtype)}" in said
    assert better in said


def test_threads():
    def started(x):
        threading.Thread(target=int).start()
        return x * 2

    def pooled(x):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: x * 2).result()

    for function in (started, pooled):
        said = refusal(function, X)
        assert "outside the step: it runs on the calling thread" in said
        assert "test_remedies.py" in said


def test_backward_of_what_a_compiled_step_returns():
    w = rv.ones(3).requires_grad_()
    step = rv.compile(lambda x: (x * w).sum())
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"call backward\(\) inside the step"):
            step(X).backward()
