"""Compiled predictions of a model beside its eager ones."""

import numpy as np
import ranvier as rv
from ranvier import nn

REPLAYS = 3  # recorded, checked, replayed


def draw(*shape, dtype=np.float32):
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)


def predictions(fast, x):
    for _ in range(REPLAYS):
        y = fast(x)
    return y.numpy()


def names(fast, prepared):
    return [i.op for i in fast.programs[0].instructions if i.prepared == prepared]


def fused(fast):
    return sorted(name for i in fast.programs[0].instructions for name in i.fused)


def eager(model, x):
    return model(x).detach().numpy().copy()


def normed(layer, norm, *rest):
    """In evaluation mode, with statistics and parameters that are not where they began, of both signs."""
    rv.manual_seed(2)
    model = nn.Sequential(layer, norm, *rest)
    for name, tensor in norm.state_dict().items():
        if tensor.dtype.kind == "f":
            tensor.copy_(rv.rand(*tensor.shape) + 0.5 if "var" in name else rv.randn(*tensor.shape))
    return model.eval()
