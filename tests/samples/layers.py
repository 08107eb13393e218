"""Samples of layers that belong to no family; those of a family are beside its functions.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from ranvier import nn

from samples.draw import images
from samples.sample import call, op, refused


@op(lacks="promotion", autocast="lower")
def Linear(x):
    yield call(nn.Linear(6, 3), x(4, 6))
    yield call(nn.Linear(6, 3, bias=False), x(2, 5, 6))
    yield call(nn.Linear(6, 3), x(0, 5, 6))
    yield refused(ValueError, "[linear] got", nn.Linear(6, 3), x(4, 5))


@op(lacks="promotion")
def Bilinear(x):
    yield call(nn.Bilinear(6, 5, 3), x(4, 6), x(4, 5))
    yield call(nn.Bilinear(6, 6, 2, bias=False), x(2, 5, 6), x(2, 5, 6))


@op
def Identity(x):
    yield call(nn.Identity(), x(4, 6))


@op(lacks="jet rounding C-infinity", autocast="lower")
def Sequential(x):
    yield call(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)), x(5, 6))
    for pool in (nn.MaxPool2d(2), nn.MaxPool2d(4, 4, 1), nn.MaxPool2d(2, 2, 0, 2)):
        yield call(nn.Sequential(nn.Conv2d(2, 3, 3), pool), x(2, 2, 7, 7)).without(
            "the gradient is at the maxima: others after rounding, and NaN goes nowhere else", "halves", "nan"
        )


@op
def Flatten(x):
    yield call(nn.Flatten(), images(x))
    yield call(nn.Flatten(0, 2), images(x))


@op
def Unflatten(x):
    yield call(nn.Unflatten(1, (2, 3)), x(4, 6))
