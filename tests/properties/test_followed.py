"""Values that depend on the inputs of a run written in another form are found, whatever computes them."""

import contextlib

import numpy as np
import ranvier as rv
from ranvier.tape.calls import Calls, Refused

from properties.every import every_op


class Followed(Calls):
    op = "test"

    def apply(self, run, function, *inputs):
        return run(*inputs)


def results(call, inputs):
    with rv.no_grad():
        return [y for y in call.with_inputs(*inputs) if y.numel()]


def has_inputs(sample):
    return sample.error is None and sample.arrays and not sample.is_layer


@every_op({}, of=has_inputs)
def test_followed(sample):
    call = sample.tensors(rv.float32, records=False)
    others = [x.reshape(-1).flip(0).reshape(x.shape) for x in call.inputs]
    try:
        pairs = zip(results(call, call.inputs), results(call, others), strict=True)
        changed = [
            not np.array_equal(y.numpy(), z.numpy(), equal_nan=y.is_floating_point()) for y, z in pairs
        ]
    except (ValueError, IndexError, TypeError):
        return  # does not take other numbers
    run, found = Followed(), []
    for x in call.inputs:
        run.see(x, "input")
    with contextlib.suppress(Refused), run:
        found = results(call, call.inputs)
    known = [run.find(y._array) is not None or run._recording.core.varies(y._array) for y in found]
    assert all(k or not c for k, c in zip(known, changed, strict=bool(found)))
