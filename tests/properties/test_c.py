"""An op as C gives the results and gradients of Python, at infinity and NaN too, or it is refused."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.export import exporter
from samples import OPS
from samples.sample import plain
from support.c_files import Compiled, argument, needs_compiler

from properties.every import every_op, lacks, weights_for

pytestmark = [needs_compiler, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

BLOCK = 10  # ops whose samples are in one C file
SPECIAL = (np.nan, np.inf, -np.inf, 0, -0.0, 0.5, -0.5, 1, -1, 3, -3, 6, -6, 20, -20, 104, -104)
# A sum of them has no one value.
OF_EACH_ELEMENT = (1e-40, -1e-40, 1e-38, 1e4, -1e4, 1e38, -1e38, 3e38, -3e38)
# For ops with a counterpart, settings, integers and empty arrays may be refused.
REFUSAL = re.compile(r"\[[\w.]+\] .*(expected|see docs/export\.md)", re.DOTALL)


class Computed(NamedTuple):
    """The results of the C code for the inputs of a part: arrays that it has filled."""

    part: Part
    inputs: list[Any]
    results: list[Any]
    after: list[Any]  # the parameters after a step; none where there is no gradient


class Part:
    """A sample as a function of its inputs. What a step of SGD changes: a layer's weights, and zeros that are
    added to the first so many inputs of floats.

    shifted: how many; None: all. 0 leaves the weights of a layer as they are, too: there is no gradient.
    """

    def __init__(self, sample, shifted=None):
        call = sample.tensors(rv.float32)
        modules = [x.eval() for x in call.args if isinstance(x, nn.Module)]
        self.sample, self.function = sample, call.of_inputs()
        self.inputs = [x.float() if x.dtype == rv.bool else x.detach() for x in call.inputs]  # C has no bools
        self.are_bools = [x.dtype == rv.bool for x in call.inputs]
        leaves = [x for x in call.inputs if x.requires_grad][:shifted]
        self.shifts = [
            nn.Parameter(rv.zeros(x.shape)) if any(x is y for y in leaves) else None for x in call.inputs
        ]
        weights = [p for module in modules for p in module.parameters() if shifted != 0]
        self.parameters = [p for p in (*self.shifts, *weights) if p is not None]
        self.results = self.wanted(self.inputs)
        self.factors = [weights_for(y, 1) for y in self.results]
        self.has_gradient = bool(self.parameters) and isinstance(self.loss(*self.inputs), rv.Tensor)

    def values(self, *inputs):
        given = [x > 0.5 if is_bool else x for x, is_bool in zip(inputs, self.are_bools, strict=True)]
        return [y.float() if y.dtype == rv.bool else y for y in self.function(*given)]

    def wanted(self, inputs):
        """The results in Python; an op in place changes copies."""
        return self.values(*(x.clone() for x in inputs))

    def loss(self, *inputs):
        pairs = zip(inputs, self.shifts, strict=True)
        ys = self.values(*(x if shift is None else x + shift for x, shift in pairs))
        return sum((y * w).sum() for y, w in zip(ys, self.factors, strict=True) if y.requires_grad)

    def others(self, seed):
        """Inputs whose floats are special values, if the op takes them."""
        sample, draw = self.sample, np.random.default_rng(seed)
        if lacks(sample, "C-infinity"):
            return self.inputs
        shapes = {y.shape for y in (*self.inputs, *self.results)}
        adds = sample.is_layer or sample.op.terms(*plain(sample.args), **plain(sample.settings)) > 1
        values = SPECIAL if adds or len(shapes) > 1 else SPECIAL + OF_EACH_ELEMENT
        inputs = [
            rv.tensor(draw.choice(np.float32(values), x.shape)) if x.is_floating_point() else x
            for x in self.inputs
        ]
        try:
            self.wanted(inputs)
        except ValueError:  # a variance below 0
            return self.inputs
        return inputs


def program(parts):
    """The functions that `rv.export.c` exports: a step along the gradients of all parts, and a prediction.

    It gives their results and the parameters. Where no part has a gradient, there is no step.
    """
    moving = [part for part in parts if part.has_gradient]  # the parts that a step changes
    parameters = [p for part in moving for p in part.parameters]
    example = tuple(x for part in parts for x in part.inputs)

    def of_parts(method, inputs):
        given = iter(inputs)
        taken = [(part, [*islice(given, len(part.inputs))]) for part in parts]
        return [getattr(part, method)(*xs) for part, xs in taken if method == "values" or part in moving]

    def predict(*inputs):
        return of_parts("values", inputs), [p * 1 for p in parameters]

    if not moving:
        return {"target": predict, "example": example}
    optimizer = rv.optim.SGD(parameters, lr=1.0)

    def step(*inputs):
        optimizer.zero_grad()
        loss = sum(of_parts("loss", inputs))
        if isinstance(loss, rv.Tensor):  # not for the layer Heaviside, whose operations have no gradient
            loss.backward()
        optimizer.step()

    return {"target": step, "example": example, "predict": (predict, example)}


def refusal(part):
    try:
        with mock.patch.object(exporter, "files", return_value={}):  # which writes the text
            rv.export.c(path="part.c", **program([part]))
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


def computed(library, parts, inputs):
    """By sample: what a program in C of all parts gives."""
    given = [argument(x) for xs in inputs for x in xs]
    moving = [p for part in parts if part.has_gradient for p in part.parameters]
    shapes = [y.shape for part in parts for y in part.results] + [p.shape for p in moving]
    results, after = ([np.full(shape, 7.5, np.float32) for shape in shapes] for _ in range(2))
    library.call("net_predict", *given, *results)
    if moving:
        state = (ctypes.c_uint8 * library.report.state).in_dll(library.library, "net_state")
        before = bytes(state)
        library.call("net_step", *given)
        library.call("net_predict", *given, *after)
        state[:] = before
    values, left = iter(results), iter(after[len(shapes) - len(moving) :])
    found = {}
    for part, xs in zip(parts, inputs, strict=True):
        ys = [*islice(values, len(part.results))]
        stepped = [*islice(left, len(part.parameters))] if part.has_gradient else []
        found[str(part.sample)] = Computed(part, xs, ys, stepped)
    return found


def exported(sample):
    """The sample as a part of a program, or why it is refused."""
    for shifted in (0,) if lacks(sample, "C") else (None, 1, 0):  # a loss has no gradient of its target
        part = Part(sample, shifted)
        why = refusal(part)
        if not why or not part.has_gradient:
            break
    return why or part


class Block(NamedTuple):
    refused: dict[str, str]  # by sample: why
    runs: list[dict[str, Computed]]  # by sample: on its own inputs, then twice on special values


@functools.lru_cache(1)
def outcomes(block):
    """The outcomes of a block of ops, whose samples are parts of one program in C."""
    samples = [sample for op in [*OPS.values()][block * BLOCK :][:BLOCK] for sample in op.samples]
    with tempfile.TemporaryDirectory() as name, mock.patch.object(os, "fsync"):
        tried = {str(sample): exported(sample) for sample in samples}
        refused = {sample: why for sample, why in tried.items() if isinstance(why, str)}
        parts = [part for part in tried.values() if isinstance(part, Part)]
        if not parts:
            return Block(refused, [])
        # each part alone has been tried with other values of its inputs
        with mock.patch.object(exporter, "accepted", lambda attempt, near: near):
            library = Compiled(Path(name), **program(parts))
    inputs = [[part.inputs for part in parts], *([part.others(i) for part in parts] for i in range(2))]
    return Block(refused, [computed(library, parts, xs) for xs in inputs])


@every_op({})
def test_c(sample):
    block = outcomes([*OPS].index(sample.op.name) // BLOCK)
    is_refused = [str(one) in block.refused for one in sample.op.samples]
    assert all(is_refused) == lacks(sample, "C")
    if str(sample) in block.refused:
        assert REFUSAL.match(block.refused[str(sample)])
        return
    for run in block.runs:
        found = run[str(sample)]
        part = found.part
        for y, wanted in zip(found.results, part.wanted(found.inputs), strict=True):
            np.testing.assert_allclose(y, wanted.numpy(force=True), 1e-5, 1e-5)
        if found.after:
            gradients = rv.autograd.grad(part.loss(*found.inputs), part.parameters, materialize_grads=True)
            for p, old, g in zip(found.after, part.parameters, gradients, strict=True):
                np.testing.assert_allclose(old.numpy(force=True) - p, g.numpy(), 1e-5, 1e-5)
