"""On the device "meta" results and gradients have the shapes, strides and dtypes of a call with numbers."""

import copy
import json
import sys
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import ranvier as rv
from ranvier import nn
from support.python import printed

from properties.every import every_op, floats, weights_for

LEAVES_OUT: dict[str, str] = {}


def about(y):
    return None if y is None else (tuple(y.shape), y.stride(), str(y.dtype), y.requires_grad)


def outcome(call):
    """What is known of results, of what the call changes, and of gradients."""
    ys = call()
    moving, slopes = [y for y in floats(ys) if y.requires_grad], []
    if moving and call.leaves:
        ws = [rv.ones_like(y) for y in moving]
        slopes = rv.autograd.grad(moving, call.leaves, ws, allow_unused=True)
    return [*ys, *call.states, *slopes]


def difference(sample):
    real, meta = sample.tensors(rv.float32), sample.tensors(rv.float32)
    places = {
        id(x): x.detach().to("meta").requires_grad_(x.requires_grad) for x in [*meta.inputs, *meta.states]
    }
    meta.args, meta.settings = meta.moved(places), meta.moved(places, settings=True)
    found, expected = outcome(meta), outcome(real)
    if [*map(about, found)] != [*map(about, expected)]:
        return f"{[*map(about, found)]}, not {[*map(about, expected)]}"
    return "" if all(y is None or y.is_meta for y in found) else "a result with numbers"


@cache
def differences():
    """By op, from one process in which this library runs in place of PyTorch."""
    return json.loads(printed("-m", "ranvier.torch", __file__))


@every_op(LEAVES_OUT)
def test_meta(sample):
    assert differences()[str(sample)] == ""


if __name__ == "__main__":
    from samples import OPS

    def answer(sample):
        try:
            return difference(sample)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    print(json.dumps({str(sample): answer(sample) for op in OPS.values() for sample in op.samples}))
