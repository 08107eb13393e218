"""Ops on operands of different dtypes.

The dtype of the result is that of PyTorch's rule: `promoted` states it, and is itself compared with
`torch.result_type`. Values and gradients are compared with those of the same call on the same numbers in
float64 (int64 where an op takes integers only). An op without promotion refuses two dtypes.
"""

import itertools
import re
from typing import NamedTuple

import numpy as np
import pytest
import ranvier as rv
from support.tolerance import close, equal

from properties.every import every_op

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
FEWER_DTYPES = ["bool", "uint8", "int64", "float16", "float32", "float64"]  # of which a number is one operand
KINDS = ["bool", "int", "float"]  # from the lowest; uint8 is an int, too
FORMS = ["tensor", "0-d tensor", "Python's number", "NumPy's number"]
# The dtypes of numbers; what each counts as where it decides: the default dtype of its kind.
NUMBERS = {"bool": "bool", "int64": "int64", "float64": "float32"}
REFUSED_KINDS = {  # an op refuses operands whose promoted dtype is of these kinds; all others take any
    "sub rsub fmod remainder floor_divide lerp": ["bool"],
    "bitwise_and bitwise_or bitwise_xor": ["float"],
    "bitwise_left_shift bitwise_right_shift": ["bool", "float"],
}
JOINS = ["cat", "stack", "hstack", "vstack", "column_stack", "block_diag", "cartesian_prod"]


class Operand(NamedTuple):
    form: str  # one of FORMS
    dtype: str  # one of DTYPES

    @property
    def is_number(self):
        return "number" in self.form


def rank(dtype):
    """The place of a dtype's kind in KINDS."""
    return KINDS.index(dtype if dtype == "bool" else dtype.strip("bu0123456789"))


def promoted(*operands):
    """The dtype of the result by PyTorch's rule.

    Only the operands of the highest kind count. Of these, tensors with dimensions decide alone, if there are
    any; else tensors without dimensions; else numbers. The dtypes of those that decide are combined by NumPy.
    """
    highest = max(rank(x.dtype) for x in operands)
    counted = [x for x in operands if rank(x.dtype) == highest]
    numbers = [NUMBERS[x.dtype] for x in counted if x.is_number]
    tensors = [[x.dtype for x in counted if x.form == form] for form in ("tensor", "0-d tensor")]
    dtypes = {*(tensors[0] or tensors[1] or numbers)}
    if dtypes == {"bfloat16"}:
        return "bfloat16"
    return str(np.result_type(*(dtype.replace("bfloat16", "float32") for dtype in dtypes)))


def operand_pairs():
    """All pairs of forms, at least one a tensor, with dtypes that the form can have; first tensors alone."""
    for forms in itertools.product(FORMS, FORMS):
        dtypes = DTYPES if forms == ("tensor", "tensor") else FEWER_DTYPES
        pair = [[Operand(form, d) for d in (NUMBERS if "number" in form else dtypes)] for form in forms]
        if not (pair[0][0].is_number and pair[1][0].is_number):
            yield from itertools.product(*pair)


PAIRS = [*operand_pairs()]
PAIRS_OF_TENSORS = [pair for pair in PAIRS if pair[0].form == pair[1].form == "tensor"]


def made(library, operand, shape, least):
    """The operand as an object of this library: the numbers least, least + 1, least + 2, least ..., of floats
    a half more; without a shape, the first of them."""
    values = np.resize(np.arange(least, least + 3) + (KINDS[rank(operand.dtype)] == "float") / 2, shape)
    if not operand.is_number:
        values = values if operand.form == "tensor" else values.flat[0]
        return library.tensor(values).to(getattr(library, operand.dtype))
    number = np.dtype(operand.dtype).type(values.flat[0])
    return number if operand.form == "NumPy's number" and library is rv else number.item()


def test_the_rule_is_that_of_torch(torch):
    for pair in PAIRS:
        operands = (made(torch, operand, (2,), 1) for operand in pair)
        assert str(torch.result_type(*operands)) == f"torch.{promoted(*pair)}", pair


def promotes(op):
    return op.name in ["where", *JOINS] or op.source.__module__ == "samples.elementwise_pairs"


def whole(value):
    """The argument of a reference with integers in place of floats."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(whole, value))
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return np.resize([1, 3, 2], value.shape) if is_float else value


def result_dtype(sample, dtype, exact):
    """The dtype of the op's result where that of its operands is promoted to `dtype`.

    A comparison gives bool. A function such as a quotient, whose reference in NumPy makes floats of integers,
    gives float32 for integers. All others keep `dtype`.
    """
    if exact.dtype == rv.bool:
        return "bool"
    if KINDS[rank(dtype)] == "float" or not sample.op.reference:
        return dtype
    return dtype if sample.op.reference(*whole(sample.args)).dtype.kind in "bi" else "float32"


def compare(found, exact, message, *dtypes):
    """Integers: equal, wrapped to the dtype. Floats: within 4 eps of the largest value, of the coarsest dtype
    in which the op rounds: its result's and these."""
    if not found.is_floating_point():
        equal(found.numpy(), exact.to(rv.int64).to(found.dtype).numpy(), message)
        return
    eps = max(rv.finfo(dtype).eps for dtype in (found.dtype, *dtypes) if dtype.is_floating_point)
    found, exact = (x.double().numpy(force=True) for x in (found, exact))
    close(found, exact, 0, 4 * eps * max(1.0, np.abs(exact).max(initial=0)), message)


def operands_of(call, pair):
    """What the call gets in place of its inputs (the second operand of the pair for all but the first), and
    the same numbers in the widest dtype. A condition, of bools, stays."""
    widest = rv.float64 if any(x.is_floating_point() for x in call.inputs) else rv.int64
    operands = itertools.chain(pair, itertools.repeat(pair[1]))
    given, wide = [], []
    for place, x in enumerate(call.inputs):
        given.append(x if x.dtype == rv.bool else made(rv, next(operands), x.shape, 1 + place))
        wide.append(x if x.dtype == rv.bool else rv.as_tensor(given[-1]).to(widest))
    for x, z in zip(given, wide, strict=True):
        if isinstance(x, rv.Tensor) and x.is_floating_point() and z.is_floating_point():
            x.requires_grad_()
            z.requires_grad_()
    return given, wide


def check_gradients(found, given, exact, wide, message, dtypes):
    """Each operand's gradient has the operand's dtype and the values of the one in float64."""
    leaves = [place for place, x in enumerate(given) if isinstance(x, rv.Tensor) and x.requires_grad]
    settings = {"allow_unused": True, "materialize_grads": True}
    slopes, exact_slopes = (
        rv.autograd.grad(result, [operands[i] for i in leaves], rv.ones_like(result), **settings)
        for result, operands in ((found, given), (exact, wide))
    )
    for place, slope, exact_slope in zip(leaves, slopes, exact_slopes, strict=True):
        assert slope.dtype == given[place].dtype, message
        compare(slope, exact_slope, message, found.dtype, *dtypes)


def check_in_place(method, x, others, y, exact, message, dtypes):
    """x keeps its dtype and gets the values of the result y, if that is of no higher kind; else an error."""
    x = x.detach().clone()
    dtype = x.dtype
    if rank(str(y.dtype)[6:]) > rank(str(dtype)[6:]):
        with pytest.raises(RuntimeError, match="got a result of dtype"):
            getattr(x, method)(*others)
        return
    assert getattr(x, method)(*others) is x, message
    assert x.dtype == dtype, message
    compare(x, exact, message, y.dtype, *dtypes)


@every_op({"heaviside": "keeps the dtype of x"}, only=promotes, of=lambda sample: sample.number == 0)
def test_promotion(sample):
    """On the first sample of each op, with every pair of operands in place of its arrays."""
    name = sample.op.name
    refused = [kind for names, kinds in REFUSED_KINDS.items() if name in names.split() for kind in kinds]
    call = sample.tensors(records=False)
    takes_numbers = name not in JOINS and (len(call.inputs) == 2 or name == "where")
    for pair in PAIRS if takes_numbers else PAIRS_OF_TENSORS:
        dtype, message = promoted(*pair), str(pair)
        given, wide = operands_of(call, pair)
        if KINDS[rank(dtype)] in refused:
            with pytest.raises(TypeError, match="; expected"):
                call.with_inputs(*given)
            continue
        (y,), (exact,) = call.with_inputs(*given), call.with_inputs(*wide)
        assert str(y.dtype) == f"torch.{result_dtype(sample, dtype, exact)}", message
        # ldexp(a, b) = a 2^b, and 2^b is rounded to the dtype of b
        rounds_in = [rv.as_tensor(x).dtype for x in given if name == "ldexp"]
        compare(y, exact, message, *rounds_in)
        if y.requires_grad:
            check_gradients(y, given, exact, wide, message, rounds_in)
        if pair[0].form == "tensor" and hasattr(rv.Tensor, name + "_") and name != "where":
            x, *others = [g.detach() if isinstance(g, rv.Tensor) else g for g in given]
            others += call.args[len(call.inputs) :]
            check_in_place(name + "_", x, others, y, exact, message, rounds_in)


def is_one_of_two(sample):
    return sample.error is None and sample.number < 2


@every_op({}, only=lambda op: "promotion" in op.lacks.split(), of=is_one_of_two)
def test_two_dtypes_are_refused(sample):
    """The first two samples of an op without promotion, with one dtype for the first input and another for
    the others (and for a layer's parameters): the error names both."""
    for first, second in itertools.permutations([rv.float16, rv.bfloat16, rv.float32, rv.float64], 2):
        call = sample.tensors(first, records=False)
        if sample.is_layer:
            call.args[0].to(second)
        given = [x.to(second) if i and x.is_floating_point() else x for i, x in enumerate(call.inputs)]
        with pytest.raises(TypeError, match=r"; expected (one|the same) dtype") as error:
            call.with_inputs(*given)
        assert {str(first)[6:], str(second)[6:]} <= set(re.findall(r"\w+", str(error.value)))
