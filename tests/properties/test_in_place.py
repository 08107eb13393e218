"""`x.op_()` gives the numbers of `x.op()`: without a gradient, into a view, and recorded."""

import numpy as np
import pytest
import ranvier as rv

from properties.every import every_op, weights_for

LEAVES_OUT: dict[str, str] = {}


def has_one(op):
    return hasattr(rv.Tensor, f"{op.name}_") and hasattr(rv.Tensor, op.name)


@every_op(LEAVES_OUT, only=has_one)
def test_in_place(sample):
    for dtype in (rv.float32, rv.float64, rv.bfloat16):
        call = sample.tensors(dtype)
        x, *others = call.args
        if not isinstance(x, rv.Tensor):
            return
        run = lambda x, name: getattr(x, name)(*others, **call.settings)  # noqa: E731
        name = sample.op.name
        rv.manual_seed(0)
        expected = run(x, name)
        with rv.no_grad():
            memory = rv.full((*x.shape, 3), 7.0, dtype=dtype).to(x.dtype)
            view, copy = memory[..., 1], x.detach().clone()
            view.copy_(x)
            for y in (copy, view):
                rv.manual_seed(0)
                if expected.dtype != x.dtype or expected.shape != x.shape:
                    with pytest.raises((TypeError, ValueError, RuntimeError), match=r"got .*expected"):
                        run(y, f"{name}_")
                    continue
                assert run(y, f"{name}_") is y
                np.testing.assert_array_equal(y.double(), expected.detach().double())
            assert (memory[..., ::2] == 7).all()
        if expected.requires_grad and x.requires_grad and copy.shape == expected.shape:
            rv.manual_seed(0)
            recorded = run(x * 1, f"{name}_")
            for y, z in zip(*([*slopes(y, call.leaves), y] for y in (recorded, expected)), strict=True):
                np.testing.assert_array_equal(*(part.detach().double() for part in (y, z)))


def slopes(y, leaves):
    return rv.autograd.grad(y, leaves, weights_for(y, 1), allow_unused=True, materialize_grads=True)
