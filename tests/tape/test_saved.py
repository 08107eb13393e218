"""Tensors that a Function has saved or returned as views, and changes in place between forward and backward.

A change of what backward needs has to be refused, any other has to leave the gradients as they were.
"""

import gc

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.functions import leaf
from support.refused import refused


def test_the_flag_ends_with_the_view():
    x = leaf(1.0, 2.0)
    y = x * 1.0
    square = y * y
    view = y[:1]
    del view
    gc.collect()
    y.fill_(7.0)  # the memory is not shared: what the product saved stays
    square.sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_a_saved_tensor_changed_through_a_view_is_refused():
    x = leaf(1.0, 2.0)
    y = x * 1.0
    z = y * y
    y[:1].add_(1.0)
    with pytest.raises(RuntimeError, match=r"a variable needed .* modified by an inplace operation"):
        z.sum().backward()


def test_an_older_change_of_an_input_is_no_reason_to_refuse():
    x = leaf(1.0, 2.0)
    with rv.no_grad():
        x.add_(1.0)
    y = x**2
    y.view(2, 1).mul_(3.0)
    y.sum().backward()
    assert x.grad.tolist() == [12, 18]


@pytest.mark.parametrize("pick", [lambda x, i: x[i], lambda x, i: x[:, i], lambda x, i: _put(x, i)])
def test_an_index_changed_before_backward_is_noticed(pick):
    x, i = rv.ones(2, 3, requires_grad=True), rv.tensor([0, 1])
    y = pick(x, i)
    y.sum().backward(retain_graph=True)
    i.zero_()
    refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


def _put(x, i):
    y = x * 1.0
    y[i] = x[:, :1] * 2.0
    return y


def test_a_change_in_place_by_several_operations():
    """The first of them saved what the last one's result is written over."""
    low, high, weights = rv.tensor([0.5, 0.0, 3.0, 0.0]), rv.tensor([1.0, 5.0, 9.0, 1.0]), rv.arange(1.0, 5)
    gradients = []
    for in_place in (True, False):
        w = rv.tensor([1.0, 2.0, 1.0, 0.25], requires_grad=True)
        x = w * 2
        if in_place:
            row = x[1:]
            x.clamp_(low, high)
        else:
            x = x.clamp(low, high)
            row = x[1:]
        ((x * weights).sum() + (row * row).sum()).backward()
        gradients.append(w.grad.tolist())
    assert gradients[0] == gradients[1]
    assert gradients[0][1] > 0


@pytest.mark.parametrize(
    ("product", "shapes"),
    [
        (lambda a, b: rv.nn.functional.linear(a, b), [(4, 3), (2, 3)]),
        (lambda a, b: a @ b, [(4, 3), (3, 2)]),
        (lambda a, b: a * b, [(4, 3), (4, 3)]),
        (lambda a, b: rv.nn.functional.conv1d(a, b), [(1, 2, 5), (3, 2, 3)]),
        (lambda a, b: rv.nn.functional.conv2d(a, b), [(1, 2, 5, 5), (3, 2, 3, 3)]),
    ],
)
def test_what_no_gradient_is_computed_from_may_change(product, shapes):
    """The gradient of one factor reads the other one only."""
    for wanted in (0, 1):
        factors = [rv.ones(*shape) for shape in shapes]
        factors[wanted].requires_grad_()
        y = product(*factors)
        with rv.no_grad():
            factors[wanted].mul_(5.0)
        y.sum().backward()
        changed = factors[wanted].grad.tolist()
        factors = [rv.ones(*shape) for shape in shapes]
        factors[wanted].requires_grad_()
        product(*factors).sum().backward()
        assert factors[wanted].grad.tolist() == changed
        y = product(*factors)
        factors[1 - wanted].mul_(5.0)
        refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


def test_a_repeated_tensor_on_the_tape_may_be_filled():
    w = leaf(1.0, 2.0)
    wide = (w * 2.0).expand(3, 2)
    wide.fill_(4.0)
    assert wide.tolist() == [[4, 4]] * 3
    wide.zero_()
    (wide.sum() + w.sum()).backward()
    assert w.grad.tolist() == [1, 1]


def test_changes_of_two_results_of_one_operation_are_both_noticed():
    x = rv.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]], requires_grad=True)
    values, indices = x.min(1)
    view = values.view(1, 2)
    indices.zero_()
    values /= -1.0
    refused(RuntimeError, "modified by an inplace operation", (values.sum() + view.sum()).backward)


# Views: those of a detached base, states of recurrent layers, windows.

X = np.array([[0.5, 0.25, 0.75], [0.4, 0.8, 0.2]], np.float32)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_truncated_backpropagation(kind):
    layer, state = kind(3, 2), None
    for _ in range(2):
        y, state = layer(rv.ones(4, 1, 3), state)
        states = state if isinstance(state, tuple) else (state,)
        last = states[0][-1]  # a view of it is alive
        (y.sum() + last.sum()).backward()
        for s in states:
            s.detach_()


def test_views_are_not_detached():
    x = rv.tensor(X, requires_grad=True) * 1
    for view in (x[0], x.T, x.view(-1), x.reshape(3, 2)[1:], x.unbind()[0], x.split(1)[1], x.diagonal()):
        refused(RuntimeError, "[detach_] got a view", view.detach_)
    assert x.detach_().requires_grad is False
    same, wide = rv.broadcast_tensors(x, rv.ones(1))
    assert same is x
    assert wide.shape == x.shape
    assert rv.einsum("ij->ij", x) is not x


def _without_tape(x):
    with rv.no_grad():
        x.zero_()


@pytest.mark.parametrize("change", [lambda x: x.mul_(2.0), lambda x: x[0].fill_(0.0), _without_tape])
@pytest.mark.parametrize("view", [lambda x: x[0], lambda x: x.reshape(-1), lambda x: x[1][1:]])
def test_a_view_follows_its_detached_base_when_that_is_changed(view, change):
    leaf = rv.tensor(X, requires_grad=True)
    x = rv.tanh(leaf)
    part = view(x)
    (part.sum() * x.detach_().sum()).backward(retain_graph=True)
    assert leaf.grad is not None  # the history is kept until the change
    leaf.grad = None
    change(x)
    part.sum().backward()
    assert leaf.grad is None


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_weights_of_one_step_may_change_where_no_state_needs_a_gradient(kind):
    gradients = []
    for changed in (True, False):
        rv.manual_seed(0)
        cell = kind(3, 2)
        y = cell(rv.tensor(X))
        if changed:
            with rv.no_grad():
                cell.weight_hh.zero_()
                cell.weight_ih.zero_()
        (y[0] if isinstance(y, tuple) else y).sum().backward()
        gradients.append([p.grad.tolist() for p in cell.parameters()])
    assert gradients[0] == gradients[1]


def test_windows_that_are_apart_can_be_written():
    leaf = rv.arange(6.0).requires_grad_()
    x = leaf * 1
    x.unfold(0, 2, 2).mul_(3.0)
    assert x.tolist() == [0, 3, 6, 9, 12, 15]
    x.sum().backward()
    assert leaf.grad.tolist() == [3] * 6
