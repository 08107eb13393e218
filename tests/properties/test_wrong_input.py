"""Each argument replaced by what is wrong there: refused in the form of errors, or the answer is right."""

import inspect

import pytest
import ranvier as rv
from samples.sample import tensors_in
from support.wrong_input import (
    WRONG_ATTRIBUTES,
    attempt,
    describe,
    leaf,
    never_right,
    sent_back,
    wrong_arrays,
)

from properties.every import every_op

LEAVES_OUT = {
    "MultiheadAttention TransformerEncoderLayer": "forward asks for the truth of flags, as in PyTorch",
    "Identity": "takes anything",
}
# Arguments that are never True: a program that gives it means a flag, such as keepdim.
DIMENSIONS = """
    dim dims dim0 dim1 dim2 axes source destination start_dim end_dim size sizes shape repeats shifts chunks
    length k r diagonal offset n_fft num_classes minlength split_size_or_sections indices_or_sections
"""


def public(op):
    """The function that programs call: its errors have its name."""
    for place in (rv, rv.nn.functional, rv.Tensor):
        if not op.of and hasattr(place, op.name):
            return getattr(place, op.name)
    return op.named


def is_called_by_name(op):
    """True if the samples call what programs do, and no function of their own or operator of Python."""
    return op.name[0].isupper() or not (op.around or callable(op.of))


def is_of_tensors(op):
    """True if it is a method, which nothing but a Tensor has."""
    return public(op) is getattr(rv.Tensor, op.name, None)


def parameters(function):
    try:
        return [*inspect.signature(function).parameters.values()]
    except ValueError:  # from the core
        return []


def arguments(call):
    """(place or name, right value) of each argument, of those that are not given the default."""
    takes = parameters(public(call.sample.op))
    several = any(p.kind is p.VAR_POSITIONAL for p in takes)
    defaults = {p.name: p.default for p in takes[len(call.args) :] if p.default is not p.empty}
    given = {**({} if several else defaults), **dict(enumerate(call.args)), **call.settings}
    first = 1 if call.sample.is_layer or is_of_tensors(call.sample.op) else 0
    return {place: right for place, right in given.items() if place not in range(first)}


def spoiled(right):
    """Wrong values in place of an argument, of a list also in place of one of its parts."""
    if isinstance(right, rv.Tensor):
        return wrong_arrays(right.numpy(force=True)) if right.numel() else []
    if tensors_in(right):
        return [*spoiled(right[0]), *(type(right)((right[0], wrong)) for wrong in spoiled(right[0]))]
    return WRONG_ATTRIBUTES


def whole_numbers(function):
    """Places and names of the arguments that are declared so."""
    takes = enumerate(parameters(function))
    return {key for at, p in takes for key in (at, p.name) if str(p.annotation) == "int"}


def dimensions(function):
    """Places and names of the arguments of DIMENSIONS."""
    takes = enumerate(parameters(function))
    return {key for at, p in takes for key in (at, p.name) if p.name in DIMENSIONS.split()}


def may_be_anything(op, place):
    """True if the samples say so of the argument at this place; all of *shapes have one name."""
    names = [p.name for p in parameters(public(op))]
    name = names[min(place, len(names) - 1)] if names and isinstance(place, int) else place
    return not {str(place), name}.isdisjoint(op.anything.split())


def is_never_right(wrong, right, is_whole):
    """Another number may stand where any number may, or a tuple for each dimension."""
    if tensors_in(right):
        return never_right(wrong)
    if type(right) is int and not is_whole:
        return never_right(wrong, right) and never_right(wrong, float(right))
    return never_right(wrong, right)


def kinds(sample):
    return {(place, type(right)) for place, right in arguments(sample.tensors(rv.float32)).items()}


@pytest.mark.filterwarnings("ignore::UserWarning")
@every_op(LEAVES_OUT, only=is_called_by_name)
def test_wrong_input(sample):
    """Each argument gets wrong values, once for each type of its right values."""
    call, function = sample.tensors(rv.float32), public(sample.op)
    whole = set() if sample.is_layer else whole_numbers(function)
    flagless = set() if sample.is_layer else dimensions(function)
    before = {kind for other in sample.op.samples if other.number < sample.number for kind in kinds(other)}
    for place, right in arguments(call).items():
        for wrong in spoiled(right) if (place, type(right)) not in before else ():
            args = [wrong if at == place else x for at, x in enumerate(call.args)]
            settings = call.settings | ({} if isinstance(place, int) else {place: wrong})
            never = is_never_right(wrong, right, place in whole) or (wrong is True and place in flagless)
            # A text is no flag, but where Python reads it, as anything that is true.
            is_text = isinstance(wrong, (str, bytes)) and place != "inplace" and not sample.is_layer
            never = (never or (isinstance(right, bool) and is_text)) and not may_be_anything(sample.op, place)

            def run(args=args, settings=settings):
                return sent_back(function(*map(leaf, args), **settings))

            attempt(run, f"{sample}, {place}: {describe(wrong)}", never=never)
