"""Memory that is given: `x.op_()` and `out=` get the numbers of `x.op()`.

`x.op_()`: without a gradient, into a view, and recorded. `out` is returned; one of another dtype or without
room is refused.
"""

import inspect

import numpy as np
import pytest
import ranvier as rv
from support.tolerance import tolerance

from properties.every import every_op, gradients

OTHER_IN_PLACE = {"bernoulli": "x.bernoulli_(p) draws by p, not by x"}
OF_SHAPE = ("transpose", "swapaxes", "t", "squeeze", "unsqueeze")  # which write no memory


def has_one(op):
    return hasattr(rv.Tensor, f"{op.name}_") and hasattr(rv.Tensor, op.name)


def close(y, z, times=16):
    """Sums in a view may have another order; those in the tensor's own memory have not."""
    size = max(1.0, z.double().abs().nan_to_num(0, 0).numpy(force=True).max(initial=0))
    limit = tolerance(z.dtype, times, size) if z.is_floating_point() and times else 0
    np.testing.assert_allclose(*(x.double().numpy(force=True) for x in (y, z)), rtol=0, atol=limit)


def check_on_the_tape(run, x, result, leaves):
    """In a row of a larger tensor: what was computed of its old values, and what it becomes."""
    pair = rv.stack([x, x])
    whole, joined = pair * 1, rv.stack([result, x])
    old, row = whole * 3, whole[0]
    assert run(row, "_") is row
    found, wanted = gradients((whole**2, old), leaves), gradients((joined**2, pair * 3), leaves)
    for y, z in zip(found, wanted, strict=True):
        close(y, z)


@every_op(OTHER_IN_PLACE, only=has_one)
def test_in_place(sample):
    for dtype in (rv.float32, rv.float64):
        call = sample.tensors(dtype)
        x, *others = call.args
        if not isinstance(x, rv.Tensor):
            return

        def run(x, suffix="", call=call, others=others):
            rv.manual_seed(0)
            return getattr(x, sample.op.name + suffix)(*others, **call.settings)

        expected = run(x)
        with rv.no_grad():
            memory = rv.tensor(np.random.default_rng(0).uniform(0, 2, (*x.shape, 3))).to(x.dtype)
            before, view, copy = memory.clone(), memory[..., 1], x.detach().clone()
            view.copy_(x)
            for y in (copy, view):
                try:
                    assert run(y, "_") is y
                except (TypeError, ValueError, RuntimeError):
                    assert expected.shape != x.shape or not rv.can_cast(expected.dtype, x.dtype)
                    return
                assert y.dtype == x.dtype
                close(y, expected.to(x.dtype), 0 if y is copy else 16)
            assert copy._version == (sample.op.name not in OF_SHAPE)
            assert (memory == before)[..., ::2].all()
        if x.requires_grad and sample.op.name not in OF_SHAPE:
            check_on_the_tape(run, x, expected.to(x.dtype), call.leaves)


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
