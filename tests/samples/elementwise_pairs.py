"""Samples of `ops/elementwise`: functions of two and three tensors that broadcast, comparisons, bits.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np

from samples.sample import call, fixed, op, refused

INF, NAN = np.inf, np.nan
EDGE = np.array([-INF, -2.5, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, INF, NAN])


def pair(low=-1.0, high=1.0, edges=EDGE, number=2.5, integers=True):
    """Samples of a function of two tensors: of one shape, broadcast, 0-d, empty, numbers on either side.

    low, high: limits of the elements of the second tensor.
    """

    def samples(x):
        yield call(x(3, x.n, low=0.1), x(3, x.n, low=low, high=high))
        yield call(x(3, 1, x.n), x(5, 1, low=low, high=high))
        yield call(x(x.n, 5), x(5, low=low, high=high))
        yield call(x(2, x.n), x(low=low, high=high))
        shape = x.shape(most=3, high=4)
        yield call(x(*shape), x(*shape[-1:], low=low, high=high))
        yield call(x(*shape[-2:]), x(*shape, low=low, high=high))
        yield call(x(0, 3), x(3, low=low, high=high))
        yield call(x(x.n), number)
        yield call(number, x(x.n, low=low, high=high))
        yield call(edges[:, None], edges)
        if integers:
            yield call(x.integers(-9, 9, 3, x.n), x.integers(1, 5, x.n))
        yield refused(ValueError, f"[{x.name}] got", x(3), x(4))
        yield refused(TypeError, f"[{x.name}] got str", x(5), "text")

    return samples


any_pair = pair()
divided = pair(low=0.5, high=2.0)
op(any_pair, names="mul", reference=np.multiply)
op(any_pair, names="maximum", reference=np.maximum, exact=True)
op(any_pair, names="minimum", reference=np.minimum, exact=True)
op(any_pair, names="fmax", reference=np.fmax, exact=True, lacks="jet")
op(any_pair, names="fmin", reference=np.fmin, exact=True, lacks="jet")
op(any_pair, names="atan2", reference=np.arctan2, lacks="jet")
op(any_pair, names="hypot", reference=np.hypot, lacks="jet written")
op(any_pair, names="logaddexp", reference=np.logaddexp, apart="infinity infinities")
op(
    any_pair,
    names="copysign",
    reference=np.copysign,
    exact=True,
    kinks=(0.0,),
    lacks="jet",
    apart="infinity infinities",
)
op(pair(edges=np.array([-1.0, 0.0, 2.0, NAN])), names="nextafter", reference=np.nextafter, lacks="C ONNX jet")
op(divided, names="true_divide", reference=np.true_divide, lacks="written")


def a_log_b(a, b):
    return np.where((a == 0) & ~np.isnan(b), 0, a * np.log(b))


op(divided, names="xlogy", reference=a_log_b, lacks="jet")


def divided_without_fraction(x):
    """Where there are derivatives, quotients are not near whole numbers."""
    yield from pair(low=1.3, high=2.4)(x)
    yield call(fixed(x(3, x.n, low=-9.0, high=9.0)), fixed(x(x.n, low=0.5, high=2.0)))
    for zero in (np.array([0]), 0):
        yield refused(ValueError, f"[{x.name}] got integers divided by 0", np.array([7]), zero)


divided_whole = partial(op, divided_without_fraction, kinks=(0.0,), lacks="jet")
divided_whole(names="fmod", reference=np.fmod)
divided_whole(names="remainder", reference=np.remainder, apart="gradient")
divided_whole(names="floor_divide", reference=np.floor_divide, apart="gradient")


@op(reference=lambda a, b, alpha=1: a + alpha * b)
def add(x):
    yield from any_pair(x)
    yield call(x(3, x.n), x(x.n), alpha=-0.5)
    yield call(x.integers(-9, 9, 3, x.n), x.integers(-9, 9, x.n), alpha=2)
    yield refused(TypeError, "[add] got alpha 0.5", x.integers(-9, 9, 3), x.integers(-9, 9, 3), alpha=0.5)


@op(reference=lambda a, b, alpha=1: a - alpha * b)
def sub(x):
    yield from any_pair(x)
    yield call(x(3, x.n), x(x.n), alpha=-0.5)
    yield refused(TypeError, "[sub] got bools", x.bools(3), x.bools(3))


@op(reference=lambda a, b, alpha=1: b - alpha * a)
def rsub(x):
    yield call(x(3, x.n), x(x.n))
    yield call(x(3, x.n), 2.5, alpha=-0.5)
    yield call(x.integers(-9, 9, 3, x.n), 2)
    yield call(x(0, 3), x(3))


def quotient(a, b, rounding_mode=None):
    rounded = {None: np.asarray, "floor": np.floor, "trunc": np.trunc}[rounding_mode]
    return rounded(np.true_divide(a, b))


@op(reference=quotient, lacks="jet limits written")
def div(x):
    yield from divided(x)
    yield call(x(3, x.n, low=-5.0, high=5.0), x(x.n, low=0.5, high=2.0), rounding_mode="floor")
    yield call(x(3, x.n, low=-5.0, high=5.0), 1.5, rounding_mode="trunc")
    yield call(x.integers(-9, 9, 3, x.n), x.integers(1, 5, x.n), rounding_mode="trunc")
    yield call(x.integers(-9, 9, 3, x.n), 2, rounding_mode="floor")
    yield refused(ValueError, "[div] got rounding_mode 'up'", x(3), x(3), rounding_mode="up")
    yield refused(ValueError, "[div] got an integer to divide by 0", np.array([1]), 0, rounding_mode="floor")


@op(reference=lambda a, b: np.power(a, b if np.ndim(b) else float(b)), terms=lambda a, b: 8, lacks="written")
def pow(x):
    yield call(x(3, x.n, low=0.5, high=2.0), x(x.n, low=-2.0, high=2.0))
    yield call(x(3, 1, low=0.5, high=2.0), x())
    yield call(x(3, x.n), 3)
    yield call(x(x.n), 2)
    yield call(x(x.n, low=0.2), 0.5).without("of float32 a root, NaN of -inf", "all_halves")
    yield call(x(x.n, low=0.2), -1.5)
    yield call(x(x.n, low=0.5), -1)
    yield call(x(x.n, low=0.5), -3)
    yield call(2.0, x(x.n))
    yield call(EDGE[:, None], EDGE)
    yield call(x.integers(-5, 5, x.n), 2)
    yield call(x(0, 3), x(3))
    yield refused(ValueError, "[pow] got integers to the power -1", x.integers(1, 5, 7), -1)


@op(reference=lambda a, b: a * 2.0**b, lacks="jet", apart="gradient")
def ldexp(x):
    yield call(x(3, x.n), x.integers(-3, 4, x.n))
    yield call(x(5), 3)
    yield call(x(x.n), x(x.n))
    yield call(x.integers(-5, 5, 5), x.integers(-3, 4, 5))
    yield call(np.array([INF, NAN, 0.0]), np.array([-2, 3, 400]))
    yield call(fixed(np.array([1e-30, 1e30])), np.array([140, -200]))
    yield call(x(0, 3), x.integers(-3, 4, 3))


def blend(start, end, weight):
    return start + weight * (end - start)


@op(reference=blend, kinks=(0.5,), lacks="limits")
def lerp(x):
    yield call(x(3, x.n), x(3, x.n), 0.3)
    yield call(x(3, x.n), x(x.n), 0.75)
    yield call(x(3, x.n), x(x.n), x(3, 1, low=-2.0, high=2.0))
    yield call(x(), x(), x(low=0.0))
    yield call(x(0, 3), x(3), 0.3)
    yield refused(ValueError, "[lerp] got", x(3), x(4), 0.3)


@op(reference=lambda x, a, b, value=1: x + value * a * b, apart="NaN infinity infinities")
def addcmul(x):
    yield call(x(3, x.n), x(3, x.n), x(3, x.n))
    yield call(x(3, x.n), x(x.n), x(3, 1), value=-0.5)
    yield call(x(), x(), x())
    yield call(x(0, 3), x(3), x(3))
    yield call(x.integers(-5, 5, x.n), x.integers(-5, 5, x.n), x.integers(-5, 5, x.n), value=2)
    yield refused(ValueError, "[addcmul] got", x(3), x(4), x(3))


@op(reference=lambda x, a, b, value=1: x + value * a / b, apart="ties NaN infinity infinities")
def addcdiv(x):
    yield call(x(3, x.n), x(3, x.n), x(3, x.n, low=0.5, high=2.0))
    yield call(x(3, x.n), x(x.n), x(3, 1, low=0.5, high=2.0), value=-0.5)
    yield call(x(), x(), x(low=0.5))
    yield call(x(0, 3), x(3), x(3, low=0.5))
    yield refused(ValueError, "[addcdiv] got", x(3), x(4), x(3))


def compared(x):
    yield call(x(3, x.n), x(3, x.n))
    shape = x.shape()
    yield call(x.integers(-3, 3, *shape), x.integers(-3, 3, *shape[-1:]))
    yield call(x.integers(-3, 3, 3, x.n), x.integers(-3, 3, x.n))
    yield call(x.integers(-3, 3, 3, x.n), 1)
    yield call(np.round(x(3, x.n, low=-2.0, high=2.0)), 1.0)
    yield call(x(2, x.n), x())
    yield call(x(0, 3), x(3))
    yield call(x.bools(x.n), x.bools(x.n))
    yield call(EDGE[:, None], EDGE)
    yield refused(ValueError, f"[{x.name}] got", x(3), x(4))


op(compared, names="eq", reference=np.equal)
op(compared, names="ne not_equal", reference=np.not_equal)
op(compared, names="lt less", reference=np.less)
op(compared, names="le less_equal", reference=np.less_equal)
op(compared, names="gt greater", reference=np.greater)
op(compared, names="ge greater_equal", reference=np.greater_equal)
op(compared, names="logical_and", reference=np.logical_and)
op(compared, names="logical_or", reference=np.logical_or)
op(compared, names="logical_xor", reference=np.logical_xor)


@op(reference=np.isclose, lacks="C ONNX")
def isclose(x):
    yield call(x(3, x.n), x(x.n))
    yield call(np.array([1.0, 1.0, INF, INF, NAN]), np.array([1.000001, 1.1, INF, 1.0, NAN]))
    yield call(np.array([1.0, NAN]), np.array([1.2, NAN]), rtol=0.1, atol=0.2, equal_nan=True)
    yield call(x.integers(-3, 3, x.n), x.integers(-3, 3, x.n))
    yield call(x(0, 3), x(3))
    yield refused(ValueError, "[isclose] got rtol -1", x(3), x(3), -1.0)
    yield refused(ValueError, "[isclose] got shapes (3,) and (4,)", x(3), x(4))


def bits(x):
    yield call(x.integers(-9, 9, 3, x.n), x.integers(-9, 9, x.n))
    yield call(x.integers(0, 9, x.n, dtype=np.uint8), x.integers(0, 9, x.n, dtype=np.uint8))
    yield call(x.integers(-9, 9, x.n, dtype=np.int8), x.integers(-9, 9, x.n, dtype=np.int32))
    yield call(x.integers(-9, 9, x.n), 5)
    yield call(x.integers(-9, 9, 0, 3), x.integers(-9, 9, 3))
    yield refused(TypeError, f"[{x.name}] got dtypes float", x(3), 1)
    yield refused(
        ValueError, f"[{x.name}] got shapes (3,) and (4,)", x.integers(0, 9, 3), x.integers(0, 9, 4)
    )


def bits_and_bools(x):
    yield from bits(x)
    yield call(x.bools(3, x.n), x.bools(x.n))
    yield call(x.bools(x.n), True)


op(bits_and_bools, names="bitwise_and", reference=np.bitwise_and)
op(bits_and_bools, names="bitwise_or", reference=np.bitwise_or)
op(bits_and_bools, names="bitwise_xor", reference=np.bitwise_xor)


def shifts(x):
    yield call(x.integers(-9, 9, 3, x.n), x.integers(0, 5, x.n))
    yield call(x.integers(0, 9, x.n, dtype=np.uint8), x.integers(0, 3, x.n, dtype=np.uint8))
    yield call(x.integers(-9, 9, x.n), 2)
    yield call(x.integers(-9, 9, 0, 3), 1)
    yield refused(TypeError, f"[{x.name}] got dtypes float", x(3), 1)


op(shifts, names="bitwise_left_shift", reference=np.left_shift, lacks="C ONNX")
op(shifts, names="bitwise_right_shift", reference=np.right_shift, lacks="C ONNX")
