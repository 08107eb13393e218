"""The public side of an op or a layer: a docstring with an example, and the names of arguments.

An argument that is given by its name does what it does by its place. The names are PyTorch's:
tests/interface/test_names.py.
"""

import numpy as np
import ranvier as rv
from ranvier.nn.loss.functional import OF_OP
from samples.sample import tensors_in

from properties.every import every_op
from properties.test_wrong_input import is_called_by_name, is_of_tensors, parameters, public


def has_names(op):
    if op.name[0].isupper() or not is_called_by_name(op):
        return False
    takes = parameters(public(op))
    return takes and not any(p.kind is p.VAR_POSITIONAL for p in takes)


@every_op({}, only=has_names)
def test_by_name(sample):
    expected, call, function = sample.tensors(rv.float32)(), sample.tensors(rv.float32), public(sample.op)
    first = 1 if is_of_tensors(sample.op) else 0
    named = {p.name: x for p, x in list(zip(parameters(function), call.args, strict=False))[first:]}
    rv.manual_seed(0)
    found = tensors_in(function(*call.args[:first], **named, **call.settings))
    for y, z in zip(found, expected, strict=True):
        assert y.dtype == z.dtype
        np.testing.assert_array_equal(y.numpy(force=True), z.numpy(force=True))


WITHOUT_EXAMPLE = {
    "reshape_as view_as expand_as broadcast_to": "named in the docstring of another",
    "ravel t exponential_ random_": "is still without an example",
}


@every_op(WITHOUT_EXAMPLE, only=is_called_by_name)
def test_docstring(sample):
    function = type(sample.args[0]) if sample.is_layer else sample.op.named
    if function.__name__ == "<lambda>":
        function = getattr(rv.Tensor, sample.op.name, None) or getattr(rv, sample.op.name)
    function = OF_OP.get(function.__name__, function)  # the docstring of a loss refers to nn.functional
    text, _, example = (function.__doc__ or "").partition(">>>")
    assert text.strip()
    assert example
