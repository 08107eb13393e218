"""What rows name: executed anew for each scenario (`rows.py`), so that classes may change.

Modules of the standard library that a row names are there too.
"""
# ruff: noqa: F401

import collections
import functools
import io
import logging
import sys
import threading
import types
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import ranvier as rv
from compile.staleness.small import *  # noqa: F403
from compile.staleness.trainers import *  # noqa: F403
from ranvier import distributions, nn, ops, optim
from ranvier.nn import functional as F
from ranvier.optim import lr_scheduler, swa_utils

NAN, INF, FOUR = float("nan"), float("inf"), (1.0, 2.0, 3.0, 1.0)
NUMBERS = [float(n * n) for n in range(1, 17)]
Pair = collections.namedtuple("Pair", "first value")
SCALING = "FACTOR = 2.0\ndef call(value): return value {} FACTOR"
READING = "table = [1.0]\ndef read(): return inner()\ndef inner(): return table[0]"
KEPT, INTS, KEEP = rv.ones(4, 3) * 1.5, np.arange(12).reshape(4, 3), SimpleNamespace(last=None)
G = CHOICE = None
ERRORS = KeyError, AttributeError
looked_up, COUNT = getattr, "count"


# --- modules and functions


def module(name="config", text="", **values):
    """A module of this source and these values."""
    made = types.ModuleType(name)
    vars(made).update(values)
    exec(text, vars(made))
    return made


def imported(patch, name="staleness_config", **values):
    """A module that can be imported."""
    patch.item(sys.modules, name, module(name, **values))
    return sys.modules[name]


def package(patch, **values):
    """A module `config` of a package, for relative imports."""
    made = imported(patch, "staleness_package.config", **values)
    imported(patch, "staleness_package", __path__=[], config=made)
    return made


def of_package(text):
    """A function of a module of that package."""
    return module("step", f"def read():\n    {text}", __package__="staleness_package").read


def closure(factor):
    return lambda value: value * factor


def scaled(value, factor=2.0):
    return value * factor


def once(value):
    return value * 1.0


FUNCTIONS = (once, lambda value: value * 2.0, lambda value: value * 3.0, once)


def wrapping(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


def bound_later():
    """A function that reads a variable of its closure which has no value, and one that gives it one."""

    def read():
        try:
            return factor
        except NameError:
            return 1.0

    def bind(value):
        nonlocal factor
        factor = value

    if False:
        factor = 0.0
    return read, bind


def in_a_thread(function, *args):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)))
    thread.start()
    thread.join()
    return found[0]


# --- tensors, gradients and arguments


def drawn(number, shape=(4, 3), dtype=np.float32):
    return np.random.default_rng(number).standard_normal(shape).astype(dtype)


def tensor(number, shape=(4, 3), dtype=np.float32):
    return rv.tensor(drawn(number, shape, dtype))


def gradient(w, loss):
    """The loss, whose gradient `w` gets."""
    w.grad = None
    if loss.requires_grad:
        loss.backward()
    return loss


def gradients(optimizer, loss):
    """The loss, as a closure of LBFGS gives it."""
    optimizer.zero_grad()
    loss.backward()
    return loss


def halved(factor):
    """A full backward hook that multiplies by a factor."""
    return lambda mod, gi, go: tuple(g if g is None else g * factor() for g in gi)


def keyworded(x, mask=None, scale=2.0, *, bias=None, flag=False):
    y = x * 2 if mask is None else x - mask * 0.5
    y = y if bias is None else y + bias
    return y - 1 if flag else y, scale


def summed(x, *more):
    for other in more:
        x = x - other.float() * other.float() * 0.5
    return x.float(), 1.5 + len(more)


def opened(parts):
    """What a step takes from a container of two tensors."""
    opened_so = vars(parts) if isinstance(parts, SimpleNamespace) else parts
    a, b = list(opened_so.values())[:2] if isinstance(opened_so, dict) else opened_so[:2]
    a, b = (t if isinstance(t, rv.Tensor) else t[0] for t in (a, b))
    first = next(iter(parts)) if isinstance(parts, dict) else ""
    more = len(parts) + isinstance(parts, tuple) if isinstance(parts, (list, tuple)) else first == "a"
    return a - b * b, 0.5 + more


def changed_in_place(result):
    """The caller changes results."""
    for x in result if isinstance(result, (list, tuple)) else [result]:
        if isinstance(x, rv.Tensor) and x.dtype == rv.float32 and x.ndim and x.is_contiguous():
            x.detach().mul_(2.0)


def given(x, **attributes):
    for name, value in attributes.items():
        setattr(x, name, value)
    return x


def undone(patch, undo, made=None):
    patch.after(undo)
    return made


def keeper(patch):
    """What the side effects of a step change; also the standard output."""
    text = io.StringIO()
    made = SimpleNamespace(calls=0, items=[], table={}, text=text, last=None, logger=logging.Logger("a"))
    made.logger.addHandler(logging.StreamHandler(text))
    patch(sys, "stdout", text)
    return made


# --- numbers from values


def counted(n):
    return sum([1.0 for _ in range(n)], 0.0)


def looped(n):
    """By most statements of Python that decide what runs."""
    total = 0.0 if n <= 1 else looped(n - 1)
    while total < n:
        total += 1.0
        try:
            if total > 2:
                raise ValueError
        except ValueError:
            break
        finally:
            total += 0.5
    else:
        total -= 0.25
    return total


def innermost(v):
    while isinstance(v, list):
        v = v[0]
    return v


def kinds(v):
    """A number for the type of a value, or of what is in it."""
    names = ["bool", "int", "float", "str", "float64", "float32", "int64", "Level"]
    v = [*v, *v.values()] if isinstance(v, dict) else v
    items = sorted(v, key=repr) if isinstance(v, (set, frozenset)) else v
    items = list(items) if isinstance(items, (list, tuple)) else [items]
    return 1.0 + sum((k + 1) * names.index(type(item).__name__) for k, item in enumerate(items))


def signs(v):
    """A number for the signs of the zeros in a value."""
    items = list(v.values()) if isinstance(v, dict) else list(v) if isinstance(v, (list, tuple)) else [v]
    return 1.0 + sum((k + 1) * (str(item).startswith("-")) for k, item in enumerate(items))
