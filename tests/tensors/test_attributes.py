"""Assignable attributes of a Tensor: grad, requires_grad, and data (`x.data = ...` gives a tensor other
memory). Backward after such an assignment reads the new values, as PyTorch's does. `leaf(...)` makes a Tensor
of these numbers that requires a gradient.
"""

import gc

import numpy as np
import pytest
import ranvier as rv
from ranvier.tensors.replaced import replaced
from support.functions import Product, leaf
from support.refused import refused


def test_data_is_the_memory_itself():
    """The idiom of a target network."""
    target, source = leaf(1.0, 2.0), leaf(3.0, 4.0)
    target.data.copy_(source)
    assert target.tolist() == [3, 4]
    target.data.mul_(0.5)
    target.data.add_(0.5 * source)
    assert target.tolist() == [3, 4]
    target.data[0] = source[1]
    assert target.tolist() == [4, 4]
    assert target.grad_fn is None


def test_detached_tensors_are_written_too():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    x.detach().copy_(w)
    assert x.tolist() == [3, 4]
    d = x.detach()
    d += w * 1.0
    assert x.tolist() == [6, 8]
    assert d.requires_grad


def test_gradients_that_are_switched_off_before_backward():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * w).sum()
    x.requires_grad_(False)
    y.backward()
    assert x.grad is None
    assert w.grad.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (rv.ones(3), RuntimeError, r"\[grad\] got a gradient of shape \(3,\); expected \(2,\)"),
        (rv.ones(2).double(), RuntimeError, r"\[grad\] got a gradient of dtype float64; expected float32"),
        ([1.0, 2.0], TypeError, r"\[grad\] got list; expected a Tensor or None"),
        (np.ones(2, np.float32), TypeError, r"\[grad\] got ndarray; expected a Tensor or None"),
    ],
)
def test_a_gradient_that_does_not_fit(value, error, text):
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=text):
        x.grad = value
    with pytest.raises(RuntimeError, match=r"\[grad\] got the tensor itself"):
        x.grad = x
    x.grad = rv.ones(2)
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("value", [True, False])
def test_requires_grad_of_what_an_operation_made_cannot_be_set(value):
    x = leaf(1.0, 2.0)
    y = x * 2.0
    view = y[:1]
    for t in (y, view):
        message = rf"\[requires_grad\] got {value} for a tensor that an operation"
        with pytest.raises(RuntimeError, match=message):
            t.requires_grad = value
        assert t.requires_grad
    with pytest.raises(RuntimeError, match=r"\[requires_grad_\] got False .*expected a leaf.*detach\(\)"):
        y.requires_grad_(False)
    assert y.requires_grad_() is y
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_requires_grad_of_a_leaf_can_be_set():
    x = rv.ones(2)
    x.requires_grad = True
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [3, 3]
    x.requires_grad = False
    assert not (x * 3.0).requires_grad
    for value in (1, None, "yes", np.bool_(True)):
        with pytest.raises(TypeError, match=r"\[requires_grad\] got .*; expected True or False"):
            x.requires_grad = value
    refused(TypeError, "[requires_grad_] got 1; expected True or False", x.requires_grad_, 1)
    whole = rv.tensor([1, 2])
    with pytest.raises(RuntimeError, match=r"\[requires_grad\] got a tensor of int64; expected floats"):
        whole.requires_grad = True
    whole.requires_grad = False


@pytest.mark.parametrize(
    "name", ["grad_fn", "is_leaf", "shape", "dtype", "device", "ndim", "retains_grad", "T"]
)
def test_what_cannot_be_assigned(name):
    x = leaf(1.0, 2.0)
    for t in (x, x * 2.0):
        before = getattr(t, name)
        with pytest.raises(AttributeError):
            setattr(t, name, None)
        assert repr(getattr(t, name)) == repr(before)


def test_data_replaced_by_other_memory():
    """Views keep the memory that they are views of; the tensor is one of the new memory."""
    x = rv.zeros(2, 2)
    row, source = x[0], rv.ones(3)
    x.data = source
    x.mul_(2.0)
    assert source.tolist() == [2, 2, 2]
    row.add_(5.0)
    assert x.tolist() == [2, 2, 2]
    assert row.tolist() == [5, 5]
    w = leaf(1.0, 2.0, 3.0)
    view = source[:2]
    view.data = rv.ones(2)
    source.mul_(w)
    (view * 2.0).sum()
    assert view.tolist() == [1, 1]
    source.sum().backward()
    assert w.grad.tolist() == [2, 2, 2]
    base = rv.zeros(2)
    part = base[:1]
    base.data = rv.ones(2)
    refused(RuntimeError, "[mul_] got a view of a tensor that has other memory since", part.mul_, w[:1])


def test_data_of_another_shape_between_forward_and_backward():
    x = leaf(1.0, 2.0)
    y = (x * 2.0).sum()
    x.data = rv.ones(2, 2)
    refused(RuntimeError, "[backward] got a gradient of shape (2,) for a leaf of (2, 2)", y.backward)
    x = leaf(1.0, 2.0)
    y = (x * 2.0).sum()
    x.data = rv.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"\[backward\] got gradients of shapes .* for one tensor"):
        (y + x.sum()).backward()


def test_the_gradient_of_what_is_no_leaf_may_be_set():
    y = leaf(1.0, 2.0) * 2.0
    y.grad = rv.ones(2)
    assert y.grad.tolist() == [1, 1]


# `x.data = ...` between forward and backward: backward reads the new values of inputs, as PyTorch's does.


X = np.array([[0.5, 2.0], [1.5, 0.75]], np.float32)
W = np.array([[1.0, 0.25], [3.0, 2.0]], np.float32)
NEW = np.array([[2.0, 0.5], [0.25, 4.0]], np.float32)

DIRECT = {
    "product": lambda x, w: x * w,
    "matrix product": lambda x, w: x @ w,
    "power": lambda x, w: x**w,
    "sine": lambda x, w: x * rv.sin(w),
    "maximum": lambda x, w: rv.maximum(x, w),
    "Function": Product.apply,
}


def leaves(w=W):
    return rv.tensor(X, requires_grad=True), rv.tensor(w, requires_grad=True)


def gradients(function, *values, create_graph=False):
    """Those of x and w, where w.data is each of these values in turn before backward."""
    x, w = leaves()
    y = function(x, w)
    for value in values:
        w.data = rv.tensor(value)
    y.sum().backward(create_graph=create_graph)
    return x.grad, w.grad


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", DIRECT)
def test_backward_reads_the_new_values(name, create_graph):
    dx, dw = gradients(DIRECT[name], NEW, create_graph=create_graph)
    x, w = leaves(NEW)
    DIRECT[name](x, w).sum().backward()
    if name != "sine":  # sin(w) was an input of the product
        assert dx.tolist() == x.grad.tolist()
    if name != "power":  # dy/dw is y log(x), and y is the old one
        assert dw.tolist() == w.grad.tolist()


def test_the_last_of_several_counts_and_what_is_no_input_stays():
    """The last of several assignments counts; what an op keeps besides its inputs (exp its output, a view the
    old memory) stays."""
    _, dw = gradients(lambda x, w: rv.exp(w) * x, W * 2, NEW)
    assert dw.tolist() == (rv.tensor(X) * rv.exp(rv.tensor(W))).tolist(), "exp keeps its output"
    dx, _ = gradients(lambda x, w: x * w.view(2, 2), NEW)
    assert dx.tolist() == W.tolist(), "a view keeps the old memory"
    dx, _ = gradients(rv.nn.functional.linear, NEW)
    assert dx.tolist() == [W.sum(0).tolist()] * 2, "linear reads w.T"
    for shape, read in (((2, 2), NEW), ((1, 2, 2), X)):  # if it has more dimensions it reads a view
        x, w = rv.tensor(X.reshape(shape), requires_grad=True), leaves()[1]
        y = rv.nn.functional.linear(x, w)
        x.data = rv.tensor(NEW.reshape(shape))
        y.sum().backward()
        assert w.grad.tolist() == [read.sum(0).tolist()] * 2


def test_tensors_without_a_gradient_and_results():
    x, w = leaves()
    w = w.detach().clone()
    y = x * w
    w.data = rv.tensor(NEW)
    y.sum().backward()
    assert x.grad.tolist() == NEW.tolist()
    x, w = leaves()
    z = w * 1
    y = x * z
    z.data = rv.tensor(NEW)
    y.sum().backward()
    assert x.grad.tolist() == NEW.tolist()


def test_a_tensor_that_is_gone_has_left_its_values():
    x, w = leaves()
    z = w * 1
    y = x * z
    z.data = rv.tensor(NEW * 2)
    z.data = rv.tensor(NEW)
    del z
    y.sum().backward()
    assert x.grad.tolist() == NEW.tolist()


def test_what_cannot_take_the_new_values_is_refused():
    """Another memory order, an input that two views share, an op that keeps what it made of the old values, a
    change in place of the new ones."""
    refused(RuntimeError, "`.data = ...`", gradients, DIRECT["product"], NEW.T)
    refused(RuntimeError, "[mul]", gradients, lambda x, w: w * w.T, NEW)
    refused(RuntimeError, "[div]", gradients, lambda x, w: x / w, NEW)
    x, w = leaves()
    y = x * w
    w.data = rv.tensor(NEW)
    with rv.no_grad():
        w += 1
    refused(RuntimeError, "inplace", y.sum().backward)


def test_nothing_is_kept_where_no_node_needs_the_old_memory():
    """`replaced` has the old memory of tensors that a node of the tape still reads."""
    replaced.clear()
    x, w = leaves()
    for _ in range(3):
        w.data = w.data * 0.5
    assert not replaced
    (x * w).sum().backward()
    gc.collect()
    w.data = w.data * 0.5
    assert not replaced
    y = x * w
    w.data = w.data * 0.5
    assert len(replaced) == 1
    y.sum().backward()
    del y
    (x * w).sum().backward()
    assert not replaced
