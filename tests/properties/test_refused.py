"""Calls that are refused raise the error that the samples say.

Where PyTorch refuses a call, it is refused here, too, and the `except` of a program that catches PyTorch's
error catches ours.
"""

import re
import warnings

import pytest
import ranvier as rv

from properties.every import every_op
from properties.test_pytorch import converted, counterpart
from properties.test_wrong_input import arguments, public


@every_op(
    {}, only=lambda op: len(op.all_samples) > len(op.samples), of=lambda sample: sample.error is not None
)
def test_refused(sample):
    with pytest.raises(sample.error, match=re.escape(sample.text)):
        sample.tensors(rv.float32)()


CAUGHT = (RuntimeError, IndexError, ValueError)  # TypeError: of calls that fit none of its overloads
WRONG = (9, -9, (0, 0), (0, 9))
OTHER_ERRORS = {
    "index_select put": "shapes that do not fit are an IndexError there",
    "lp_pool2d": "PyTorch's formula fails in Python",
}
OTHER_NUMBERS = {
    "max_unpool1d": "PyTorch's formula fails in Python",
    "amax amin": "of no elements there, before one is named twice",
    "norm": "of no elements, without a value there for every order",
    "permute": "the number of dimensions is counted first there",
    "pad": "crops more than there is",
    "cross_entropy": "takes labels of int32",
}


def is_function(op):
    return not op.name[0].isupper()


def error_of(function, args, settings):
    """The error of the call, if it is one of those, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*args, **settings)
    except CAUGHT as error:
        return error
    except (TypeError, AssertionError, AttributeError):
        return None
    return None


def require_caught(torch, call, args, settings, function):
    """If PyTorch refuses the call, so does the function here, with an error that is of the same classes."""
    given = [converted(torch, value, []) for value in args]
    named = {name: converted(torch, value, []) for name, value in settings.items()}
    theirs = error_of(counterpart(torch, call.sample.op), given, named)
    if theirs is not None:
        ours = error_of(function, args, settings)
        missing = [kind for kind in CAUGHT if isinstance(theirs, kind) and not isinstance(ours, kind)]
        assert missing == [], (args[1:], settings, theirs, ours)


@every_op(OTHER_ERRORS, only=is_function, of=lambda sample: sample.error is not None)
def test_error_class(sample, torch):
    call = sample.tensors(rv.float64)
    require_caught(torch, call, call.args, call.settings, sample.op.function)


@every_op(OTHER_NUMBERS, only=is_function)
def test_error_class_of_numbers(sample, torch):
    """Other numbers in place of dimensions, sizes and settings."""
    call = sample.tensors(rv.float32)
    for place, right in arguments(call).items():
        for wrong in WRONG if type(right) in (int, tuple) else ():
            args = [wrong if at == place else x for at, x in enumerate(call.args)]
            settings = call.settings | ({} if isinstance(place, int) else {place: wrong})
            require_caught(torch, call, args, settings, public(sample.op))
