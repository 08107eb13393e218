"""A setting is followed or refused: changed alone, it changes the outcome or is an error.

A table has a row for each parameter of a callable: the value to change it to, `With(value, more)` where it
needs other settings, which both calls get, or `Exempt(why)`. `require_rows` fails for a parameter without a
row, so that a new setting gets one.
"""

import inspect
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest


class With(NamedTuple):
    """A value together with other settings that it needs to have an effect, and the value before."""

    value: Any
    more: dict
    before: Any = None


class Exempt(NamedTuple):
    """A parameter that has no effect here, for this reason."""

    why: str


def parameters_of(function):
    """The names of a callable's parameters, without self and collections of them."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = inspect.signature(function).parameters
    return [name for name, parameter in named.items() if name != "self" and parameter.kind not in kinds]


def require_rows(function, rows, given=()):
    """Fail unless each parameter of the callable has a row; given: those that every call has."""
    expected = set(parameters_of(function)) - set(given)
    missing = expected - set(rows)
    unknown = set(rows) - expected
    name = getattr(function, "__qualname__", function)
    assert not missing, f"{name}: settings without a row: {sorted(missing)}"
    assert not unknown, f"{name}: rows without a setting: {sorted(unknown)}"


def require_effect(outcome, name, row, base=None):
    """Fail unless the setting changes the outcome, or is refused.

    outcome: a function of settings whose result can be compared by `same`. It is called twice with the
    settings before the change, which have to give one result: else any difference would count as an effect.
    """
    if isinstance(row, Exempt):
        pytest.skip(row.why)
    row = row if isinstance(row, With) else With(row, {})
    settings = {**(base or {}), **row.more}
    settings.pop(name, None)
    first = {} if row.before is None else {name: row.before}
    before = outcome(**settings, **first)
    assert same(before, outcome(**settings, **first)), "two outcomes with the same settings are different"
    try:
        after = outcome(**settings, **{name: row.value})
    except Warning:  # pytest's settings make errors of warnings; a setting may be ignored with one
        return
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        if str(error).startswith("["):  # refused by the library
            return
        raise
    assert not same(before, after), f"{name}={row.value!r} has no effect"


def same(a, b):
    """True for equal values: arrays, numbers, texts, and lists, tuples and dicts of them."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "detach"):
        a = a.detach().numpy()
    if hasattr(b, "detach"):
        b = b.detach().numpy()
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.shape(a) == np.shape(b) and np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type(a) is type(b) and (a == b or (a != a and b != b))
