"""What depends on the inputs of a run that is written in another form is known, whatever computes it."""

import contextlib

import numpy as np
import pytest
import ranvier as rv
from properties.every import every_op
from ranvier.tape.calls import Calls, Refused


class Followed(Calls):
    op = "test"

    def apply(self, run, function, *inputs):
        return run(*inputs)


def differs(y, z):
    return not np.array_equal(y.numpy(), z.numpy(), equal_nan=y.dtype.kind == "f")


@every_op({}, only=lambda op: op.name[-1] != "_")
def test_results_vary_with_the_inputs(sample):
    """The results that differ for other numbers are known as such."""
    call = sample.tensors(rv.float32, records=False)
    others = [rv.tensor(np.flip(x.numpy()).copy()) for x in call.inputs]
    try:
        with rv.no_grad():
            changed = [differs(y, z) for y, z in zip(call(), call.with_inputs(*others), strict=True)]
    except (ValueError, IndexError, TypeError):
        return  # it does not take other numbers
    run = Followed()
    for x in call.inputs:
        run.see(x, "input")
    found = []
    with contextlib.suppress(Refused), rv.no_grad(), run:
        found = call()
    known = [run.find(y._array) is not None or run._recording.core.varies(y._array) for y in found]
    assert all(k or not c for k, c in zip(known, changed, strict=bool(found)))


def test_a_file_written_in_a_recorded_step(tmp_path):
    @rv.compile
    def step(x):
        y = x * 2
        rv.export.c(lambda x: x + 1, tmp_path / "net.c", np.ones(2, np.float32))
        return y + x

    with pytest.warns(UserWarning, match="runs eagerly"):
        assert step(rv.ones(2)).tolist() == [3.0, 3.0]
    for k in range(5):
        assert step(rv.full((2,), float(k))).tolist() == [3.0 * k] * 2
