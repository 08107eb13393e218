"""The docstring of an op says in a sentence or formula what it computes, and has an example that calls it."""

import re

from properties.every import every_op

LEAVES_OUT: dict[str, str] = {}


@every_op(LEAVES_OUT)
def test_docstring(sample):
    function = type(sample.args[0]) if sample.is_layer else sample.op.function
    text = function.__doc__ or ""
    first = text.strip().split("\n\n")[0]
    assert re.search(r"[.:]$", first), first
    assert f"{function.__name__}(" in text.split(">>>", 1)[-1]
