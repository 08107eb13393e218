"""In-place changes: leaves, versions, and the tape taking over the result.

`mul`, `exp` and `total` work on plain NumPy (support/functions.py): no kernel takes part.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.tensors.tensor import borrowed
from support.functions import exp, mul, total
from support.refused import refused


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.zero_(),
        lambda x: x.fill_(2.0),
        lambda x: x.copy_(rv.zeros(2)),
        lambda x: x.__setitem__(0, 1.0),
    ],
)
def test_a_leaf_that_requires_grad_refuses_outside_no_grad(change):
    x = rv.ones(2, requires_grad=True)
    text = "a leaf Variable that requires grad is being used in an in-place operation"
    refused(RuntimeError, text, change, x)
    with rv.no_grad():
        change(x)
    assert x._version == 1
    assert x.requires_grad


def test_values_and_versions():
    x = rv.zeros(2, 2)
    array = x.numpy()
    assert x.fill_(3) is x
    x[0] = rv.tensor([1.0, 2.0])
    x[rv.tensor([False, True]), 0] = 9
    x.copy_(np.asarray(x.numpy()))
    assert array.tolist() == [[1, 2], [9, 3]]
    assert x._version == 4
    assert x.detach()._version == 4
    assert x.clone()._version == 0


def test_copy_casts_and_broadcasts():
    x = rv.zeros(2, 2)
    assert x.copy_(np.array([1.0, 2.0])).tolist() == [[1, 2], [1, 2]]
    refused(ValueError, "broadcast", x.copy_, rv.ones(3))


@pytest.mark.parametrize("name", ["fill_", "copy_"])
def test_a_number_that_does_not_fit_is_an_error_of_the_method(name):
    refused(ValueError, f"[{name}] got -1; expected", getattr(rv.zeros(2, dtype=rv.uint8), name), -1)


def test_setitem_on_the_tape():
    x, v = rv.ones(3, requires_grad=True), rv.tensor(5.0, requires_grad=True)
    y = mul(x, x)
    y[1] = v
    assert y.tolist() == [1, 5, 1]
    mul(y, y).backward(np.ones(3))
    assert x.grad.tolist() == [4, 0, 4]
    assert v.grad.item() == 10


def test_setitem_into_a_plain_tensor_puts_it_on_the_tape():
    out, v = rv.zeros(2, 3), rv.ones(3, requires_grad=True)
    out[0] = v
    out[1] = mul(v, v)
    total(out).backward()
    assert v.grad.tolist() == [3, 3, 3]


def test_a_broadcast_value_gets_the_sum():
    out, v = rv.zeros(2, 3), rv.ones(1, requires_grad=True)
    out[:] = v
    total(out).backward()
    assert v.grad.tolist() == [6]
    out = rv.zeros(2, 3)
    out.copy_(v)
    total(out).backward()
    assert v.grad.tolist() == [12]


def test_what_was_saved_before_the_change_stays_right():
    x = rv.tensor([2.0], requires_grad=True)
    y = mul(x, x)
    z = mul(y, y)
    y.fill_(7.0)
    z.backward(retain_graph=True)
    assert y.item() == 7
    assert x.grad.item() == 32
    x.grad = None
    y.backward()
    assert x.grad.item() == 0


def test_a_shared_memory_is_written_and_the_tape_warns_where_it_matters():
    buffer = np.zeros(2, np.float32)
    out, v = rv.from_numpy(buffer), rv.ones(2, requires_grad=True)
    out.copy_(v)
    assert buffer.tolist() == [1, 1]
    y = exp(v)
    seen = y.detach()
    y.fill_(0.0)
    assert seen.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match=r"\[exp\] .* modified by an inplace operation"):
        y.backward(np.ones(2))


def test_a_result_that_does_not_fit_is_named():
    from ranvier.tape.inplace import assign

    with pytest.raises(RuntimeError, match=r"\[add_\] got a result of shape \(3, 2\) for a tensor"):
        assign(rv.ones(2), rv.ones(3, 2), "add_")
    with pytest.raises(RuntimeError, match=r"\[add_\] got a result of dtype float32 for a tensor of int64"):
        assign(rv.tensor([1]), rv.ones(1), "add_")


def test_each_of_several_changed_views_counts():
    x, w = rv.zeros(6), rv.ones(2, requires_grad=True)
    first, last = x[:2], x[4:]
    y = (w * first).sum()
    last.fill_(1)
    y.backward(retain_graph=True)  # what w needs has not changed
    first.fill_(7)
    refused(RuntimeError, "modified by an inplace operation", y.backward)


@pytest.mark.parametrize("which", [0, 1])
def test_indices_saved_in_a_tuple_may_not_change(which):
    keys, value = (rv.tensor([0, 1]), rv.tensor([1, 2])), rv.ones(2, requires_grad=True)
    x = rv.zeros(3, 3)
    x[keys] = value
    keys[which].add_(1)
    with pytest.raises(RuntimeError, match=r"\[setitem\] .* modified by an inplace operation"):
        x.sum().backward()


def test_a_result_of_many_inputs_may_not_change():
    lstm = rv.nn.LSTM(2, 3)
    y, _ = lstm(rv.ones(4, 1, 2))
    y.detach().add_(1)
    with pytest.raises(RuntimeError, match=r"\[recurrent\] .* modified by an inplace operation"):
        y.sum().backward()


def test_an_expanded_tensor_takes_one_number_and_not_two():
    x = rv.zeros(1, 3).expand(2, 3)
    x[:, 0] = 2.0
    x[:, 1:2] = rv.tensor([[3.0]])
    assert x.tolist() == [[2.0, 3.0, 0.0]] * 2
    with pytest.raises(RuntimeError, match="several elements at one place"):
        x[:, 0] = rv.tensor([4.0, 5.0])
    assert x.tolist() == [[2.0, 3.0, 0.0]] * 2


@pytest.mark.parametrize(
    "turn", [lambda a: a, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.T[::-1].T]
)
def test_views_of_borrowed_memory_share_what_is_copied(turn):
    """As in the prediction of a model that works in place: the caller's array stays as it is."""
    array = turn(np.arange(12.0).reshape(3, 4))
    before = array.copy()
    x = borrowed(array)
    part, whole, empty = x[1:].T, x[:, 1:], x[:0]
    part.mul_(2)
    expected = before.copy()
    expected[1:] *= 2
    np.testing.assert_array_equal(x.numpy(), expected)
    np.testing.assert_array_equal(part.numpy(), expected[1:].T)
    np.testing.assert_array_equal(whole.numpy(), expected[:, 1:])
    np.testing.assert_array_equal(array, before)
    assert empty.shape == (0, 4)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.normal_(),
        lambda x: x.uniform_(),
        lambda x: x.bernoulli_(0.5),
        lambda x: x.exponential_(),
        lambda x: x.random_(),
    ],
)
def test_draws_end_the_history_of_the_old_values(change):
    w = rv.tensor([1.0, 2.0], requires_grad=True)
    x = w * 1
    before = x * 3
    assert change(x) is x
    (x * 5 + before).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]

    w.grad = None
    x = w * 1
    change(x[:])  # a view: its base has the new history too
    (x * 5 + w).sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]
    refused(RuntimeError, "a leaf Variable that requires grad is being used", change, w)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(
    "name", ["add_", "sub_", "mul_", "div_", "pow_", "fmod_", "remainder_", "floor_divide_"]
)
def test_a_missing_operand_is_refused(name, dtype):
    x = rv.tensor([2, 3], dtype=getattr(rv, dtype))
    refused(TypeError, "missing 1 required", getattr(x, name))
    assert x.tolist() == [2, 3]


def test_complex_numbers_are_not_written_without_their_imaginary_part():
    x = rv.ones(2)
    for write in (x.fill_, lambda value: x.__setitem__(0, value)):
        refused(ValueError, "dtype complex128; expected numbers", write, 1j)
    assert x.tolist() == [1.0, 1.0]
