"""Samples of `ops/reduction`: sorts, running totals, quantiles, counts, unique values and searches.

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


def sorted_along(x, dim=-1, descending=False, stable=False):
    return reference.sort(x, dim, descending)


def orders(x):
    yield call(x(3, 2, x.n))
    yield call(x(x.n, 3), 0, True)
    yield call(x(x.n, 3), dim=-1, descending=True, stable=True)
    yield call(x(x.size(1, 12), x.size(1, 12)), x.size(0, 1), bool(x.size(0, 1)))
    yield call(x.integers(0, 5, 3, x.n), 1)
    yield call(2**60 + x.integers(0, 5, 3, x.n), 1)  # which no float has
    yield call(x.bools(x.n))
    yield call(np.array([[2.0, NAN, 1.0, INF], [-INF, 0.0, NAN, 1.0]]), 1)
    yield call(fixed(np.round(x(3, x.n, low=-3.0, high=3.0))), 1)  # equal elements, zeros of both signs
    yield call(x(2, 0, 3), 1)
    yield refused(IndexError, f"[{x.name}] got dim 2 for 2 dimensions", x(3, 5), 2)


op(orders, names="sort", reference=sorted_along, exact=True, lacks="C")
op(orders, names="argsort", reference=lambda *args, **settings: sorted_along(*args, **settings)[1], lacks="C")


def greatest(x, k, dim=-1, largest=True, sorted=True):
    return reference.topk(x, k, dim, largest)


AFTER_NAN = "PyTorch finds places after NaN"


@op(reference=greatest, exact=True, lacks="C", apart="ties NaN infinity")
def topk(x):
    yield call(x(3, 2, x.n), x.n // 2 + 1)
    yield call(x(x.n, 3), 1, 0, False)
    yield call(x(x.n, 3), k=2, dim=1)
    yield call(x.integers(0, 5, 3, x.n), 1, 1)
    yield call(x(2, 3), 0)
    yield call(np.array([2.0, NAN, 1.0, INF]), 2)
    yield refused(ValueError, "[topk] got k 4 for a dimension of 3; expected 0 to 3", x(2, 3), 4)
    yield refused(TypeError, "[topk] got k 1.5; expected a whole number", x(2, 3), 1.5)
    yield refused(TypeError, "[topk] got k None; expected a whole number", x(2, 3), None)


@op(
    reference=lambda x, k, dim=-1, keepdim=False: reference.kthvalue(x, k, dim, keepdim),
    exact=True,
    lacks="C",
    apart="ties NaN infinity",
)
def kthvalue(x):
    yield call(x(3, 2, x.n), x.n // 2 + 1)
    yield call(x(x.n, 3), 1, 0, True)
    yield call(x.integers(0, 5, 3, x.n), k=x.n, dim=1).without("one of equal places", "pytorch")
    yield call(np.array([2.0, NAN, 1.0, INF]), 3)
    yield refused(ValueError, "[kthvalue] got k 0 for a dimension of 3; expected 1 to 3", x(2, 3), 0)


def middle(x, dim=None, keepdim=False):
    """The lower of two, and its first place; the first NaN where there is one."""
    if dim is None:
        return np.sort(x, None)[(x.size - 1) // 2] if not np.isnan(x).any() else np.asarray(NAN)
    return reference.median(x, dim, keepdim)


@op(reference=middle, exact=True, lacks="C ONNX jet limits written")
def median(x):
    yield call(x(3, 2, x.n))
    yield call(x(3, x.n, 2), -1)
    yield call(x(x.n, 3), 0, True)
    yield call(x.integers(0, 5, 3, x.n), dim=1)
    yield call(np.array([2.0, NAN, 1.0, INF]))
    yield call(x())
    yield refused(ValueError, "[median] got x of shape (0,), empty along 0", x(0))
    yield refused(IndexError, "[median] got", x(3, 5), 2)


@op(lacks="C ONNX jet written captured")
def nanmedian(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n), 1)
    yield call(x(3, x.n), dim=0, keepdim=True)
    yield call(np.array([[2.0, NAN, 1.0], [NAN, NAN, NAN]]), 1)
    yield call(x.integers(0, 5, 3, x.n), 1)
    yield refused(IndexError, "[nanmedian] got", x(3, 5), 2)


def quantile_by_numpy(function):
    def reference(x, q, dim=None, keepdim=False, interpolation="linear"):
        return function(x, q, axis=dim, keepdims=keepdim, method=interpolation)

    return reference


def quantiles(x):
    yield call(x(3, x.n), 0.3)
    yield call(x(3, x.n), 0.3, 1)
    yield call(x(3, 7), fixed(np.array([0.1, 0.5, 1.0])), dim=-1, keepdim=True)
    yield call(x(), 0.5, 0).without("NumPy has no axis 0 there", "reference", "random_calls")
    for interpolation in ("lower", "higher", "midpoint", "nearest"):
        yield call(x(3, x.n), 0.3, 0, interpolation=interpolation)
    yield call(np.array([[2.0, NAN, 1.0], [1.0, 3.0, 5.0]]), 0.25, 1)
    yield refused(ValueError, f"[{x.name}] got q", x(3), 1.5)
    yield refused(ValueError, f"[{x.name}] got q [] ", x(3), np.array([]))
    yield refused(TypeError, f"[{x.name}] got", x.integers(0, 5, 3), 0.5)


for _name, _function in (("quantile", np.quantile), ("nanquantile", np.nanquantile)):
    op(
        quantiles,
        names=_name,
        reference=quantile_by_numpy(_function),
        lacks="C ONNX NaN captured",
        apart="ties NaN infinity",
        autocast="float32",
    )


def most_frequent(x, dim=-1, keepdim=False):
    """The least of the most frequent values, and its last place."""
    rows = np.moveaxis(x, dim, -1)
    values = np.empty((*rows.shape[:-1], 1), x.dtype)
    places = np.empty(values.shape, int)
    for at in np.ndindex(rows.shape[:-1]):
        each, counts = np.unique(rows[at], return_counts=True)
        values[at] = each[counts.argmax()]
        places[at] = np.flatnonzero(rows[at] == values[at])[-1]
    found = [np.moveaxis(part, -1, dim) for part in (values, places)]
    return found if keepdim else [part.squeeze(dim) for part in found]


@op(reference=most_frequent, exact=True, lacks="C ONNX captured", apart="NaN")
def mode(x):
    yield call(x.integers(0, 3, 3, x.n))
    yield call(x.integers(0, 3, 3, x.n), 0, True)
    yield call(x(3, x.n), dim=1)
    yield at_kink(np.array([2.0, 1.0, 2.0, 1.0]))
    yield refused(IndexError, "[mode] got", x(3, 5), 2)


def totals(x):
    yield call(x(5, 3, x.n), 0)
    yield call(x(5, 3, x.n), -1)
    yield call(x(x.n, 3, 18), 0)
    yield call(x(3, x.n, 4), 1)
    yield call(x(x.size(1, 40), x.size(1, 40)), x.size(0, 1))
    yield call(x(3, 0, 5), 1)
    yield call(x.integers(-3, 4, 3, x.n), 1)
    yield call(x.bools(x.n), 0)
    yield call(np.array([1.0, 0.0, 2.0, INF, NAN]), 0)
    yield call(x(3, x.n), dim=1, dtype=rv.float64)
    yield refused(IndexError, f"[{x.name}] got dim 1 for 1 dimensions", x(3), 1)


def running(function):
    return lambda x, dim, dtype=None: function(x, dim)


total = partial(op, totals, terms=all_terms)
total(names="cumsum", reference=running(np.cumsum))
total(names="cumprod", reference=running(np.cumprod), lacks="infinity C-infinity", apart="NaN infinity")


def running_extreme(extreme):
    """The extreme so far, and the last place where it is."""

    def reference(x, dim):
        y = extreme.accumulate(np.moveaxis(x, dim, 0))
        is_it = (y == np.moveaxis(x, dim, 0)) | np.isnan(np.moveaxis(x, dim, 0))
        here = np.arange(len(y)).reshape(-1, *[1] * (y.ndim - 1))
        places = np.maximum.accumulate(np.where(is_it, here, 0))
        return np.moveaxis(y, 0, dim), np.moveaxis(places, 0, dim)

    return reference


def running_extremes(x):
    yield call(x(5, 3, x.n), 0)
    yield call(x(5, 3, x.n), dim=-1)
    yield call(x.integers(0, 4, 3, x.n), 1)
    yield call(np.array([3, np.iinfo(np.int64).min, np.iinfo(np.int64).max, -1]), 0)
    yield call(np.array([1.0, INF, NAN, 2.0]), 0)
    yield call(x(2, 1), 1)
    yield refused(IndexError, f"[{x.name}] got dim 2 for 2 dimensions", x(3, 5), 2)


op(running_extremes, names="cummax", reference=running_extreme(np.maximum), exact=True, lacks="C ONNX")
op(running_extremes, names="cummin", reference=running_extreme(np.minimum), exact=True, lacks="C ONNX")


@op(
    reference=lambda x, dim: np.logaddexp.accumulate(x, dim),
    terms=lambda x, dim: x.shape[dim],
    apart="NaN infinity infinities",
)
def logcumsumexp(x):
    yield call(x(x.n, 3, 5), 0)
    yield call(x(x.n, 3, 5), dim=-1)
    yield call(x(3, 1), 1)
    yield call(np.array([1000.0, -1000.0, 1001.0, INF]), 0)
    yield refused(IndexError, "[logcumsumexp] got dim 2 for 2 dimensions", x(3, 5), 2)


@op(
    reference=lambda x, weights=None, minlength=0: np.bincount(x, weights, minlength),
    lacks="C ONNX 0-d captured",
)
def bincount(x):
    yield call(x.integers(0, 5, x.n))
    yield call(x.integers(0, 5, x.n), minlength=8)
    yield call(x.integers(0, 5, x.n), fixed(x(x.n)))
    yield call(x.integers(0, 5, 0))
    yield refused(ValueError, "[bincount] got", np.array([-1]))
    yield refused(ValueError, "[bincount] got x of shape (3,) and float", x(3))


def bins_of(x, boundaries, out_int32=False, right=False):
    return np.searchsorted(boundaries, x, side="right" if right else "left")


@op(reference=bins_of, lacks="C 0-d", apart="NaN")
def bucketize(x):
    yield call(x(3, 7), fixed(np.array([-0.5, 0.0, 0.5])))
    yield call(np.array([0.0, 0.5, 2.0]), fixed(np.array([0.0, 0.5])), right=True)
    yield call(x.integers(0, 9, 7), np.array([2, 4, 4]), out_int32=True)
    yield refused(ValueError, "[bucketize] got", x(3), x(2, 3))


def place_in(sequence, values, out_int32=False, right=False, side=None):
    side = side or ("right" if right else "left")
    if sequence.ndim == 1:
        return np.searchsorted(sequence, values, side)
    return np.stack([np.searchsorted(s, v, side) for s, v in zip(sequence, values, strict=True)])


@op(reference=place_in, lacks="C 0-d", apart="NaN")
def searchsorted(x):
    yield call(fixed(np.array([-0.5, 0.0, 0.5])), x(3, 7))
    yield call(np.array([1, 2, 2, 4]), np.array([2, 0, 9]), right=True)
    yield call(np.array([1, 2, 2, 4]), np.array([2, 0, 9]), side="right", out_int32=True)
    yield call(np.sort(x(3, x.n), 1), x(3, 2))
    yield call(np.sort(x.integers(-9, 9, x.n)), x.integers(-12, 13, 7, 9))
    yield call(
        np.append(np.sort(np.round(x(x.n, low=-9.0, high=9.0))), NAN),
        np.round(x(99, low=-9.0, high=9.0)),
        right=True,
    ).without(AFTER_NAN, "pytorch")
    yield call(np.array([1.0, NAN]), np.array([NAN, 0.0, INF])).without(AFTER_NAN, "pytorch")
    yield call(x.integers(0, 9, 0), x.integers(0, 9, 3))
    yield refused(ValueError, "[searchsorted] got", x(3, 7), x(2, 2))


def counts_by_numpy(x, bins=100, min=0, max=0):
    limits = (min, max) if min != max else (x.min(), x.max())
    return np.histogram(x, bins, limits)[0]


@op(reference=counts_by_numpy, lacks="C ONNX NaN captured", apart="NaN infinity")
def histc(x):
    yield call(fixed(x(x.n)), 4)
    yield call(fixed(x(x.n)), bins=5, min=-0.5, max=0.5)
    yield call(fixed(np.array([0.0, 1.0, 1.0, 9.0])), 2, 0, 2)
    yield refused(ValueError, "[histc] got 100 bins in [1.0, inf]", fixed(np.array([1.0, INF])))


def histogram_by_numpy(x, bins=100, range=None, weight=None, density=False):
    return np.histogram(x, bins, range, density, weight)


@op(reference=histogram_by_numpy, lacks="C ONNX NaN 0-d captured", apart="ties NaN infinity")
def histogram(x):
    yield call(fixed(x(30)), 4)
    yield call(fixed(x(x.n)), bins=5, range=(-0.5, 0.5))
    yield call(fixed(x(30)), fixed(np.array([-1.0, 0.0, 0.25, 1.0])), density=True)
    yield call(fixed(x(x.n)), 3, weight=fixed(x(x.n, low=0.1)))
    yield refused(ValueError, "[histogram] got", fixed(x(30)), 0)


def is_one_of(elements, test_elements, assume_unique=False, invert=False):
    return np.isin(elements, test_elements, assume_unique, invert)


@op(reference=is_one_of, lacks="C")
def isin(x):
    yield call(x.integers(0, 9, 3, x.n), x.integers(0, 9, 4))
    yield call(x.integers(0, 9, 7), np.array([2, 3]), invert=True)
    yield call(np.array([1.0, 2.0, NAN]), np.array([2.0, NAN]))
    yield call(x.integers(0, 9, x.n), 3)


def unique_by_numpy(x, sorted=True, return_inverse=False, return_counts=False, dim=None):
    return np.unique(x, False, return_inverse, return_counts, dim)


@op(reference=unique_by_numpy, exact=True, lacks="C ONNX 0-d captured")
def unique(x):
    yield call(x.integers(0, 5, 3, x.n))
    yield call(x.integers(0, 5, x.n), return_inverse=True, return_counts=True)
    yield call(x.integers(0, 2, 7, 2), dim=0)
    yield call(fixed(np.array([2.0, 1.0, 2.0])))
    yield call(x.integers(0, 5, 0))
    yield refused(IndexError, "[unique] got x of shape ()", x(), dim=0)


@op(lacks="C ONNX 0-d captured")
def unique_consecutive(x):
    yield call(x.integers(0, 2, x.n))
    yield call(x.integers(0, 2, x.n), return_inverse=True, return_counts=True)
    yield call(x.integers(0, 2, 7, 1), dim=0)
    yield call(fixed(np.array([2.0, 2.0, 1.0, 2.0])))
    yield call(x.integers(0, 5, 0))
