"""Function.apply: what it takes and what it returns.

The Functions here work on plain NumPy: what they are told, and what comes back, is known by hand.
"""

import numpy as np
import pytest
import ranvier as rv
from support.functions import Function, add, mul
from support.refused import refused


def test_takes_arrays_numbers_and_none():
    class Maybe(Function):
        def forward(self, x, b):
            assert b is None
            return x + 1

        def backward(self, dy):
            return dy, None

    x = rv.tensor([1.0], requires_grad=True)
    y = Maybe().apply(x, None)
    y.backward()
    assert x.grad.item() == 1
    assert add(np.ones(2), np.ones(2)).dtype == np.float64
    assert mul(3, x).tolist() == [3.0]
    refused(TypeError, "got str; expected a Tensor, a NumPy array or a number", add, x, "a")
    refused(TypeError, "[avg_pool2d] got str", rv.nn.AvgPool2d(2), "a")


@pytest.mark.parametrize(
    ("tensor", "number", "dtype"),
    [
        (rv.float32, 2, "float32"),
        (rv.float32, 2.5, "float32"),
        (rv.float64, 2.5, "float64"),
        (rv.float32, np.float64(2.5), "float32"),
        (rv.int64, 2, "int64"),
        (rv.int32, 2, "int32"),
        (rv.int64, 2.5, "float32"),
        (rv.bool, 2, "int64"),
        (rv.bool, True, "bool"),
    ],
)
def test_numbers_take_pytorchs_dtype(tensor, number, dtype):
    seen = []

    class Look(Function):
        def forward(self, x, y):
            seen.append(y.dtype)
            return x

    Look().apply(rv.zeros(2, dtype=tensor), number)
    assert seen == [np.dtype(dtype)]


def test_numpy_scalars_become_arrays():
    class Total(Function):
        def forward(self, x):
            return x.sum()

        def backward(self, dy):
            return np.full(3, dy)

    for x in (rv.ones(3), rv.ones(3, requires_grad=True)):
        y = Total().apply(x)
        assert type(y._array) is np.ndarray
        assert y.shape == ()


def test_a_function_without_methods_says_so():
    refused(NotImplementedError, "Function.forward", Function().apply, rv.ones(1))


def test_forward_is_told_what_is_needed_without_a_tape_too():
    seen = []

    class Total(Function):
        def forward(self, *arrays):
            seen.append(self.needs)
            return sum(arrays)

        def backward(self, dy):
            return tuple(dy if needed else None for needed in self.needs)

    w = rv.ones(2, requires_grad=True)
    for count in (2, 3, 4):
        inputs = [w, *(rv.ones(2) for _ in range(count - 1))]
        Total().apply(*inputs)
        with rv.no_grad():
            Total().apply(*inputs)
        assert seen[-2:] == [(True,) + (False,) * (count - 1), (False,) * count]


def test_a_view_by_an_attribute_of_the_object():
    class Tail(rv.autograd.Function):
        def __init__(self):
            self.is_view = True

        def forward(self, x):
            self.length = len(x)
            return x[1:]

        def backward(self, dy):
            return np.concatenate([np.zeros(self.length - len(dy), dy.dtype), dy])

    x = rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    Tail().apply(y).mul_(10.0)
    (y * y).sum().backward()
    assert y.tolist() == [1, 20, 30]
    assert x.grad.tolist() == [2, 400, 600]


def test_a_tensor_whose_init_was_not_called():
    half = rv.Tensor.__new__(rv.Tensor)
    for function in (rv.nn.functional.relu, rv.nn.functional.elu, rv.exp, rv.abs, rv.neg):
        refused(TypeError, "without a call of its __init__", function, half)
    refused(TypeError, "expected a Tensor with data", half.detach)
    refused(AttributeError, "has no attribute '_array'", half.stride)


def test_an_object_that_names_tensor_as_its_class():
    class Proxy:
        __class__ = property(lambda self: rv.Tensor)

        def __getattr__(self, name):
            return getattr(rv.ones(2), name)

    for function in (rv.nn.Parameter, rv.nn.Buffer, rv._core._detached):
        refused(TypeError, "got Proxy in place of a Tensor; expected a Tensor", function, Proxy())


def test_any_true_number_asks_for_gradients():
    x = rv.Tensor(np.ones(2, np.float32), requires_grad=np.True_)
    assert x.requires_grad is True
    assert (x * 2).requires_grad
    refused(TypeError, "[zeros] got requires_grad 1; expected True or False", rv.zeros, 2, requires_grad=1)
