"""Results that are no views in PyTorch: changed in place, whatever the library makes them from."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support.refused import refused

X = np.array([[0.5, 0.25, 0.75], [0.4, 0.8, 0.2]], np.float32)
# Operations that reshape what their kernels give.
RESHAPED = {
    "take": lambda x: x.take(rv.tensor([[1, 2]])),
    "cross": lambda x: rv.cross(x, x * 2, dim=1),
    "cummax": lambda x: x.sum().cummax(0).values,
    "diag_embed": lambda x: rv.diag_embed(x, dim1=0, dim2=1),
    "index_put": lambda x: rv.index_put(x, (rv.tensor([0]),), x[:1], accumulate=True),
    "index_select": lambda x: x.sum().index_select(0, rv.tensor([0])),
    "kron": lambda x: rv.kron(x, x),
    "kthvalue": lambda x: x.kthvalue(1).values,
    "lstsq": lambda x: rv.linalg.lstsq(x, x).residuals,
    "log_softmax": lambda x: x.sum().log_softmax(0),
    "masked_scatter": lambda x: x.masked_scatter(x > 0.3, x),
    "median": lambda x: x.sum().median(0).values,
    "mode": lambda x: x.mode().values,
    "nll_loss": lambda x: F.nll_loss(x[0], rv.tensor(1)),
    "no columns": lambda x: F.unfold(x[:, None, None][:0], 1),
    "nothing gathered": lambda x: x.gather(0, rv.zeros(0, dtype=rv.int64)),
    "pairwise_distance": lambda x: F.pairwise_distance(x[0], x[1], keepdim=True),
    "put": lambda x: x.put(rv.tensor([1]), x[:1, 0]),
    "quantile": lambda x: x.quantile(0.5),
    "roll": lambda x: x.roll(1),
    "rot90": lambda x: rv.rot90(x),
    "softmax": lambda x: x.sum().softmax(0),
    "solve": lambda x: rv.linalg.solve(x[:, :2], x[:, 2]),
    "topk": lambda x: x.sum().topk(1, 0).values,
    "upper cholesky": lambda x: rv.linalg.cholesky(x[:, :2] @ x[:, :2].T + rv.eye(2), upper=True),
    **{
        f"{kind.__name__} {part}": lambda x, kind=kind, part=part: (
            lambda y, state: [y, *(state if isinstance(state, tuple) else [state])][part]
        )(*kind(3, 2)(x[:, None]))
        for kind in (nn.RNN, nn.GRU, nn.LSTM)
        for part in range(3 if kind is nn.LSTM else 2)
    },
    "RNNCell": lambda x: nn.RNNCell(3, 2)(x),
    "GRUCell": lambda x: nn.GRUCell(3, 2)(x),
    "LSTMCell": lambda x: nn.LSTMCell(3, 2)(x)[1],
}


@pytest.mark.parametrize("name", RESHAPED)
def test_a_reshaped_result_can_be_detached_and_changed(name):
    rv.manual_seed(0)
    leaf = rv.tensor(X, requires_grad=True)
    y = RESHAPED[name](leaf)
    kept, alias = y.reshape(-1)[:1], y.detach()  # others that have the memory
    assert y.detach_() is y
    assert not y.requires_grad
    assert y.is_leaf
    y.requires_grad_().sum().backward()
    assert y.grad.tolist() == rv.ones_like(y).tolist()
    assert kept.requires_grad
    assert not alias.requires_grad
    assert leaf.grad is None
    gradients = []
    for change in (lambda y: y.mul_(2.0).add_(1.0), lambda y: y * 2.0 + 1.0):
        rv.manual_seed(0)
        (gradient,) = rv.autograd.grad(change(RESHAPED[name](leaf)).sum(), leaf)
        gradients.append(gradient.tolist())
    assert gradients[0] == gradients[1]


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


# Operations whose inputs PyTorch saves, not their result.
FREE = {
    "div": lambda x: x / x.sum(),
    "normalize": F.normalize,
    "var": lambda x: x.var(1),
    "atan2": lambda x: rv.atan2(x, x * x),
    **{
        name: getattr(rv, name)
        for name in ("atan", "asin", "cosh", "erf", "erfinv", "lgamma", "log2", "sinc")
    },
    "floor": lambda x: x.floor() + x,
    "embedding_bag": lambda x: F.embedding_bag(rv.tensor([[0, 1]]), x, mode="max"),
    "RNN": lambda x: nn.RNN(3, 2)(x[:, None])[0],
    "GRU": lambda x: nn.GRU(3, 2)(x[:, None])[0],
}
WRITES = {
    "a row": lambda y: y[0].mul_(2.0),
    "no_grad": lambda y: rv.no_grad()(y.mul_)(1.0),
    "an alias": lambda y: y.detach().zero_(),
    "an element": lambda y: y.view(-1)[0].zero_(),
    "places": lambda y: rv.no_grad()(y.__setitem__)(0, 5.0),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", FREE)
def test_a_result_that_no_gradient_needs_may_change(name, write):
    slope = {"a row": 2.0, "an element": 0.0}.get(write, 1.0)  # of what is written
    gradients = []
    for changed in (True, False):
        rv.manual_seed(0)
        leaf = rv.tensor(X, requires_grad=True)
        y = FREE[name](leaf)
        if changed:
            WRITES[write](y)
            total = y.sum()
        else:
            factor = np.ones(y.shape, np.float32)
            if write in ("a row", "an element"):
                factor[0 if write == "a row" else (0,) * y.ndim] = slope
            total = (y * rv.tensor(factor)).sum()
        total.backward()
        gradients.append(leaf.grad.numpy())
    np.testing.assert_array_equal(*gradients)


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
