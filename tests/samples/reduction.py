"""Samples of `ops/reduction`: sums, extremes, norms and statistics along dimensions.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np
import ranvier as rv
from reference import reduce as reference

from samples.sample import all_terms, at_kink, call, fixed, op, refused

INF, NAN = np.inf, np.nan


def along(function):
    """The function of NumPy with PyTorch's names of settings."""

    def reference(x, dim=None, keepdim=False, dtype=None, **settings):
        return function(x, axis=dim, keepdims=keepdim, **settings)

    return reference


def dimensions(x):
    yield call(x(3, 2, 3, x.n, low=-3.0, high=3.0))
    yield call(x(3, 2, 3, x.n, low=-3.0, high=3.0), 0)
    yield call(x(3, 2, 3, x.n, low=-3.0, high=3.0), (0, 2), True)
    yield call(x(3, 2, 3, x.n, low=-3.0, high=3.0), dim=(1, -1))
    yield call(x(3, x.n), dim=-1, keepdim=True)
    yield call(x(x.n, 3), dim=0)
    shape = [x.size(1, 9) for _ in range(x.size(1, 4))]
    yield call(x(*shape), x.size(0, len(shape) - 1), bool(x.size(0, 1)))
    yield call(x())
    yield call(x(3, 1), 1)
    yield refused(IndexError, f"[{x.name}] got axis 2", x(3, 5), 2)
    yield refused(ValueError, f"[{x.name}] got axis -2 twice", x(3, 5), (0, -2))


def sums(x):
    yield from dimensions(x)
    yield call(np.array([[1.0, INF], [NAN, 1.0], [INF, -INF]]), 1)
    yield call(x(3, x.n), 1, dtype=rv.float64)


def means(x):
    yield from sums(x)
    yield at_kink(x(3, 0, 4), 1).without("ONNX Runtime's is 0, not NaN", "onnx")


def sums_of_integers(x):
    yield from sums(x)
    yield call(x(3, 0, 4), 1)
    yield call(x.integers(-9, 9, 3, x.n), 1)
    yield call(x.bools(3, x.n), 0)
    yield call(x.integers(0, 200, 3, 5, dtype=np.uint8))


op(sums_of_integers, names="sum", reference=along(np.sum), terms=all_terms)
op(sums_of_integers, names="nansum", reference=along(np.nansum), terms=all_terms)
op(means, names="mean", reference=along(np.mean), terms=all_terms)
op(means, names="nanmean", reference=along(np.nanmean), terms=all_terms, apart="NaN")


def extremes(x):
    yield from dimensions(x)
    yield call(fixed(x(3, 5, 4, 17)), (0, 3))
    yield call(np.array([[1.0, INF], [NAN, 1.0], [INF, -INF]]), 1)
    yield call(x(0, 3), 1)
    yield call(x.integers(-9, 9, 3, x.n), 1)
    yield call(x.integers(0, 9, 3, 5, dtype=np.uint8))
    yield call(x.bools(3, x.n), 0)
    yield at_kink(np.array([[2.0, 1.0, 2.0], [0.0, 0.0, 0.0]]), 1)
    yield refused(ValueError, f"[{x.name}] got x of shape (0, 3), empty", x(0, 3), 0)
    yield refused(ValueError, "empty along the axis", x.integers(0, 3, 0, 3), 0)


op(extremes, names="amax", reference=along(np.max), exact=True, lacks="jet written")
op(extremes, names="amin", reference=along(np.min), exact=True, lacks="jet written")


def minmax(x, dim=None, keepdim=False):
    return np.min(x, dim, keepdims=keepdim), np.max(x, dim, keepdims=keepdim)


@op(reference=minmax, exact=True, lacks="jet written")
def aminmax(x):
    yield call(x(3, x.n, 4))
    yield call(x(3, x.n, 4), dim=1)
    yield call(x(3, x.n, 4), dim=-1, keepdim=True)
    yield call(x.integers(-9, 9, 3, x.n), dim=0)
    yield call(x())
    yield refused(IndexError, "got axis 2", x(3, 5), dim=2)


def places(x):
    yield call(x(3, x.n, 4))
    yield call(x(3, 2, x.n), 1)
    yield call(x(3, x.n, 4), dim=-1, keepdim=True)
    yield call(x.integers(0, 3, 3, x.n), 1)
    yield call(np.array([[1.0, INF], [NAN, 1.0], [-INF, INF]]), 1)
    yield call(x())
    yield call(x(0, 3), 1)
    yield refused(IndexError, f"[{x.name}] got axis 2", x(3, 5), 2)
    yield refused(ValueError, f"[{x.name}] got x of shape (0, 3), empty", x(0, 3), 0)
    yield refused(ValueError, f"[{x.name}] got x of shape (0,), empty", x.integers(0, 3, 0))


op(places, names="argmax", reference=along(np.argmax), lacks="C")
op(places, names="argmin", reference=along(np.argmin), lacks="C")


def extremes_and_places(x):
    yield from places(x)
    yield call(x.bools(3, x.n), 0)
    yield call(x(3, x.n), x(x.n))


def with_places(extreme, place, of_two):
    def reference(x, dim=None, keepdim=False):
        if dim is None:
            return extreme(x)
        if isinstance(dim, np.ndarray):
            return of_two(x, dim)
        return extreme(x, axis=dim, keepdims=keepdim), place(x, axis=dim, keepdims=keepdim)

    return reference


extreme = partial(op, extremes_and_places, exact=True, lacks="jet written")
extreme(names="max", reference=with_places(np.max, np.argmax, np.maximum))
extreme(names="min", reference=with_places(np.min, np.argmin, np.minimum))


def truth(x):
    yield call(x.bools(3, x.n, 4))
    yield call(x.bools(3, x.n, 4), 1)
    yield call(x.bools(3, x.n, 4), (0, 2), True)
    yield call(np.array([[0.0, 0.0], [1.0, 0.0], [NAN, 2.0]]), 1)
    yield call(x.integers(0, 2, 3, 2, dtype=np.uint8), dim=1)
    yield call(x.bools(0, 3), 0)
    yield refused(IndexError, f"[{x.name}] got axis 2", x(3, 5), 2)
    yield refused(ValueError, f"[{x.name}] got axis 1 twice", x(1, 2), (1, -1))


op(truth, names="all", reference=along(np.all), lacks="C")
op(truth, names="any", reference=along(np.any), lacks="C")


@op(reference=lambda x, dim=None: np.count_nonzero(x, axis=dim), lacks="C")
def count_nonzero(x):
    yield call(x.integers(0, 2, 3, x.n, 4))
    yield call(x.bools(3, x.n, 4), 1)
    yield call(np.array([[0.0, 0.0], [1.0, 0.0], [NAN, 2.0]]), (0, 1))
    yield call(x.bools(0, 3), dim=0)
    yield refused(IndexError, "[count_nonzero] got axis 2", x(3, 5), 2)


def norm_by_numpy(x, p="fro", dim=None, keepdim=False, dtype=None):
    return reference.norm(x, 2 if p == "fro" else p, dim, keepdim)


@op(
    reference=norm_by_numpy,
    terms=all_terms,
    kinks=(0.0,),
    lacks="written C-infinity",
    apart="NaN infinity",
    anything="p",
)
def norm(x):
    yield call(x(3, x.n, 4))
    yield call(x(3, x.n, 4), 1, 1)
    yield call(x(3, 2, x.n), 3, (0, 2), True)
    yield call(x(3, x.n), INF, dim=-1)
    yield call(x(3, x.n), -INF, dim=0, keepdim=True)
    yield call(x(3, x.n, low=0.2), 0.5, 1)
    yield call(x(3, 2, x.n), 1.5, (0, 2))
    yield call(x(3, x.n, low=0.2), -2, 1)
    yield call(x(3, x.n), 0)
    yield at_kink(np.array([[0.0, 1.0, 0.0]]), 0, 1)
    yield call(x(0, 3), 2, 0)
    yield call(np.array([[3.0, 4.0], [0.0, 0.0], [NAN, 1.0], [1.0, INF]]), 2, 1)
    yield call(x(3, x.n), 2, 1, dtype=rv.float64)
    yield refused(ValueError, "[norm] got p 'max'", x(3), "max")
    yield refused(ValueError, "[norm] got p 'nuc', dim 1 and x of shape (2, 3)", x(2, 3), "nuc", 1)
    yield refused(TypeError, "[norm] got x of dtype int64", np.array([1, 2]))


@op(reference=along(reference.logsumexp), terms=all_terms, lacks="limits written C-infinity")
def logsumexp(x):
    yield from dimensions(x)
    yield call(np.array([[1e3, 1e3], [-1e3, -1e3], [1.0, NAN]]), 1).without("C does not round x - y", "c")
    yield call(x(0, 3), 1)


@op(
    reference=along(np.prod),
    terms=all_terms,
    lacks="written",
    apart="NaN infinity infinities",
    autocast="float32",
)
def prod(x):
    yield call(x(3, x.n, low=0.5, high=1.5))
    yield call(x(3, x.n, 4), 1)
    yield call(x(3, 2, x.n, low=0.5, high=1.5), dim=-1, keepdim=True)
    yield call(np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]]), 1)
    yield call(x(0, 3), 0)
    yield call(x.integers(-5, 5, 3, x.n), 1)
    yield call(x.bools(3, x.n), 1)
    yield call(x(3, x.n), 1, dtype=rv.float64)
    yield refused(ValueError, "[prod] got 2 axes", x(3, 5), (0, 1))
    yield refused(IndexError, "[prod] got axis 2", x(3, 5), 2)


def spread(function):
    def reference(x, dim=None, unbiased=True, keepdim=False, correction=None):
        less = int(unbiased) if correction is None else correction
        return function(x, dim, keepdim, less)

    return reference


def spreads(x):
    yield call(x(3, x.n, 4))
    yield call(x(3, 2, x.n), 1)
    yield call(x(3, x.n, 4), (0, 2), False, True)
    yield call(x(3, x.n, 4), -1, correction=0)
    yield call(x(3, x.n, 4), dim=0, correction=2, keepdim=True)
    yield call(x(0, 3), 1)
    yield at_kink(np.array([[1.0, 1.0], [2.0, NAN]]), 1)
    yield refused(ValueError, f"[{x.name}] got correction nan", x(3), correction=NAN)
    yield refused(TypeError, f"[{x.name}] got unbiased 2", x(3, 5), 0, 2)
    yield refused(IndexError, f"[{x.name}] got axis 2", x(3, 5), 2)
    yield refused(TypeError, f"[{x.name}] got x of dtype int64", np.array([1, 2]))


def and_mean(function):
    def reference(x, dim=None, unbiased=True, keepdim=False, correction=None):
        value = spread(function)(x, dim, unbiased, keepdim, correction)
        return value, np.mean(x, axis=dim, keepdims=keepdim)

    return reference


of_spreads = partial(op, spreads, terms=all_terms, anything="dim")
of_spreads(names="var", reference=spread(reference.var), lacks="C-infinity")
of_spreads(names="std", reference=spread(reference.std), lacks="written")
of_spreads(names="var_mean", reference=and_mean(reference.var), lacks="C-infinity", apart="infinity")
of_spreads(names="std_mean", reference=and_mean(reference.std), lacks="written", apart="infinity")


def differences(x, n=1, dim=-1, prepend=None, append=None):
    parts = [part for part in (prepend, x, append) if part is not None]
    return np.diff(np.concatenate(parts, dim), n, dim)


@op(reference=differences, lacks="rounding 0-d")
def diff(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n, 2), 2, 1)
    yield call(x(3, x.n), dim=0, prepend=x(1, x.n), append=x(2, x.n))
    yield call(x.integers(-9, 9, 3, x.n))
    yield call(x.bools(x.n))
    yield call(x(3, 1))
    yield call(x(3, x.n), 0)
    yield refused(ValueError, "[diff] got n -1", x(3), -1)
    yield refused(ValueError, "[diff] got x of shape ()", x())


def integral(y, x=None, dx=1, dim=-1):
    return np.trapezoid(y, x, dx, dim)


def integrals(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n), x(3, x.n), dim=1)
    yield call(x(3, x.n, 2), x(x.n), dim=1)
    yield call(x(3, x.n), dx=0.5, dim=0)
    yield call(x(3, 1))
    yield refused(IndexError, f"[{x.name}] got x of shape ()", x())


def integral_so_far(y, x=None, dx=1, dim=-1):
    y = np.moveaxis(y, dim, -1)
    steps = dx if x is None else np.diff(x if x.ndim == 1 else np.moveaxis(x, dim, -1))
    return np.moveaxis(np.cumsum((y[..., 1:] + y[..., :-1]) / 2 * steps, -1), -1, dim)


op(integrals, names="trapezoid", reference=integral, terms=all_terms, lacks="0-d", apart="NaN infinity")
op(integrals, names="cumulative_trapezoid", reference=integral_so_far, terms=all_terms, lacks="0-d")
