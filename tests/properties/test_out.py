"""`out=` gets the numbers of the call and is returned; one of another dtype or without room is refused."""

import inspect

import numpy as np
import pytest
import ranvier as rv

from properties.every import every_op


def has_out(op):
    try:
        return "out" in inspect.signature(op.function).parameters
    except ValueError:
        return False


@every_op({}, only=has_out)
def test_out(sample):
    for dtype in (rv.float32, rv.float64, rv.float16):
        call = sample.tensors(dtype, records=False)
        expected = call()
        memory = [rv.zeros(*y.shape, 2, dtype=y.dtype)[..., 0] for y in expected]
        for outs in ([rv.zeros_like(y) for y in expected], memory):
            call.settings["out"] = outs[0] if len(outs) == 1 else tuple(outs)
            for y, out, want in zip(call(), outs, expected, strict=True):
                assert y is out
                np.testing.assert_array_equal(*(x.double().numpy() for x in (out, want)), strict=True)
        if expected and expected[0].is_floating_point():
            wrong = [y.new_zeros(y.shape, dtype=rv.int64) for y in expected]
            call.settings["out"] = wrong[0] if len(wrong) == 1 else tuple(wrong)
            with pytest.raises((TypeError, RuntimeError, ValueError)):
                call()
