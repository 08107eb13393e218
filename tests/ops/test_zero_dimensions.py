"""Ops on a tensor without dimensions: it counts as having one, of one element, and keeps its gradient."""

import math

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused


def other(x, values):
    """A constant in the dtype of x."""
    return rv.tensor(values, dtype=x.dtype)


# the op, its result for x = 3, and the gradient of x where dy = 2
CASES = {  # others: tests/properties/test_empty.py
    "flip no axis": (lambda x: x.flip(()), 3.0, 2.0),
    "gather": (lambda x: rv.gather(x, 0, rv.tensor([0, 0, 0])), [3.0, 3.0, 3.0], 6.0),
    "scatter vector": (lambda x: rv.scatter(x, 0, rv.tensor([0]), other(x, [5.0])), 5.0, 0.0),
    "scatter number": (lambda x: rv.scatter(x, 0, rv.tensor(0), 5.0), 5.0, 0.0),
    "scatter_add": (lambda x: rv.scatter_add(x, 0, rv.tensor(0), other(x, 5.0)), 8.0, 2.0),
    "index_add": (lambda x: rv.index_add(x, 0, rv.tensor([0]), other(x, 5.0)), 8.0, 2.0),
    "index_select": (lambda x: rv.index_select(x, 0, rv.tensor([0])), 3.0, 2.0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_gradient(name, dtype):
    op, value, gradient = CASES[name]
    x = rv.tensor(3.0, dtype=getattr(rv, dtype), requires_grad=True)
    y = op(x)
    assert y.shape == np.shape(value)
    np.testing.assert_allclose(y.detach().numpy(), value, rtol=0, atol=1e-7)
    y.backward(rv.full(np.shape(value), 2.0, dtype=y.dtype))
    assert x.grad.shape == ()
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=0, atol=1e-6)
    _, slope = rv.func.jvp(op, (x.detach(),), (rv.full_like(x, 2.0).detach(),))
    np.testing.assert_allclose(slope.sum().numpy(), gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dim", [0, -1, (0,), (-1,), ()])
@pytest.mark.parametrize("dtype", ["bool", "int64", "float32"])
def test_reductions_over_the_one_dimension(dtype, dim):
    x = rv.tensor(1, dtype=getattr(rv, dtype))
    for name in ("sum", "amax", "amin", "all", "any", "count_nonzero"):
        y = getattr(x, name)(dim)
        assert (y.shape, y.item()) == ((), 1), name


def test_places_of_a_tensor_with_a_gradient():
    x = rv.tensor(3.0, requires_grad=True)
    for y in (x.argmax(), x.argmin(0), x.argmax(-1, keepdim=True)):
        assert (y.dtype, y.tolist(), y.requires_grad) == (rv.int64, 0, False)


def test_errors():
    x = rv.tensor(3.0)
    refused(IndexError, "[transpose] got dim 1 for 0 dimensions; expected -1 to 0", x.transpose, 0, 1)
    refused(IndexError, "[softmax] got dim 1 for 0 dimensions; expected -1 to 0", x.softmax, 1)
    refused(IndexError, "[flip] got dim 1 for 0 dimensions; expected -1 to 0", x.flip, 1)
    refused(IndexError, "[squeeze] got dim 3 for 0 dimensions; expected -1 to 0", x.squeeze, 3)
    refused(IndexError, "[squeeze] got dim 1 for 0 dimensions; expected -1 to 0", x.squeeze, (0, 1))
    refused(IndexError, "[prod] got axis 3 for an array of 0 dimensions; expected -1 to 0", x.prod, 3)
    refused(IndexError, "[split] got x of shape (); expected at least one dimension", x.split, 1)
    refused(IndexError, "[unbind] got x of shape (); expected at least one dimension", x.unbind, 0)
    refused(IndexError, "[select] got x of shape (); expected at least one dimension", x.select, 0, 0)
    refused(IndexError, "[diagonal] got x of shape (); expected at least one dimension", x.diagonal)
    refused(IndexError, "[roll] got x of shape (); expected at least one dimension", x.roll, 1, 0)


def test_in_place_on_the_tape():
    x = rv.tensor(3.0, requires_grad=True)
    y = x.clone()
    y.scatter_add_(0, rv.tensor(0), rv.tensor(5.0))
    y.backward()
    assert (y.item(), x.grad.item()) == (8.0, 1.0)


def test_index_of_several_elements():
    x = rv.tensor(3.0)
    with pytest.raises(ValueError, match=r"\[index_select\] got index of shape \(2,\) for x of shape \(\)"):
        rv.index_select(x, 0, rv.tensor([0, 0]))
    with pytest.raises(ValueError, match=r"\[index_add\] got x of shape \(\), index of shape \(2,\)"):
        rv.index_add(x, 0, rv.tensor([0, 0]), rv.tensor([1.0, 2.0]))


def test_an_empty_index_has_any_shape():
    x = rv.tensor([1.0, 2.0], requires_grad=True)
    y = rv.gather(x, 0, rv.zeros(2, 0, dtype=rv.int64))
    assert y.shape == (2, 0)
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]
    assert math.prod(rv.gather(rv.tensor(1), 0, rv.zeros(0, dtype=rv.int64)).shape) == 0


@pytest.mark.parametrize(("condition", "indices"), [(True, [0]), (False, [])])
def test_where_of_one_condition(condition, indices):
    (index,) = rv.where(rv.tensor(condition))
    assert index.dtype == rv.int64
    assert index.tolist() == indices
