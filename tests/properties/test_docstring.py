"""The docstring of an op, or of a layer, says what it computes and has an example."""

import ranvier as rv

from properties.every import every_op

LEAVES_OUT = {
    """
    reshape_as view_as expand_as ravel broadcast_to t linalg_cholesky linalg_eigvalsh exponential_
    random_ unfold_along
    """: "named in the docstring of another",
    "getitem setitem": "Python's own",
}


@every_op(LEAVES_OUT)
def test_docstring(sample):
    function = type(sample.args[0]) if sample.is_layer else sample.op.function
    if function.__name__ == "<lambda>":
        function = getattr(rv.Tensor, sample.op.name, None) or getattr(rv, sample.op.name)
    text, _, example = (function.__doc__ or "").partition(">>>")
    assert text.strip()
    assert example
