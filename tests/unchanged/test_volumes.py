"""Volumes of half floats beside the same in float64: results and gradients are rounded once."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.modules import volumes


def rounded_once(op, dtype, *arrays):
    """Results and gradients in dtype, and those in float64 of the same numbers, rounded to it."""
    given = [rv.from_numpy(a).to(dtype) for a in arrays]
    exact = [x.double().requires_grad_() for x in given]
    own = [x.clone().requires_grad_() for x in given]
    y = op(*own)
    wide = op(*exact)
    dy = rv.from_numpy(np.random.default_rng(1).normal(size=tuple(y.shape))).to(dtype)
    y.backward(dy)
    wide.backward(dy.double())
    pairs = [(y.detach(), wide.detach()), *((a.grad, b.grad) for a, b in zip(own, exact, strict=True))]
    return [(a.double().numpy(), b.to(dtype).double().numpy()) for a, b in pairs]


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
def test_conv3d(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 6, 6, 6))
    w = rng.normal(size=(3, 4, 3, 3, 3))
    for got, want in rounded_once(lambda x, w: volumes.conv3d(x, w, padding=1), dtype, x, w):
        # float32's sums may round another way where a number is half way between two of 16 bits
        assert (got == want).mean() > 0.99


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
def test_max_pool3d(dtype):
    x = np.random.default_rng(2).normal(size=(2, 3, 7, 7, 7))
    for got, want in rounded_once(lambda x: volumes.max_pool3d(x, 3, 1), dtype, x):
        assert (got == want).mean() > 0.99
