"""Shared by the jobs: the numbers that they begin with, and a step of training.

The numbers come from NumPy, so that each library of tensors has the same. `MOVED` moves each of them by up to
an ulp, as another order of summation might: how far the results then move is their tolerance. Numbers that
are not moved are drawn once, so that a timed job is no timing of NumPy.
"""

import functools
from zlib import crc32

import numpy as np
import torch

MOVED = 0  # run.py --moves sets it
ULP = 2.0**-23


def once(draw):
    """The function, which draws the same numbers once and gives copies of them."""
    drawn = {}

    @functools.wraps(draw)
    def given(*shape, **settings):
        key = shape, repr(settings)
        if MOVED or key not in drawn:
            drawn[key] = draw(*shape, **settings)
        return drawn[key].copy()

    return given


@once
def normal(*shape, seed=0, scale=1.0, dtype=np.float32):
    """Normal numbers of this shape, as a NumPy array."""
    return moved(scale * np.random.default_rng(seed).normal(size=shape), dtype)


@once
def uniform(*shape, seed=0, low=0.0, high=1.0, dtype=np.float32):
    """Uniform numbers of this shape, as a NumPy array."""
    return moved(np.random.default_rng(seed).uniform(low, high, shape), dtype)


@once
def labels(*shape, classes, seed=0):
    """Classes, as an array of int64."""
    return np.random.default_rng(seed).integers(0, classes, shape)


def moved(values, dtype=np.float32):
    """The values as this dtype; with `MOVED`, each times 1 - ulp, 1 or 1 + ulp of float32."""
    values = np.asarray(values, dtype)
    if MOVED:
        draws = np.random.default_rng([MOVED, values.size]).integers(-1, 2, values.shape)
        values = (values * (1 + ULP * draws)).astype(dtype)
    return values


def step(optimizer, loss):
    """A step of the optimizer along the loss's gradients; returns the loss as a number."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def fill(module, seed=0, scale=1.0):
    """Gives the parameters of a module new values, which follow from their names and shapes; returns it."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            shape = tuple(parameter.shape)
            rows = shape[-1] if len(shape) > 1 else 4
            values = normal(*shape, seed=[seed, crc32(name.encode())], scale=scale / rows**0.5)
            parameter.copy_(torch.from_numpy(np.asarray(values)).to(parameter.dtype))
    return module
