"""The dtype of an op of two operands: PyTorch's table for Tensors, 0-d Tensors, Python and NumPy numbers."""

import itertools
import operator
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier.ops.elementwise.dtypes import as_operand, result_dtype
from support.refused import refused

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
TABLE = {  # of two Tensors that both have dimensions: a row's dtype beside those from itself on
    "bool": "bool uint8 int8 int16 int32 int64 float16 float32 float64",
    "uint8": "uint8 int16 int16 int32 int64 float16 float32 float64",
    "int8": "int8 int16 int32 int64 float16 float32 float64",
    "int16": "int16 int32 int64 float16 float32 float64",
    "int32": "int32 int64 float16 float32 float64",
    "int64": "int64 float16 float32 float64",
    "float16": "float16 float32 float64",
    "float32": "float32 float64",
    "float64": "float64",
}
NUMBERS = {"bool": True, "int64": 2, "float64": 1.5}
WEAK = {
    "bool": "bool",
    "int64": "int64",
    "float64": "float32",
}  # what a number is among tensors of lower kinds
FORMS = ["1-d", "0-d", "number", "NumPy's number"]
PAIRS = [
    (form, other, a, b)
    for form, other in itertools.product(FORMS, FORMS)
    if "number" not in form or "number" not in other
    for a, b in itertools.product(NAMES, NAMES)
    if ("number" not in form or a in NUMBERS) and ("number" not in other or b in NUMBERS)
]


def kind(name):
    return {"b": 0, "u": 1, "i": 1, "f": 2}[np.dtype(name).kind]


def expected(form, other, a, b):
    """The higher kind decides; within a kind dimensions before none, before numbers; then the table."""
    first, second = (WEAK[n] if "number" in f else n for f, n in ((form, a), (other, b)))
    if kind(first) != kind(second):
        return first if kind(first) > kind(second) else second
    ranks = [min(FORMS.index(f), 2) for f in (form, other)]
    if ranks[0] != ranks[1]:
        return first if ranks[0] < ranks[1] else second
    i, j = sorted((NAMES.index(first), NAMES.index(second)))
    return TABLE[NAMES[i]].split()[j - i]


def made(library: Any, form: str, name: str) -> Any:
    if form == "number":
        return NUMBERS[name]
    if form == "NumPy's number":
        return np.dtype(name).type(1)
    return library.ones((2,) if form == "1-d" else (), dtype=getattr(library, name))


def test_the_rule_gives_the_table():
    for form, other, a, b in PAIRS:
        numbers = [as_operand("add", made(rv, f, n)) for f, n in ((form, a), (other, b))]
        found = result_dtype(*numbers)
        assert found == np.dtype(expected(form, other, a, b)), (form, other, a, b)


def test_the_table_is_that_of_torch(torch):
    for form, other, a, b in PAIRS:
        numbers = [made(torch, f.replace("NumPy's ", ""), n) for f, n in ((form, a), (other, b))]
        found = str(torch.result_type(*numbers)).split(".")[1]
        assert found == expected(form, other, a, b), (form, other, a, b)


ARITHMETIC = {
    name: getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "and_", "or_", "xor")
}
ARITHMETIC |= {name: getattr(rv, name) for name in ("maximum", "minimum", "fmod", "atan2", "hypot", "xlogy")}
ARITHMETIC["where"] = lambda a, b: rv.where(rv.tensor([True, False]), a, b)
ARITHMETIC["alpha"] = lambda a, b: rv.add(a, b, alpha=True)
ANY = ("add", "mul", "truediv", "maximum", "minimum", "atan2", "hypot", "xlogy", "where", "alpha")
FLOATS = ("truediv", "atan2", "hypot", "xlogy")  # of integers in float32


@pytest.mark.parametrize("op", ARITHMETIC)
def test_every_op_has_the_dtype_of_the_table(op):
    for form, other, a, b in PAIRS:
        dtype = np.dtype(expected(form, other, a, b))
        if dtype.kind == ("f" if op in ("and_", "or_", "xor") else "b") and op not in ANY:
            continue
        operands = made(rv, form, a), made(rv, other, b)
        y = ARITHMETIC[op](*operands)
        assert y.dtype == (np.float32 if op in FLOATS and dtype.kind != "f" else dtype), (form, other, a, b)


def test_the_floats_of_logarithms():
    for form, other, a, b in PAIRS:
        dtype = np.dtype(expected(form, other, a, b))
        if "float16" not in (a, b, dtype.name):
            y = rv.logaddexp(made(rv, form, a), made(rv, other, b))
            assert y.dtype == (dtype if dtype.kind == "f" else np.float32), (form, other, a, b)


COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_every_pair_with_torch(op, torch):
    for form, other, a, b in PAIRS:
        if form in ("1-d", "0-d") and "NumPy" not in other:
            compared = [getattr(T, op)(made(T, form, a), made(T, other, b)).tolist() for T in (rv, torch)]
            assert compared[0] == compared[1], (form, other, a, b)


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
    whole = rv.tensor([1, 2])
    assert rv.sub(whole, rv.tensor([100, 200], dtype=rv.uint8), alpha=2).tolist() == [-199, -398]
    assert rv.add(rv.ones(1, dtype=rv.float64), 0.1, alpha=3).item() == 1 + 0.1 * 3
    flags = rv.tensor([True, False])
    assert rv.add(flags, flags, alpha=True).tolist() == [True, False]
    halves = rv.tensor([60000.0], dtype=rv.float16)
    assert rv.sub(halves, halves, alpha=1.5).item() == -30000.0
    refused(TypeError, "[add] got alpha 0.5", rv.add, whole, whole, alpha=0.5)
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


def test_numbers_beyond_the_range_of_halves():
    """They are not rounded to infinity before the op."""
    small, large = rv.tensor([0.001], dtype=rv.float16), rv.tensor([60000.0], dtype=rv.float16)
    for number in (1e6, rv.tensor(1e6), rv.tensor(1e6, dtype=rv.float64), np.float64(1e6)):
        assert (small * number).tolist() == small.clone().mul_(number).tolist() == [1000.5]
        assert (large / number).item() == np.float16(0.06)
        assert (small * number).dtype == rv.float16
    assert (1e6 * small).item() == 1000.5
    assert (small * rv.tensor([1e6]).half()).item() == np.inf


def test_bits_keep_the_dtype_beside_a_tensor_without_dimensions():
    x = rv.tensor([1, 2], dtype=rv.int8)
    for y in (x & rv.tensor(3), rv.tensor(3) & x, x & 3, rv.bitwise_and(x, rv.tensor(3)), x & np.int64(3)):
        assert (y.dtype, y.tolist()) == (rv.int8, [1, 2])
    assert ((1 << x).tolist(), (8 >> x).tolist(), (~x).tolist()) == ([2, 4], [4, 2], [-2, -3])
    with pytest.raises(TypeError):
        x.__invert__(x)  # the second operand was written to


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


def test_products_and_quotients_are_in_the_dtype_of_the_sum():
    small = rv.tensor([200], dtype=rv.uint8), rv.tensor([2], dtype=rv.uint8)
    assert rv.addcmul(rv.tensor([0]), *small).tolist() == [400]
    third = rv.addcdiv(rv.zeros(1, dtype=rv.float64), rv.tensor([1.0]), rv.tensor([3.0]))
    assert third.tolist() == [1 / 3]


@pytest.mark.parametrize(
    ("own", "other"), [("uint8", "int64"), ("int8", "int64"), ("int32", "uint8"), ("int64", "bool")]
)
def test_whole_numbers_go_into_any_other_in_place(own, other):
    x = rv.tensor([1, 100, 0], dtype=getattr(rv, own))
    assert x.add_(rv.tensor([1, 100, 1], dtype=getattr(rv, other))) is x
    np.testing.assert_array_equal(
        x.numpy(), (np.array([1, 100, 0]) + np.array([1, 100, 1], other)).astype(own)
    )


@pytest.mark.parametrize("name", ["reciprocal_", "sqrt_", "exp_", "sin_"])
def test_integers_cannot_take_floats_in_place(name):
    x = rv.tensor([1, 2, 3])
    with pytest.raises(RuntimeError, match="got a result of dtype float32 for a tensor of int64"):
        getattr(x, name)()
    assert x.tolist() == [1, 2, 3]


def test_a_tensor_without_memory_is_an_error():
    empty = rv.Tensor.__new__(rv.Tensor)
    for read in (lambda: empty + 1, lambda: rv.result_type(empty, 1), lambda: empty.grad):
        with pytest.raises(AttributeError, match="has no attribute"):
            read()


@pytest.mark.parametrize(("own", "other"), [("int64", "float32"), ("bool", "int64"), ("uint8", "float64")])
def test_a_lower_kind_cannot_take_the_result_in_place(own, other):
    x = rv.ones(3, dtype=getattr(rv, own))
    with pytest.raises(RuntimeError, match=rf"\[add_\] got a result of dtype {other} for a tensor of {own}"):
        x.add_(rv.ones(3, dtype=getattr(rv, other)))
