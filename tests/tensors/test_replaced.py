"""`x.data = ...` between forward and backward: backward reads the new values of inputs, as PyTorch's does."""

import gc

import numpy as np
import pytest
import ranvier as rv
from ranvier.tensors.replaced import replaced
from support.refused import refused

X = np.array([[0.5, 2.0], [1.5, 0.75]], np.float32)
W = np.array([[1.0, 0.25], [3.0, 2.0]], np.float32)
NEW = np.array([[2.0, 0.5], [0.25, 4.0]], np.float32)

DIRECT = {
    "product": lambda x, w: x * w,
    "matrix product": lambda x, w: x @ w,
    "power": lambda x, w: x**w,
    "sine": lambda x, w: x * rv.sin(w),
    "maximum": lambda x, w: rv.maximum(x, w),
    "Function": lambda x, w: Product.apply(x, w),
}


class Product(rv.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        return dy * w, dy * x


def leaves(w=W):
    return rv.tensor(X, requires_grad=True), rv.tensor(w, requires_grad=True)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", DIRECT)
def test_backward_reads_the_new_values(name, create_graph):
    x, w = leaves()
    y = DIRECT[name](x, w)
    w.data = rv.tensor(NEW)
    y.sum().backward(create_graph=create_graph)
    x2, w2 = leaves(NEW)
    DIRECT[name](x2, w2).sum().backward()
    if name != "sine":  # sin(w) was an input of the product
        assert x.grad.tolist() == x2.grad.tolist()
    if name != "power":  # dy/dw is y log(x), and y is the old one
        assert w.grad.tolist() == w2.grad.tolist()


def test_the_last_of_several_counts_and_what_is_no_input_stays():
    x, w = leaves()
    y = rv.exp(w) * x
    w.data = rv.tensor(W * 2)
    w.data = rv.tensor(NEW)
    y.sum().backward()
    assert w.grad.tolist() == (x * rv.exp(rv.tensor(W))).tolist(), "exp keeps its output"
    x, w = leaves()
    y = x * w.view(2, 2)
    w.data = rv.tensor(NEW)
    y.sum().backward()
    assert x.grad.tolist() == W.tolist(), "a view keeps the old memory"
    x, w = leaves()
    y = rv.nn.functional.linear(x, w)
    w.data = rv.tensor(NEW)
    y.sum().backward()
    assert x.grad.tolist() == [W.sum(0).tolist()] * 2, "linear reads w.T"


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
    x, w = leaves()
    y = x * w
    w.data = rv.tensor(NEW).T
    refused(RuntimeError, "`.data = ...`", y.sum().backward)
    _, w = leaves()
    y = w * w.T
    w.data = rv.tensor(NEW)
    refused(RuntimeError, "[mul]", y.sum().backward)
    x, w = leaves()
    y = x / w
    w.data = rv.tensor(NEW)
    refused(RuntimeError, "[div]", y.sum().backward)
    x, w = leaves()
    y = x * w
    w.data = rv.tensor(NEW)
    with rv.no_grad():
        w += 1
    refused(RuntimeError, "inplace", y.sum().backward)


def test_nothing_is_kept_where_no_node_needs_the_old_memory():
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
