"""Operands and numbers of several dtypes: the dtype of the result, and values that no dtype may lose or wrap.
Expected values by hand, which are PyTorch's.
"""

import operator
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


@pytest.mark.parametrize("change", ["add", "sub", "add_", "sub_"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "float64"])
def test_alpha_multiplies_in_the_dtype_of_the_result(change, dtype):
    """As int8 it overflowed."""
    a, b = rv.tensor([1.0, 2.0]), rv.tensor([100.0, 101.0]).to(np.dtype(dtype))
    sign = -1 if "sub" in change else 1
    y = getattr(a.clone(), change)(b, alpha=2)
    assert y.tolist() == [1 + sign * 200, 2 + sign * 202]
    assert y.dtype == (np.float64 if dtype == "float64" and change[-1] != "_" else np.float32)


def test_alpha():
    """a + alpha b, in the dtype of the result, with alpha of each kind of number."""
    whole = rv.tensor([1, 2])
    assert rv.sub(whole, rv.tensor([100, 200], dtype=rv.uint8), alpha=2).tolist() == [-199, -398]
    assert rv.add(rv.ones(1, dtype=rv.float64), 0.1, alpha=3).item() == 1 + 0.1 * 3
    flags = rv.tensor([True, False])
    assert rv.add(flags, flags, alpha=True).tolist() == [True, False]
    halves = rv.tensor([60000.0], dtype=rv.float16)
    assert rv.sub(halves, halves, alpha=1.5).item() == -30000.0
    a, b = rv.ones(2, requires_grad=True), rv.ones(2, dtype=rv.float64).requires_grad_()
    rv.add(a, b, alpha=3).sum().backward()
    assert (a.grad.tolist(), a.grad.dtype, b.grad.tolist(), b.grad.dtype) == (
        [1, 1],
        rv.float32,
        [3, 3],
        rv.float64,
    )


def test_addcmul_multiplies_small_integers_beside_floats():
    a = rv.tensor([100, 101], dtype=rv.int8)
    assert rv.addcmul(rv.tensor([1.0, 2.0]), a, a, value=2).tolist() == [20001.0, 20404.0]


def test_products_and_quotients_are_in_the_dtype_of_the_sum():
    small = rv.tensor([200], dtype=rv.uint8), rv.tensor([2], dtype=rv.uint8)
    assert rv.addcmul(rv.tensor([0]), *small).tolist() == [400]
    third = rv.addcdiv(rv.zeros(1, dtype=rv.float64), rv.tensor([1.0]), rv.tensor([3.0]))
    assert third.tolist() == [1 / 3]


def test_numbers_beyond_the_range_of_halves():
    """They are not rounded to infinity before the op."""
    small, large = rv.tensor([0.001], dtype=rv.float16), rv.tensor([60000.0], dtype=rv.float16)
    for number in (1e6, rv.tensor(1e6), rv.tensor(1e6, dtype=rv.float64), np.float64(1e6)):
        assert (small * number).tolist() == small.clone().mul_(number).tolist() == [1000.5]
        assert (large / number).item() == np.float16(0.06)
        assert (small * number).dtype == rv.float16
    assert (1e6 * small).item() == 1000.5
    assert (small * rv.tensor([1e6]).half()).item() == np.inf


@pytest.mark.parametrize("kind", ["uint8", "int8", "int32", "int64"])
def test_integers_of_one_dtype(kind):
    a = rv.tensor([[1, 2, 100]], dtype=getattr(rv, kind))
    b = rv.tensor([[3], [127]], dtype=getattr(rv, kind))
    for op in ("__add__", "__sub__", "__mul__"):
        y, number = getattr(a, op)(b), getattr(a, op)(3)
        assert y.dtype == number.dtype == a.dtype
        assert y.tolist() == getattr(a.numpy(), op)(b.numpy()).tolist()  # both wrap round
        assert number.tolist() == getattr(a.numpy(), op)(np.array(3, kind)).tolist()
    with pytest.raises(ValueError, match=r"\[add\] got shapes \(1, 3\) and \(2,\)"):
        a + rv.tensor([1, 2], dtype=a.dtype)
    with pytest.raises(ValueError, match=r"\[mul\] got \d+; expected a number"):
        a * 2**70


@pytest.mark.parametrize("name", ["reciprocal_", "sqrt_", "exp_", "sin_"])
def test_integers_cannot_take_floats_in_place(name):
    x = rv.tensor([1, 2, 3])
    refused(RuntimeError, "got a result of dtype float32 for a tensor of int64", getattr(x, name))
    assert x.tolist() == [1, 2, 3]


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
    assert rv.full_like(x, number).tolist() == rv.full(3, number, dtype=x.dtype).tolist() == [expected] * 3


@pytest.mark.parametrize(
    ("dtype", "number"),
    [
        ("int64", float("nan")),
        ("int64", float("inf")),
        ("int32", 2**40),
        ("uint8", 256),
        ("uint8", -1),
        ("int64", 2.0**64),
    ],
)
def test_a_number_that_the_dtype_cannot_hold(dtype, number):
    x = rv.ones(3, dtype=getattr(np, dtype))
    for change in (
        lambda: x.fill_(number),
        lambda: x.__setitem__(1, number),
        lambda: rv.masked_fill(x, rv.tensor([True, False, False]), number),
        lambda: rv.full_like(x, number),
        lambda: rv.full(2, number, dtype=x.dtype),
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
    """A Tensor of floats is refused for integers; a number loses its fraction, and NaN is refused."""
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


def test_rounded_division():
    """Floors and truncated quotients beside NumPy, with gradients of 0; integers exactly, beyond 2^53 too."""
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
    small = rv.tensor([1, 2], dtype=rv.uint8)
    text = "[div] got 2110; expected a number that uint8 can hold"
    refused(ValueError, text, rv.div, small, 2110, rounding_mode="trunc")


def test_limits_of_another_dtype_meet_in_the_wider():
    x = rv.tensor([-2.0, 2.0], requires_grad=True)
    low = rv.tensor([-1, -1])
    high = rv.ones(2, dtype=rv.float64, requires_grad=True)
    y = x.clamp(low, high)
    assert (y.dtype, y.tolist()) == (np.float64, [-1, 1])
    y.sum().backward()
    assert (x.grad.dtype, x.grad.tolist(), high.grad.tolist()) == (np.float32, [0, 0], [0, 1])
    whole = rv.tensor([5, -5]).clamp(low, rv.tensor(3))
    assert (whole.dtype, whole.tolist()) == (np.int64, [3, -1])


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
    assert op(5).tolist() == op(5.0).tolist()


def test_integers_stay_integers_in_clipping_activations():
    x, F = rv.tensor([-4, 3, 9]), rv.nn.functional
    rows = (rv.relu(x), [0, 3, 9]), (F.relu6(x), [0, 3, 6]), (F.hardtanh(x, -2.5, 2.5), [-2, 2, 2])
    for y, expected in (*rows, (rv.relu(5), 5), (F.hardtanh(5), 1)):
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


def test_two_bools_that_are_python_s_stay_bools():
    assert (rv.add(True, False).dtype, rv.mul(True, False).dtype) == (np.bool_, np.bool_)
    assert rv.add(True, 1).dtype == np.int64


def test_a_sum_is_in_the_dtype_that_is_asked_for():
    x = rv.tensor([[200, 100], [1, 2]])
    for dtype, expected in ((rv.uint8, [44, 3]), (rv.int16, [300, 3]), (rv.bool, [True, True])):
        for total in (x.sum(1, dtype=dtype), x[:, :1].sum(1, dtype=dtype)):
            assert total.dtype == dtype
        assert x.sum(1, dtype=dtype).tolist() == expected
