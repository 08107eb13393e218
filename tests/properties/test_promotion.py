"""Operands of several dtypes: the result has the dtype of PyTorch's rule and the values of wide operands."""

import itertools
import re

import numpy as np
import pytest
import ranvier as rv
from support.tolerance import close, equal

from properties.every import every_op

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
WEAK = {"bool": "bool", "int64": "int64", "float64": "float32"}  # what a number is beside lower kinds
FORMS = ["tensor", "0-d", "number", "NumPy's number"]
WITHOUT = {  # which kinds an op refuses
    "sub rsub fmod remainder floor_divide lerp": ["bool"],
    "bitwise_and bitwise_or bitwise_xor": ["float"],
    "bitwise_left_shift bitwise_right_shift": ["bool", "float"],
}


def kind(name):
    return name if name == "bool" else name.strip("bu0123456789")


def rule(*operands):
    """The dtype by PyTorch's rule. operands: pairs of a form and a name of a dtype.

    The highest kind decides, within it dimensions before none, and these before numbers; then NumPy.
    """
    order = ["bool", "int", "float"]
    ranked = {
        (order.index(kind(name)), -min(FORMS.index(form), 2), WEAK[name] if "number" in form else name)
        for form, name in operands
    }
    deciding = max(place for *place, _ in ranked)
    names = {name for *place, name in ranked if place == deciding}
    wider = (name.replace("bfloat16", "float32") for name in names)
    return "bfloat16" if names == {"bfloat16"} else str(np.result_type(*wider))


def pairs():
    """Pairs of operands, each a form and the name of a dtype; at least one is a tensor."""
    for first, second in itertools.product(FORMS, FORMS):
        if "number" in first and "number" in second:
            continue
        some = (
            NAMES
            if first == second == "tensor"
            else ["bool", "uint8", "int64", "float16", "float32", "float64"]
        )
        of_first, of_second = (WEAK if "number" in form else some for form in (first, second))
        yield from (((first, a), (second, b)) for a, b in itertools.product(of_first, of_second))


PAIRS = [*pairs()]


def made(library, form, name, shape, least):
    """The numbers least, least + 1, least + 2 and so on, of floats a half more."""
    values = np.resize(np.arange(least, least + 3) + (kind(name) == "float") / 2, shape)
    if "number" not in form:
        values = values if form == "tensor" else values.flat[0]
        return library.tensor(values).to(getattr(library, name))
    number = np.dtype(name).type(values.flat[0])
    return number if "NumPy" in form and library is rv else number.item()


def test_the_rule_is_that_of_torch(torch):
    for pair in PAIRS:
        operands = (made(torch, form, name, (2,), 1) for form, name in pair)
        assert str(torch.result_type(*operands)) == f"torch.{rule(*pair)}", pair


JOINS = ["cat", "stack", "hstack", "vstack", "column_stack", "block_diag", "cartesian_prod"]


def promotes(op):
    return op.name in ["where", *JOINS] or op.source.__module__ == "samples.elementwise_pairs"


def whole(value):
    """The argument with integers in place of floats."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(whole, value))
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return np.resize([1, 3, 2], value.shape) if is_float else value


def has_dtype(sample, of_rule, z):
    """The dtype of a result, where wide operands have given z."""
    if z.dtype == rv.bool:
        return "bool"
    if kind(of_rule) == "float":
        return of_rule
    if not sample.op.reference:
        return of_rule
    return of_rule if sample.op.reference(*whole(sample.args)).dtype.kind in "bi" else "float32"


def compare(y, z, where, *dtypes):
    """y has the values of z in its dtype, rounded in these dtypes."""
    if not y.is_floating_point():
        equal(y.numpy(), z.to(rv.int64).to(y.dtype).numpy(), where)
        return
    eps = max(rv.finfo(dtype).eps for dtype in (y.dtype, *dtypes) if dtype.is_floating_point)
    y, z = (x.double().numpy(force=True) for x in (y, z))
    close(y, z, 0, 4 * eps * max(1.0, np.abs(z).max(initial=0)), where)


def operands_of(call, pair):
    """In place of the inputs, and the same numbers as float64, for an op of integers as int64."""
    widest = rv.float64 if any(x.is_floating_point() for x in call.inputs) else rv.int64
    forms = itertools.chain(pair, itertools.repeat(pair[1]))
    given, wide = [], []
    for place, x in enumerate(call.inputs):
        number = x if x.dtype == rv.bool else made(rv, *next(forms), x.shape, 1 + place)
        given.append(number)
        wide.append(x if x.dtype == rv.bool else rv.as_tensor(number).to(widest))
    for x, z in zip(given, wide, strict=True):
        if isinstance(x, rv.Tensor) and x.is_floating_point() and z.is_floating_point():
            x.requires_grad_()
            z.requires_grad_()
    return given, wide


def check_gradients(y, z, given, wide, where, steps):
    leaves = [place for place, x in enumerate(given) if isinstance(x, rv.Tensor) and x.requires_grad]
    settings = {"allow_unused": True, "materialize_grads": True}
    found, exact = (
        rv.autograd.grad(result, [xs[i] for i in leaves], rv.ones_like(result), **settings)
        for result, xs in ((y, given), (z, wide))
    )
    for place, slope, wanted in zip(leaves, found, exact, strict=True):
        assert slope.dtype == given[place].dtype, where
        compare(slope, wanted, where, y.dtype, *steps)


def check_in_place(name, x, others, y, z, where, steps):
    """The first operand keeps its dtype, where that is not of a lower kind."""
    x = x.detach().clone()
    order = ["bool", "int", "float"]
    if order.index(kind(str(y.dtype)[6:])) > order.index(kind(str(x.dtype)[6:])):
        with pytest.raises(RuntimeError, match="got a result of dtype"):
            getattr(x, name)(*others)
        return
    dtype, found = x.dtype, getattr(x, name)(*others)
    assert found is x, where
    assert x.dtype == dtype, where
    compare(x, z, where, y.dtype, *steps)


@every_op({"heaviside": "keeps the dtype of x"}, only=promotes, of=lambda sample: sample.number == 0)
def test_promotion(sample):
    name = sample.op.name
    without = [kind for names, kinds in WITHOUT.items() if name in names.split() for kind in kinds]
    call = sample.tensors(records=False)
    numbers = name not in JOINS and (len(call.inputs) == 2 or name == "where")
    for pair in PAIRS if numbers else PAIRS[: len(NAMES) ** 2]:
        where, of_rule = f"{pair}", rule(*pair)
        given, wide = operands_of(call, pair)
        if kind(of_rule) in without:
            with pytest.raises(TypeError, match="; expected"):
                call.with_inputs(*given)
            continue
        (y,), (z,) = call.with_inputs(*given), call.with_inputs(*wide)
        assert str(y.dtype) == f"torch.{has_dtype(sample, of_rule, z)}", where
        steps = [rv.as_tensor(x).dtype for x in given if name == "ldexp"]  # 2^b is rounded to the dtype of b
        compare(y, z, where, *steps)
        if y.requires_grad:
            check_gradients(y, z, given, wide, where, steps)
        if pair[0][0] == "tensor" and hasattr(rv.Tensor, name + "_") and name != "where":
            args = [g.detach() if isinstance(g, rv.Tensor) else g for g in given]
            extra = call.args[len(call.inputs) :]
            check_in_place(name + "_", args[0], [*args[1:], *extra], y, z, where, steps)


def is_first(sample):
    return sample.error is None and sample.number < 2


@every_op({}, only=lambda op: "promotion" in op.lacks.split(), of=is_first)
def test_two_dtypes_are_refused(sample):
    """By an error that names both; nothing is computed."""
    for first, second in itertools.permutations([rv.float16, rv.bfloat16, rv.float32, rv.float64], 2):
        call = sample.tensors(first, records=False)
        if sample.is_layer:
            call.args[0].to(second)
        given = [x.to(second) if i and x.is_floating_point() else x for i, x in enumerate(call.inputs)]
        with pytest.raises(TypeError, match=r"; expected (one|the same) dtype") as error:
            call.with_inputs(*given)
        assert {str(first)[6:], str(second)[6:]} <= set(re.findall(r"\w+", str(error.value)))
