"""Results that are no views in PyTorch: states of recurrent layers, windows, what is detached and changed."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

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


@pytest.mark.parametrize("name", ["exp", "tanh", "sqrt", "softmax"])
def test_a_result_that_is_saved_may_not_change(name):
    y = getattr(rv.tensor(X, requires_grad=True), name)(*[1] * (name == "softmax"))
    with rv.no_grad():
        y.zero_()
    refused(RuntimeError, "has been modified by an inplace operation", y.sum().backward)


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
