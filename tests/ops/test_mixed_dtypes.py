"""Operands of several dtypes: the dtype of the result, and values that no dtype swallows."""

import operator
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("int64", "float32", "float32"),
        ("float32", "int64", "float32"),
        ("bool", "float32", "float32"),
        ("int32", "float16", "float16"),
        ("float32", "float64", "float64"),
        ("float16", "float32", "float32"),
        ("bool", "uint8", "uint8"),
        ("int8", "uint8", "int16"),
        ("int32", "int64", "int64"),
    ],
)
def test_cat_and_stack_meet_as_arithmetic_does(first, second, expected):
    a, b = rv.tensor(np.array([1], first)), rv.tensor(np.array([1], second))
    for y in (rv.cat([a, b]), rv.cat([a, b, a]), rv.stack([a, b]), rv.stack([a.reshape(()), b.reshape(())])):
        assert y.dtype == np.dtype(expected)
        assert y.tolist() in ([1, 1], [1, 1, 1], [[1], [1]])


def test_cat_keeps_the_gradients_of_both_dtypes():
    a = rv.tensor([1.0], requires_grad=True)
    b = rv.tensor([2.0], dtype=rv.float64, requires_grad=True)
    rv.cat([rv.tensor([3]), a, b]).backward(rv.tensor([5.0, 6.0, 7.0], dtype=rv.float64))
    assert (a.grad.dtype, a.grad.tolist()) == (np.float32, [6.0])
    assert (b.grad.dtype, b.grad.tolist()) == (np.float64, [7.0])


def test_cat_leaves_out_tensors_of_shape_0():
    empty, x = rv.zeros(0, requires_grad=True), rv.ones(2, 2, requires_grad=True)
    y = rv.cat([empty, x, rv.zeros(0)], dim=1)
    y.backward(rv.ones(2, 2))
    assert (y.tolist(), x.grad.tolist(), empty.grad.shape) == ([[1, 1], [1, 1]], [[1, 1], [1, 1]], (0,))
    assert rv.cat([rv.zeros(0), rv.zeros(0)]).shape == (0,)
    assert rv.cat([rv.zeros(0, dtype=rv.int64), rv.ones(2, 2, dtype=rv.int64)]).shape == (2, 2)
    refused(ValueError, "[cat] got", rv.cat, [rv.zeros(1, 0), rv.ones(2, 2)])


@pytest.mark.parametrize(
    ("dtype", "number", "expected"),
    [
        ("bool", 0.5, True),
        ("bool", 0, False),
        ("bool", float("nan"), True),
        ("int64", 2.7, 2),
        ("int64", -2.7, -2),
        ("int32", 2.7, 2),
        ("uint8", 255, 255),
        ("float32", True, 1.0),
    ],
)
def test_a_number_in_another_dtype(dtype, number, expected):
    x = rv.zeros(3, dtype=getattr(np, dtype if dtype != "bool" else "bool_"))
    assert x.fill_(number).tolist() == [expected] * 3
    x.zero_()
    x[1] = number
    assert x.tolist() == [0, expected, 0]
    mask = rv.tensor([False, True, False])
    assert rv.masked_fill(rv.zeros(3, dtype=x.dtype), mask, number).tolist() == [0, expected, 0]
    assert rv.full_like(x, number).tolist() == [expected] * 3


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("int64", float("nan")), ("int64", float("inf")), ("int32", 2**40), ("uint8", 256), ("int64", 2.0**64)],
)
def test_a_number_that_the_dtype_cannot_hold(dtype, number):
    x = rv.ones(3, dtype=getattr(np, dtype))
    for change in (
        lambda: x.fill_(number),
        lambda: x.__setitem__(1, number),
        lambda: rv.masked_fill(x, rv.tensor([True, False, False]), number),
        lambda: rv.full_like(x, number),
        lambda: rv.scatter(x, 0, rv.tensor([0]), number),
    ):
        with pytest.raises(ValueError, match=rf"\[\w+\] got .*; expected .*{dtype} can hold"):
            change()
    assert x.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("kind", "other"), [("int64", "float32"), ("bool", "int64"), ("float32", "float64"), ("int32", "int64")]
)
def test_scatter_and_index_add_refuse_a_source_that_would_lose_values(kind, other):
    x, index = rv.zeros(3, dtype=np.dtype(kind)), rv.tensor([0])
    source = rv.ones(1, dtype=np.dtype(other))
    calls = {"scatter": rv.scatter, "scatter_add": rv.scatter_add, "index_add": rv.index_add}
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"\[{name}\] got src of dtype {other} for x of dtype {kind}"):
            call(x, 0, index, source)
    refused(TypeError, "[scatter] got src", x.scatter_, 0, index, source)


def test_a_float_on_the_tape_put_into_integers():
    """No gradient flows through integers: the tensor stays what it is."""
    value = rv.tensor([1.7, -2.7], requires_grad=True)
    for change in (
        lambda x: x.copy_(value),
        lambda x: x.__setitem__(slice(None), value),
        lambda x: x.__setitem__(1, value[1]),
    ):
        x = rv.ones(2, dtype=rv.int64)
        change(x)
        assert (x.requires_grad, x.grad_fn, x[1].item()) == (False, None, -2)


@pytest.mark.parametrize("key", [[0], rv.tensor([True, False]), (rv.tensor([0]),)])
def test_keys_with_arrays_keep_the_value_or_refuse(key):
    x = rv.zeros(2, dtype=rv.int64)
    with pytest.raises(TypeError, match=r"\[setitem\] got a value of dtype float32 for a tensor of int64"):
        x[key] = rv.tensor([1.5])
    assert x.tolist() == [0, 0]
    x[key] = 1.5
    assert x.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"\[setitem\] got nan; expected a number that int64 can hold"):
        x[key] = float("nan")
    y = rv.zeros(2)
    y[key] = rv.tensor([3])
    assert y.tolist() == [3.0, 0.0]
    with pytest.raises(ValueError, match=r"\[setitem\] got a value of shape \(3,\)"):
        y[key] = rv.zeros(3)


def test_gradients_in_the_dtype_of_the_value():
    for change in (
        lambda y, v: y.copy_(v),
        lambda y, v: y.__setitem__(0, v),
        lambda y, v: y.__setitem__([0], v),
    ):
        value = rv.tensor(2.0, dtype=rv.float64, requires_grad=True)
        y = rv.zeros(2)
        change(y, value)
        y.sum().backward()
        assert (y.dtype, value.grad.dtype, value.grad.shape) == (np.float32, np.float64, ())


def test_scatter_of_integers_into_floats():
    x = rv.zeros(3)
    assert rv.scatter(x, 0, rv.tensor([1]), rv.tensor([2])).tolist() == [0.0, 2.0, 0.0]
    assert rv.index_add(x, 0, rv.tensor([1]), rv.tensor([2])).tolist() == [0.0, 2.0, 0.0]


def test_scatter_keeps_the_gradient_of_a_value_without_dimensions():
    value = rv.tensor(2.0, requires_grad=True)
    y = rv.scatter(rv.zeros(3), 0, rv.tensor([0, 2]), value)
    y.backward(rv.tensor([3.0, 5.0, 7.0]))
    assert (y.tolist(), value.grad.item()) == ([2.0, 0.0, 2.0], 10.0)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_scatter_by_reduction(dtype):
    x, index = rv.tensor(np.array([3, 4], dtype)), rv.tensor([0, 0])
    source = rv.tensor(np.array([2, 3], dtype))
    assert rv.scatter(x, 0, index, source, reduce="add").tolist() == [8, 4]
    assert rv.scatter(x, 0, index, source, reduce="multiply").tolist() == [18, 4]
    assert rv.scatter(x, 0, index, 2, reduce="multiply").tolist() == [12, 4]
    assert x.clone().scatter_(0, index, source, reduce="add").tolist() == [8, 4]
    refused(ValueError, "[scatter] got reduce 'mean'", rv.scatter, x, 0, index, source, reduce="mean")


def test_scatter_does_not_multiply_on_the_tape():
    x = rv.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"\[scatter\] got reduce 'multiply' where a gradient is required"):
        rv.scatter(x, 0, rv.tensor([0]), 2.0, reduce="multiply")


def test_masked_fill_keeps_the_gradient_of_a_tensor():
    x = rv.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    value = rv.tensor(9.0, dtype=rv.float64, requires_grad=True)
    y = rv.masked_fill(x, rv.tensor([True, False]), value)
    assert (y.dtype, y.tolist()) == (np.float32, [[9.0, 2.0], [9.0, 4.0]])
    y.backward(rv.tensor([[1.0, 2.0], [4.0, 8.0]]))
    assert x.grad.tolist() == [[0.0, 2.0], [0.0, 8.0]]
    assert (value.grad.dtype, value.grad.item()) == (np.float64, 5.0)


def test_masked_fill_refuses():
    x, mask = rv.ones(2), rv.tensor([True, False])
    with pytest.raises(ValueError, match=r"\[masked_fill\] got value of shape \(1,\); expected a number"):
        rv.masked_fill(x, mask, rv.tensor([1.0]))
    with pytest.raises(TypeError, match=r"\[masked_fill\] got mask of dtype int64; expected bool"):
        rv.masked_fill(x, rv.tensor([1, 0]), 1.0)


def test_rounded_division():
    a, b = np.array([7.0, -7.0, 7.0, -7.0, 1.0]), np.array([2.0, 2.0, -2.0, -2.0, 0.1])
    for mode, exact in (("floor", np.floor_divide(a, b)), ("trunc", np.trunc(a / b))):
        x, y = rv.tensor(a, requires_grad=True), rv.tensor(b, requires_grad=True)
        z = rv.div(x, y, rounding_mode=mode)
        assert z.tolist() == exact.tolist()
        z.sum().backward()
        assert x.grad.tolist() == y.grad.tolist() == [0.0] * 5
    whole = rv.tensor([7, -7]), rv.tensor([2, 2])
    assert rv.div(*whole, rounding_mode="floor").tolist() == [3, -4]
    truncated = rv.div(*whole, rounding_mode="trunc")
    assert (truncated.dtype, truncated.tolist()) == (np.int64, [3, -3])
    big = 2**62 + 1
    assert rv.div(rv.tensor([big]), 1, rounding_mode="trunc").tolist() == [big]
    refused(ValueError, "[div] got an integer to divide by 0", rv.div, whole[0], 0, rounding_mode="floor")
    small = rv.tensor([1, 2], dtype=rv.uint8)
    text = "[div] got 2110; expected a number that uint8 can hold"
    refused(ValueError, text, rv.div, small, 2110, rounding_mode="trunc")
    refused(ValueError, "[div] got rounding_mode 'up'", rv.div, whole[0], 2, rounding_mode="up")


def test_integers_to_negative_powers():
    assert (rv.tensor([2, 1, -1, -1, 0]) ** rv.tensor([-1, -2, -3, -4, -1])).tolist() == [0, 1, -1, 1, 0]
    assert (2 ** rv.tensor([-1, 3])).tolist() == [0, 8]
    with pytest.raises(ValueError, match=r"\[pow\] got integers to the power -1; expected an exponent >= 0"):
        rv.tensor([2]) ** -1


@pytest.mark.parametrize(
    ("dtype", "op", "number", "expected"),
    [
        ("uint8", operator.and_, -32, [0, 192, 224]),
        ("uint8", operator.or_, -1, [255, 255, 255]),
        ("uint8", operator.xor, -1, [254, 55, 0]),
        ("uint8", operator.and_, 300, [0, 8, 44]),
        ("int8", operator.and_, 254, [0, -56, -2]),
        ("int64", operator.and_, -2, [0, 200, 254]),
    ],
)
def test_a_mask_counts_by_its_lowest_bits(dtype, op, number, expected):
    x = rv.tensor([1, 200, 255]).to(getattr(np, dtype))
    for y in (op(x, number), op(number, x)):
        assert (y.dtype, y.tolist()) == (x.dtype, expected)


def test_bools():
    x = rv.tensor([True, False])
    assert (rv.sign(x).dtype, rv.sign(x).tolist()) == (np.bool_, [True, False])
    assert (rv.square(x).dtype, rv.square(x).tolist()) == (np.int64, [1, 0])
    assert (rv.prod(x, 0, dtype=rv.bool).dtype, rv.prod(x, 0, dtype=rv.bool).item()) == (np.bool_, False)
    assert (True ^ x).tolist() == [False, True]
    assert (False | x).tolist() == (True & x).tolist() == [True, False]
    refused(TypeError, "[neg] got bools; expected numbers: use ~x", operator.neg, x)
    refused(TypeError, "[bitwise_or] got dtypes bool, float64; expected bools", operator.or_, x, 0.5)


@pytest.mark.parametrize("op", [rv.sigmoid, rv.tanh, rv.nn.functional.softsign, rv.nn.functional.tanhshrink])
def test_integers_become_float32_in_smooth_activations(op):
    for values in ([-1, 0, 2], [True, False]):
        y, expected = op(rv.tensor(values)), op(rv.tensor(values, dtype=rv.float32))
        assert (y.dtype, y.tolist()) == (np.float32, expected.tolist())


def test_integers_stay_integers_in_clipping_activations():
    x = rv.tensor([-4, 3, 9])
    for y, expected in (
        (rv.relu(x), [0, 3, 9]),
        (rv.nn.functional.relu6(x), [0, 3, 6]),
        (rv.nn.functional.hardtanh(x, -2.5, 2.5), [-2, 2, 2]),
    ):
        assert (y.dtype, y.tolist()) == (np.int64, expected)


def test_max_pool_of_integers():
    x = np.random.default_rng(0).integers(-(2**53), 2**53, (2, 3, 6, 6))
    y, where = rv.max_pool2d(rv.tensor(x), 2, return_indices=True)
    expected = x.reshape(2, 3, 3, 2, 3, 2).max((3, 5))
    assert (y.dtype, y.tolist()) == (np.int64, expected.tolist())
    assert np.take_along_axis(x.reshape(6, -1), where.numpy().reshape(6, -1), 1).ravel().tolist() == [
        *expected.ravel()
    ]
    with pytest.raises(ValueError, match=r"\[max_pool2d\] got integers beyond 2\^53; expected smaller ones"):
        rv.max_pool2d(rv.tensor(x.clip(0) + 2**53), 2)


def test_linear_of_integers():
    y = rv.nn.functional.linear(rv.tensor([1, 2]), rv.tensor([[3, 4], [5, 6]]), rv.tensor([1, -1]))
    assert (y.dtype, y.tolist()) == (np.int64, [12, 16])


@pytest.mark.parametrize("dtypes", [("float64", "float32"), ("float32", "float64")])
def test_linear_of_two_dtypes(dtypes: tuple[str, str]) -> None:
    """The weight was read in the dtype of x."""
    x, weight = (rv.ones(3, 3, dtype=getattr(rv, dtype)) for dtype in dtypes)
    text = f"[linear] got x of dtype {dtypes[0]} and weight of dtype {dtypes[1]}; expected the same dtype"
    refused(TypeError, text, rv.nn.functional.linear, x, weight)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pads_of_integers_and_bools(mode):
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 5))
    expected = rv.nn.functional.pad(rv.tensor(x.astype(np.float64)), (2, 1, 1, 3), mode).tolist()
    y = rv.nn.functional.pad(rv.tensor(x), (2, 1, 1, 3), mode)
    assert (y.dtype, y.tolist()) == (np.int64, expected)
    y = rv.nn.functional.pad(rv.tensor(x > 4), (2, -1, 1, 3), mode)
    assert y.dtype == np.bool_


def test_ranges_of_integers_lose_fractions_first():
    assert rv.arange(0.0, -8.000001, -4.0, dtype=rv.int64).tolist() == [0, -4]
    assert rv.arange(0.1, -7.9, -4.0, dtype=rv.int64).tolist() == [0, -4]
    assert rv.linspace(4.3, -3, 8, dtype=rv.int64).tolist() == [4, 3, 2, 1, 0, -1, -2, -3]
    exact = np.linspace(1.1, -3, 50)
    assert rv.linspace(rv.tensor(1.1, dtype=rv.float64), -3, 50, dtype=rv.float64).tolist() == exact.tolist()
    refused(ValueError, "[arange] got 3 to 1 in steps of 1", rv.arange, 3, 1)


@pytest.mark.parametrize(
    "number", [np.complex64(1 + 2j), np.complex128(1j), np.datetime64(3, "s"), np.str_("1")]
)
@pytest.mark.parametrize("op", [operator.add, operator.mul, rv.pow, rv.maximum, nn.functional.linear])
def test_scalars_that_are_no_numbers(op: Any, number: Any) -> None:
    """The imaginary part was left out."""
    with pytest.raises(TypeError, match=r"\[\w+\] got |unsupported operand"):
        op(rv.ones(2), number)


def test_a_number_beyond_the_dtype_of_an_input() -> None:
    with pytest.raises(ValueError, match=r"\[\w+\] got 9223372036854775808; expected a number that int64"):
        rv.ops.rms_norm(rv.tensor([True, False]), 2, 2**63)


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (lambda b: b - b, "sub"),
        (lambda b: b - True, "sub"),
        (lambda b: True - b, "sub"),
        (lambda b: rv.sub(True, True), "sub"),
        (lambda b: b // b, "floor_divide"),
        (lambda b: b % True, "remainder"),
        (lambda b: rv.fmod(b, b), "fmod"),
        (lambda b: -b, "neg"),
        (lambda b: rv.neg(True), "neg"),
    ],
)
def test_bools_have_no_difference_or_quotient(op, name):
    with pytest.raises(TypeError, match=rf"\[{name}\] got .*bool.*; expected numbers"):
        op(rv.tensor([True, False]))


def test_bools_are_not_shifted():
    b = rv.tensor([True, False])
    for shifted in (lambda: b << b, lambda: b >> True):
        with pytest.raises(TypeError, match=r"_shift\] got dtypes bool, bool; expected integers"):
            shifted()


def test_powers_of_bools():
    a, b = rv.tensor([False, False, True, True]), rv.tensor([False, True, False, True])
    assert (a**b).tolist() == [True, False, True, True]
    assert (a**True).tolist() == a.tolist()
    assert (a**b).dtype == (a**False).dtype == np.bool_
    a **= b
    assert a.tolist() == [True, False, True, True]


def test_two_bools_that_are_python_s_stay_bools():
    assert (rv.add(True, False).dtype, rv.mul(True, False).dtype) == (np.bool_, np.bool_)
    assert rv.add(True, 1).dtype == np.int64


def test_a_sum_is_in_the_dtype_that_is_asked_for():
    x = rv.tensor([[200, 100], [1, 2]])
    for dtype, expected in ((rv.uint8, [44, 3]), (rv.int16, [300, 3]), (rv.bool, [True, True])):
        for total in (x.sum(1, dtype=dtype), x[:, :1].sum(1, dtype=dtype)):
            assert total.dtype == dtype
        assert x.sum(1, dtype=dtype).tolist() == expected


def test_integers_to_a_negative_power_are_refused():
    for exponent in (-1, np.int64(-1), np.int32(-2)):
        with pytest.raises(ValueError, match="expected an exponent >= 0"):
            rv.tensor([2, 1]) ** exponent
