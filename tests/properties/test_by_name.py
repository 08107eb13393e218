"""Arguments by name give what they give by place.

The names are PyTorch's: tests/interface/test_names.py.
"""

import numpy as np
import ranvier as rv
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
