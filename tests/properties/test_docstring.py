"""The docstring of an op, or of a layer, says what it computes and has an example."""

import ranvier as rv

from properties.every import every_op
from properties.test_wrong_input import is_called_by_name

LEAVES_OUT = {
    "reshape_as view_as expand_as broadcast_to": "named in the docstring of another",
    "ravel t exponential_ random_": "is still without an example",
}


@every_op(LEAVES_OUT, only=is_called_by_name)
def test_docstring(sample):
    function = type(sample.args[0]) if sample.is_layer else sample.op.named
    if function.__name__ == "<lambda>":
        function = getattr(rv.Tensor, sample.op.name, None) or getattr(rv, sample.op.name)
    text, _, example = (function.__doc__ or "").partition(">>>")
    assert text.strip()
    assert example
