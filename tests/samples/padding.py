"""Samples of frames around images: the function `pad`, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np
from ranvier import nn
from reference import images as image_reference

from samples.draw import images, sequences
from samples.sample import call, op, refused


def any_frame(x):
    """A mode, an array and sizes around its last axes that the mode takes; below 0 they cut."""
    mode, axes = ("constant", "reflect", "replicate", "circular")[x.size(0, 3)], x.size(1, 2)
    array, sizes = x(*(x.size(2, 20) for _ in range(axes + 2))), []
    for n in reversed(array.shape[-axes:]):
        most = {"reflect": n - 1, "circular": (n + 1) // 2}.get(mode, 30)
        sizes += [x.size(-((n - 1) // 2), most), x.size(-((n - 1) // 2), most)]
    return array, tuple(sizes), mode


def padded(x, pad, mode="constant", value=0.0):
    return image_reference.pad(x, pad, mode, value)


@op(
    reference=padded,
    exact=True,
    terms=lambda x, pad, **settings: int(np.prod([abs(n) + 2 for n in pad])),
    lacks="0-d",
)
def pad(x):
    yield call(x(2, 3, 5, 6), (1, 2, 0, 3), value=-1.5)
    yield call(x(2, 3, 5, 6), (-1, 2, 1, -2))
    yield call(x(3), (2, 2), value=7.0)
    yield call(x(2, 3, 4, 5, 2), (0, 0, 1, 1, -1, 1, 0, 2, 1, 0))
    yield call(x(2, 3, 5, 18), (3, 2, 1, 4), mode="reflect")
    yield call(x(3, 4, 5), (1, -2, -1, 3), mode="reflect")
    yield call(x(2, 3, 4, 5), (7, 2, 9, 0), mode="replicate")
    yield call(x(3, 6), (2, 8), mode="replicate")
    yield call(x(2, 3, 4, 5), (-5, 6, 3, -4), mode="replicate")  # all of x is cropped
    yield call(x(2, 17, 5), (4, -7), mode="reflect")
    yield call(x(2, 3, 4, 5), (5, 2, 0, 4), mode="circular")
    yield call(x(2, 3, 20), (-3, 17), mode="circular")
    yield call(x(0, 3, 4), (1, 2))
    array, sizes, mode = any_frame(x)
    yield call(array, sizes, mode=mode)
    for mode in ("reflect", "replicate", "circular"):
        for whole in (x.integers(0, 9, 2, 3, 4, 5), x.bools(2, 3, 4, 5)):
            yield call(whole, (2, -1, 1, 3), mode=mode)
    yield call(np.arange(3), (1, 1), value=9)
    yield call(np.array([[True, False]]), (-1, 1, 0, 1), value=True)
    yield call(np.arange(2), (-3, 2), value=4).without("PyTorch does not crop more than there is", "pytorch")
    yield refused(ValueError, "[pad] got", x(2, 3, 4, 5), (9, 9, 0, 0), mode="reflect")
    for dtype, value in ((np.int64, 2**70), (np.uint8, -1), (np.int64, float("nan"))):
        text = f"[pad] got {value}; expected a number that"
        yield refused(ValueError, text, np.array([[1, 2]], dtype), (1, 1), value=value)


@op
def ConstantPad1d(x):
    yield call(nn.ConstantPad1d((1, 2), 3.5), sequences(x))


@op
def ConstantPad2d(x):
    yield call(nn.ConstantPad2d((1, 0, 2, 1), -1.0), images(x))


@op
def ZeroPad1d(x):
    yield call(nn.ZeroPad1d(2), sequences(x))
    yield call(nn.ZeroPad1d((0, 3)), sequences(x))


@op
def ZeroPad2d(x):
    yield call(nn.ZeroPad2d(2), images(x))


@op(autocast="float32")
def ReflectionPad1d(x):
    yield call(nn.ReflectionPad1d(2), sequences(x))


@op(autocast="float32")
def ReflectionPad2d(x):
    yield call(nn.ReflectionPad2d((1, 2, 3, 1)), images(x))


@op(autocast="float32")
def ReplicationPad1d(x):
    yield call(nn.ReplicationPad1d((1, 2)), sequences(x))


@op(autocast="float32")
def ReplicationPad2d(x):
    yield call(nn.ReplicationPad2d(2), images(x))


@op()
def CircularPad1d(x):
    yield call(nn.CircularPad1d((1, 2)), sequences(x))
