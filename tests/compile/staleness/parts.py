"""What the texts of rows name: executed anew for each scenario (`rows.py`), so that classes may change."""
# ruff: noqa: F401

import abc
import argparse
import array
import bisect
import builtins
import collections
import configparser
import contextlib
import contextvars
import copy
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import gc
import heapq
import importlib
import io
import itertools
import json
import logging
import math
import operator
import os
import queue
import random
import re
import statistics
import string
import struct
import sys
import tempfile
import threading
import time
import types
import typing
import uuid
import weakref
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import ranvier as rv
from compile.staleness.judge import default_inputs, labelled
from compile.staleness.small import Scaled, Two, classifies, descends, network, squares
from ranvier import distributions, nn, ops, optim
from ranvier.nn import functional as F
from ranvier.optim import swa_utils

G = CHOICE = None
NAN, INF = float("nan"), float("inf")
ONE = decimal.Decimal(1)
ERRORS = KeyError, AttributeError
Pair = collections.namedtuple("Pair", "first value")
Color = enum.Enum("Color", "RED GREEN")
SCALING = "FACTOR = 2.0\ndef call(value): return value {} FACTOR"
READING = "table = [1.0]\ndef read(): return inner()\ndef inner(): return table[0]"


def module(name="config", **values):
    made = types.ModuleType(name)
    vars(made).update(values)
    return made


def imported(patch, name="staleness_config", **values):
    """A module that can be imported."""
    patch.item(sys.modules, name, module(name, **values))
    return sys.modules[name]


def package(patch, **values):
    """A module `config` of a package, for relative imports."""
    owner, made = module("staleness_package", __path__=[]), module("staleness_package.config", **values)
    owner.config = made
    for one in (owner, made):
        patch.item(sys.modules, one.__name__, one)
    return made


def of_package(text):
    """A function of a module of that package."""
    names = {"__package__": "staleness_package", "__name__": "staleness_package.step"}
    exec(f"def read():\n    {text}", names)
    return names["read"]


def tools(text):
    """A module of this source."""
    made = module("tools")
    exec(text, vars(made))
    return made


def once(value):
    return value * 1.0


def twice(value):
    return value * 2.0


def thrice(value):
    return value * 3.0


FUNCTIONS = (once, twice, thrice, once)


def scaled(value, factor=2.0):
    return value * factor


def wrapping(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


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


def in_a_thread(function, *args):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)))
    thread.start()
    thread.join()
    return found[0]


def learner_of(decorate):
    class Learner(Scaled):
        def __init__(self, seed=1):
            rv.manual_seed(seed)
            super().__init__()

        @decorate
        def step(self, x):
            return self.train(x, self.factor)

    return Learner


class Steps(Scaled):
    def __call__(self, x):
        return self.train(x, self.factor)


class Constructed(Scaled):
    def __init__(self, compile_step):
        super().__init__()
        self.step = compile_step(self._step)

    def _step(self, x):
        return self.train(x, self.factor)


def follow(target, model):
    with rv.no_grad():
        for q, p in zip(target.parameters(), model.parameters(), strict=True):
            q.mul_(0.9).add_(p.detach() * 0.1)


def given(x, **attributes):
    for name, value in attributes.items():
        setattr(x, name, value)
    return x


def half(self, other):
    return other * 0.5


def undone(patch, undo, made=None):
    patch.after(undo)
    return made


def parser(value):
    made = configparser.ConfigParser()
    made.read_dict({"train": {"rate": str(value)}})
    return made


def raised(value):
    error = ValueError(value)
    error.more = value
    return error


def family():
    class Top:
        gain = 2.0
        method = lambda self: self.gain  # noqa: E731
        of_class = classmethod(lambda cls: cls.gain)
        value = property(lambda self: self.gain)

    class Middle(Top):
        pass

    class Other(Top):
        pass

    class Below(Middle, Other):
        def method(self):
            return super().method() + 1

        @classmethod
        def of_class(cls):
            return super().of_class() + 1

        @property
        def value(self):
            return super().value + 1

    class Last(Below):
        gain = 3.0

        def method(self):
            return super().method() * super().gain

        @property
        def value(self):
            return super().value * super().gain

    return Top, Middle, Other, Last


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


def keeper(patch):
    """What the side effects of a step change; also the standard output."""
    text = io.StringIO()
    made = SimpleNamespace(calls=0, items=[], table={}, text=text, last=None, logger=logging.Logger("a"))
    made.logger.addHandler(logging.StreamHandler(text))
    patch(sys, "stdout", text)
    return made
