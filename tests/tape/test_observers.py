"""Observers begin and end as a whole: a signal between two lines of Python would leave one on."""

from types import FunctionType

import pytest
import ranvier as rv
from ranvier.observe import Observer, observers


class Kinds(Observer):
    def __init__(self):
        self.kinds = []

    def apply(self, run, function, *inputs):
        self.kinds.append(type(function).__name__)
        return run(*inputs)


def test_no_line_of_python_begins_or_ends_one():
    assert not isinstance(Observer.__enter__, FunctionType)
    assert not isinstance(Observer.__exit__, FunctionType)


def test_observers_nest_and_end_with_an_exception():
    x, outer, inner = rv.ones(2), Kinds(), Kinds()

    def failing():
        with outer:
            x.exp()
            with inner:
                raise KeyError(x.sin())

    with pytest.raises(KeyError):
        failing()
    outer.__exit__()  # once more
    x.cos()
    assert (outer.kinds, inner.kinds, observers) == (["Exp", "Sin"], ["Sin"], [])
