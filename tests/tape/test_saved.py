"""What a Function has saved, and changes in place between forward and backward."""

import gc

import pytest
import ranvier as rv
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


@pytest.mark.parametrize(
    "pick",
    [
        lambda x, i: x[i],
        lambda x, i: x[:, i],
        lambda x, i: _put(x, i),
    ],
)
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
