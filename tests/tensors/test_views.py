"""In-place changes of views and bases on the tape, beside values and gradients by hand.
`leaf(...)` makes a Tensor of these numbers that requires a gradient.
"""

import numpy as np
import pytest
import ranvier as rv
from support.functions import leaf
from support.refused import refused


def test_a_view_of_a_buffer_brings_gradients_into_it():
    out, w = rv.zeros(2, 3), leaf(1.0, 2.0, 3.0)
    row = out[0]
    row += w
    row *= 2.0
    assert out.tolist() == [[2, 4, 6], [0, 0, 0]]
    assert out.requires_grad
    (out * out).sum().backward()
    assert w.grad.tolist() == [8, 16, 24]


def test_a_view_on_the_tape_changes_its_base():
    x = rv.ones(2, 2, requires_grad=True)
    base = x * 1.0
    column = base.T[0]
    column.mul_(5.0)
    assert base.tolist() == [[5, 1], [5, 1]]
    (base.sum() + column.sum()).backward()
    assert x.grad.tolist() == [[10, 1], [10, 1]]


def test_a_base_on_the_tape_changes_its_views():
    x = rv.ones(4, requires_grad=True)
    base = x * 1.0
    pairs = base.view(2, 2)
    first = pairs[0]
    base.mul_(3.0)
    assert first.tolist() == [3, 3]
    first.sum().backward()
    assert x.grad.tolist() == [3, 3, 0, 0]


def test_two_views_of_one_base():
    w = leaf(2.0)
    out = rv.zeros(3)
    a, b = out[:2], out[1:]
    a += w
    b *= 3.0
    assert out.tolist() == [2, 6, 0]
    (a * rv.tensor([1.0, 10.0])).sum().backward()
    assert w.grad.tolist() == [31]


def test_views_of_leaves_are_refused():
    x = leaf(1.0, 2.0)
    refused(RuntimeError, "[add_] a view of a leaf Variable that requires grad", x[:1].add_, 1.0)
    buffer = rv.zeros(2)
    view = buffer[:1]
    buffer.requires_grad_()
    refused(RuntimeError, "[add_] a view of a leaf Variable that requires grad", view.add_, x[:1])
    with rv.no_grad():
        x[:1].add_(1.0)
    assert x.tolist() == [2, 2]


@pytest.mark.parametrize("several", [lambda t: t.unbind(0), lambda t: t.split(1), lambda t: t.chunk(2), list])
def test_one_of_several_views_is_refused(several):
    base, w = rv.zeros(2, 2), leaf(1.0, 2.0)
    parts = several(base)
    parts[0].add_(1.0)  # not on the tape
    refused(RuntimeError, "[add_] got one of several views that one call made", parts[0].add_, w)
    base.add_(w)
    assert parts[1].reshape(-1).tolist() == [1, 2]
    refused(RuntimeError, "[backward] got one of several views", parts[1].sum().backward)


def test_views_made_under_no_grad_are_refused():
    base, w = rv.zeros(2, 2), leaf(1.0, 2.0)
    with rv.no_grad():
        row = base[0]
        row.add_(1.0)
    refused(RuntimeError, "[mul_] got a view made under no_grad()", row.mul_, w)
    taped = w * 2.0
    with rv.no_grad():
        part = taped[:1]
    refused(RuntimeError, "[mul_] got a view made under no_grad()", part.mul_, 2.0)


def test_a_reshaped_result_is_no_view_of_what_is_gone():
    w = leaf(1.0, 2.0)
    with rv.no_grad():
        y = rv.ones(2, 2).sum(0).view(2)
        z = rv.ones(3)[:2]
    y += w
    z[...] += w
    (y + z).sum().backward()
    assert w.grad.tolist() == [2, 2]


def test_a_value_of_another_dtype_gets_its_gradient_in_its_own():
    w = rv.ones(2, dtype=rv.float64, requires_grad=True)
    v = w * 1.0
    v.retain_grad()
    out = rv.zeros(2)
    out[:] = v
    out.sum().backward()
    assert v.grad.dtype == np.float64


def test_indices_out_of_range_are_named():
    x, w = rv.ones(2, 3), leaf(1.0)
    for value in (1.0, w):
        with pytest.raises(IndexError, match=r"\[setitem\] got index 5 for an axis of length 2; "):
            x[5] = value
        with pytest.raises(IndexError, match=r"\[setitem\] got index 7 for an axis of length 3; "):
            x[0, [7]] = value
    refused(IndexError, "[getitem] got index -3 for an axis of length 2", lambda: x[-3])
    with pytest.raises(IndexError, match=r"\[setitem\] got an index of float"):
        x[1.5] = 1.0


def test_a_clone_of_what_has_gaps_is_contiguous():
    """So that the same shapes of it are views as in PyTorch."""
    x = rv.arange(6.0).view(3, 2)
    assert x.expand(2, 3, 2).clone().is_contiguous()
    assert x.T[:, ::2].clone().is_contiguous()
    assert x.T.clone().stride() == (1, 2)
    flat = x.expand(2, 3, 2).clone()
    flat.flatten().zero_()
    assert flat.sum().item() == 0


def test_expanded_tensors():
    x = rv.ones(3)
    wide = x.expand(2, 3)
    refused(RuntimeError, "[mul_] got a tensor of shape (2, 3) with several elements at", wide.mul_, 2.0)
    wide[0].mul_(2.0)
    wide.fill_(5.0)
    wide[1] = rv.tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [1, 2, 3]
    x.expand(3).add_(1.0)
    assert x.tolist() == [2, 3, 4]


def test_retained_gradients_add_up_and_follow_the_tensor():
    """retain_grad of a result, and of a result and its view that is then changed in place."""
    x = leaf(1.0, 2.0)
    y = x * 2.0
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    held = y.grad
    y.sum().backward()
    assert y.grad.tolist() == [2, 2]
    assert held.tolist() == [1, 1]
    y = x * 2.0
    view = y[:1]
    y.retain_grad()
    view.retain_grad()
    view.mul_(3.0)
    (y.sum() + view.sum()).backward()
    assert y.grad.tolist() == [2, 1]
    assert view.grad.tolist() == [1]


def test_hooks_of_a_view_see_its_earlier_uses():
    """A change of a view, or of its view, gives it a new history, in which the hooks are not: they get the
    gradients of what was computed from it before."""
    seen = []
    x = leaf(1.0, 2.0)
    y = x * 1.0
    view = y[:1]
    view.register_hook(lambda g: seen.append(g.tolist()))
    used = view * 5.0
    view.mul_(2.0)
    (y.sum() + used.sum() + view.sum() * 10.0).backward()
    assert seen == [[5]]  # the gradient of `used` alone
    assert x.grad.tolist() == [2 + 5 + 2 * 10, 1]


def test_hooks_of_a_view_whose_own_view_is_changed_see_its_earlier_uses():
    seen = []
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1.0
    view = y[1:]
    view.register_hook(lambda g: seen.append(g.tolist()))
    view[1:].fill_(5.0)
    (y.sum() + view.sum() * 10.0).backward()
    assert seen == []  # it was not used before the change
    assert x.grad.tolist() == [1, 1 + 10, 0]


def test_a_value_with_more_dimensions_of_size_1():
    out, w = rv.zeros(3), rv.ones(1, 3, requires_grad=True)
    out[...] = w
    out[-1] = w[:, 0]
    out.sum().backward()
    assert w.grad.tolist() == [[2, 1, 0]]


def test_one_of_several_outputs_changed_in_place():
    x = leaf(1.0, -3.0)
    y = x.reshape(2, 1).max(-1)[0]
    y.detach()  # a tensor that shared the memory, and is gone
    y.clamp_(-1.0, 1.0)
    y.sum().backward()
    assert x.grad.tolist() == [1, 0]


# x._cell.links has a weak reference for each Tensor that shares the memory. Where most of these are dead,
# they are taken out each time that their number comes to a power of two, 32 at least.


def test_references_to_views_do_not_pile_up():
    x = rv.ones(4)
    for _ in range(1000):
        x[:2], x.detach()
    assert len(x._cell.links) < 67
    alive = [x[i : i + 1] for i in range(4)] * 10
    for _ in range(1000):
        x[:2]
    x.mul_(leaf(2.0))
    assert all(view.requires_grad for view in alive)


def test_iteration_makes_a_view_when_it_is_asked_for():
    """matplotlib asks for the first element of what it plots, only."""
    x = rv.arange(1000.0)
    first = next(iter(x))
    assert len(x._cell.links) < 7
    assert (first.shape, first.item()) == ((), 0.0)
    for row in x.reshape(10, 100):
        row.add_(1.0)
    assert (x[0].item(), x[-1].item()) == (1.0, 1000.0)
    views = list(x)  # all alive: later views do not search among them each time
    x[0], x[1], x[2]
    assert len(x._cell.links) < 2 * len(views) + 37
    refused(TypeError, "iteration over a 0-d tensor", iter, rv.tensor(1.0))


def test_a_view_follows_a_base_that_begins_to_require_gradients():
    x = rv.ones(3)
    before, changed = x[:1], x[1:]
    changed.mul_(2.0)
    late = x[2:]
    x.requires_grad_()
    assert (before.requires_grad, late.requires_grad) == (True, False)  # late: after the last change
    refused(RuntimeError, "a view of a leaf Variable", late.add_, 1.0)
    with rv.no_grad():
        x.mul_(3.0)
    (before * 2 + late).sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 1.0]


def test_iteration_follows_what_is_changed_meanwhile():
    """Each element is read when it is asked for: after a change in place, and after one of the memory."""
    x, w = rv.ones(3), leaf(2.0, 3.0, 4.0)
    elements = iter(x)
    seen = [next(elements).item()]
    x.mul_(w)
    seen.append(next(elements).item())
    x.data = rv.tensor([7.0, 8.0, 9.0])
    seen += [element.item() for element in elements]
    assert seen == [1.0, 3.0, 9.0]


def test_the_callers_array_is_not_written():
    """A module that changes its input in place changes a copy of an array that it is called with."""

    class InPlace(rv.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = rv.nn.Linear(3, 2)

        def forward(self, x):
            x *= 2.0
            x[0] = 5.0
            flat = x.view(-1)
            flat.add_(1.0)
            assert flat[0].item() == 6.0 == x[0, 0].item()
            return self.linear(x)

    model, x = InPlace(), np.ones((4, 3), np.float32)
    first = model(x)
    assert first.tolist() == model(x).tolist()
    with rv.no_grad():
        assert first.tolist() == model(x[::2].repeat(2, 0)).tolist() == model(x).tolist()
    trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1), compile=False)
    assert trainer.predict(x).tolist() == first.tolist()
    trainer.fit(x, np.zeros((4, 2), np.float32), epochs=2)
    assert (x == 1).all()
