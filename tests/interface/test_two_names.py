"""A function with two public names, as `clamp` and `clip`: its errors begin with the name that PyTorch
documents it under, whichever was called."""

from __future__ import annotations

import collections
import inspect

import pytest
import ranvier as rv

FIRST = {  # another name -> the one in errors
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "fix": "trunc",
    "multiply": "mul",
    "negative": "neg",
    "row_stack": "vstack",
    "sgn": "sign",
    "subtract": "sub",
    "trapz": "trapezoid",
}


def test_these_are_all():
    names = collections.defaultdict(list)
    for name in rv.__all__:
        value = getattr(rv, name)
        if callable(value) and not inspect.isclass(value):
            names[id(value)].append(name)
    pairs = {name: set(group) for group in names.values() if len(group) > 1 for name in group}
    assert pairs.keys() == {*FIRST, *FIRST.values()}
    for name, first in FIRST.items():
        assert first in pairs[name]


@pytest.mark.parametrize("name", sorted({*FIRST, *FIRST.values()}))
def test_errors_have_the_first_name(name):
    wrong = [("text",), (rv.ones(2), "text"), (rv.ones(2), "text", 0)]
    said = []
    for args in wrong:
        with pytest.raises((TypeError, ValueError, IndexError)) as caught:
            getattr(rv, name)(*args)
        if str(caught.value).startswith("["):
            said.append(str(caught.value)[1:].partition("]")[0])
    assert said
    assert {*said} == {FIRST.get(name, name)}
