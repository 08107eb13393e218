"""Samples of `ops/shape`: elements picked by indices and masks, and values put at places.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import operator

import numpy as np
from reference import index as reference

from samples.sample import all_terms, at_kink, call, fixed, op, refused, state

INF, NAN = np.inf, np.nan
ALL, I, J = slice(None), np.array([1, 0, 1]), np.array([[1], [0]])
KEYS = (  # keys for an array of shape (2, 3, 4, 5)
    1,
    -1,
    (ALL, 2),
    (0, 1, 2, 3),
    (None, 1, ..., None),
    slice(5, 5),
    I,
    (ALL, np.array([2, 0, -3])),
    (I, np.array([2, 2, 2])),
    [1, 1],
    (I, ALL, I),
    (J, I),
    (..., J, I),
    (None, I, ALL, None, J),
    np.zeros(0, int),
    (np.zeros((2, 0), int), I[:0]),
)
MASKS = (
    np.arange(6).reshape(2, 3) % 2 == 0,
    (ALL, ALL, np.arange(20).reshape(4, 5) % 3 == 0),
    np.arange(120).reshape(2, 3, 4, 5) % 7 == 0,
    ([True, False], ALL, [0, 3]),
)
BACKWARDS = (slice(None, None, 2), ..., slice(4, None, -2)), (I, slice(1, 3), slice(None, None, -2), I)
KEYS_WITH_NUMBERS = (0, ALL, I), (1, ..., J), (I, 0, ALL, J), (I, ALL, np.array(1))


@op(of=operator.getitem, reference=operator.getitem, exact=True, lacks="0-d")
def getitem(x):
    for key in KEYS:
        yield call(x(2, 3, 4, 5), key)
    for key in MASKS:
        yield call(x(2, 3, 4, 5), key).without("the shape is in the values", "meta")
    for key in BACKWARDS:
        yield call(x(2, 3, 4, 5), key).without("PyTorch has no steps below 0", "pytorch")
    for key in KEYS_WITH_NUMBERS:
        yield call(x(2, 3, 4, 5), key).without("NumPy gives another shape", "reference")
    yield call(x(4, x.n), (np.array([2, 0, -3, 2]), ALL))
    yield call(x(2, x.n), (ALL, x.integers(-x.n, x.n, 5)))
    rows, columns = x.size(1, 9), x.size(1, 9)
    yield call(x(rows, columns, *x.shape(most=2)), (x.integers(-rows, rows, 3, 4), x.integers(0, columns, 4)))
    for text, key in (
        ("[gather] got index 3 for an axis of length 3; expected -3 to 2", np.array([3])),
        ("[getitem] got index 7 for an axis of length 4; expected -4 to 3", (I, np.array([7, 0, 0]))),
        ("[getitem] got a mask of shape (2,) for dimensions (3,)", np.zeros(2, bool)),
        ("[getitem] got an index of float; expected integers", 1.5),
        ("[getitem] got indices of shapes (3,), (2,); expected shapes that broadcast", (I, np.arange(2))),
        ("[getitem] got an index of 3 dimensions for x of shape (3, 4)", (I, 0, 0)),
        ("[gather] got index 6", (0, I + 5)),
        ("[getitem] got index 4 for an axis of length 3", (4, I)),
        ("[getitem] got an index of float", fixed(x(1))),
    ):
        yield refused(IndexError, text, x(3, 4), key)


OF_SHAPE = "PyTorch's gradient has the shape of the index"
OVERWRITTEN = "PyTorch gives a value that was overwritten a gradient"


def written(x, key, value):
    """x after the write: at a place that is named twice the last value stays."""
    y = x.copy() if isinstance(x, np.ndarray) else x.clone()
    y[key] = value
    return y


TWICE = np.array([1, -2, 0])  # three places, one of them twice
WRITES = (  # shape of x, key, shape of the value; each but the mask names a place twice
    ((5,), np.array([1, 1, 2]), (3,)),
    ((5,), np.array([1, -4, 2]), (3,)),
    ((2, 2), (np.array([0, 1, 0, -2]), np.array([1, 1, 1, -1])), (4,)),
    ((2, 3), (np.array([[0], [0]]), np.array([1, 1, 0])), (2, 3)),
    ((4, 3), (slice(1, 3), TWICE), (2, 3)),
    ((3, 2, 3), (TWICE, ALL, np.array([1, 1, 0])), (3, 2)),
    ((3, 4), TWICE, (4,)),
    ((3, 4), TWICE, (3, 1)),
    ((3,), TWICE, ()),
    ((3, 2), [1, 1, 0], (3, 2)),
    ((3, 3), np.array([[True, False, True], [False, True, True], [True] * 3]), (7,)),
)


@op(of=written, reference=written, exact=True, lacks="C ONNX jet")
def setitem(x):
    for shape, key, of_value in WRITES:
        yield call(x(*shape), key, x(*of_value)).without(OVERWRITTEN, "pytorch")
    numbers_first = call(x(2, 2, 3), (0, ALL, TWICE), x(2, 3))
    yield numbers_first.without("NumPy gives another shape", "reference").without(OVERWRITTEN, "pytorch")
    yield call(x.integers(0, 9, 5), np.array([4, 0]), np.array([7, 8]))
    for values, wrong in (x(2), "1"), (x(2), ["1", "2"]), (x.bools(2), "a"), (x.bools(2), object()):
        yield refused(TypeError, "[setitem] got", values, ALL, wrong)


@op(reference=lambda x, dim, index: reference.gather(x, index, dim % x.ndim), exact=True, lacks="C")
def gather(x):
    yield call(x(3, 4, x.n), 0, x.integers(0, 3, 6, 4, x.n))
    yield call(x(3, 4, x.n), -1, x.integers(0, x.n, 2, 3, 6))
    yield call(x(3, 4), dim=1, index=x.integers(0, 4, 0, 4))
    yield call(x.integers(0, 9, 3, 4), 1, x.integers(0, 4, 3, 2, dtype=np.int32))
    yield call(np.array([INF, NAN, 1.0]), 0, np.array([1, 0, 0]))
    yield refused(TypeError, "[gather] got index of dtype float", x(3), 0, x(3))
    yield refused(IndexError, "[gather] got index 3 for an axis of length 3", x(3), 0, np.array([3]))
    yield refused(ValueError, "[gather] got index of shape (5, 1)", x(3, 4), 1, x.integers(0, 3, 5, 1))
    yield refused(IndexError, "[gather] got index -1 for an axis", x(3, 4), 1, np.array([[-1]]))
    yield refused(IndexError, "got index 3 for an axis of length 3", x.bools(2, 3), 1, np.array([[3]]))


@op(reference=lambda x, indices, dim=None: np.take_along_axis(x, indices, dim), exact=True, lacks="C ONNX")
def take_along_dim(x):
    yield call(x(3, 4, x.n), x.integers(0, 4, 3, 6, x.n), 1)
    yield call(x(3, 4), x.integers(-4, 4, 1, 2), -1)
    yield call(x(3, x.n), x.integers(0, x.n, 7))
    yield call(x.integers(0, 9, 3, 4), x.integers(0, 3, 1, 4), dim=0)
    yield refused(IndexError, "[take_along_dim] got index -4 for", x(2, 3), np.array([[-4]]), 1)
    yield refused(IndexError, "[take_along_dim] got index -1 for an axis", x(3, 4), np.array([[-1]]))
    yield refused(
        ValueError, "[take_along_dim] got indices of shape (2, 1)", x(3, 4), np.array([[0], [1]]), 1
    )


@op(reference=lambda x, dim, index: np.take(x, index, dim), exact=True, lacks="C")
def index_select(x):
    yield call(x(3, 4, x.n), 1, np.array([2, 0, 2]))
    yield call(x(3, x.n), -1, x.integers(0, x.n, 9))
    yield call(x(3, 4), -1, x.integers(0, 4, 0))
    yield call(x(3, 4), dim=0, index=np.array([1], np.int32))
    yield call(x.integers(0, 9, 5), 0, np.array([4, 0]))
    yield refused(IndexError, "[index_select] got index -1", x(3, 4), 0, np.array([1, -1]))
    yield refused(ValueError, "[index_select] got index of shape (2, 1)", x(3, 4), 0, np.array([[0], [1]]))


def selected(x, mask):
    shape = np.broadcast_shapes(x.shape, mask.shape)
    return np.broadcast_to(x, shape)[np.broadcast_to(mask, shape)]


@op(reference=selected, exact=True, lacks="C ONNX captured")
def masked_select(x):
    yield call(x(3, x.n), x.bools(3, x.n))
    yield call(x(3, 1, x.n), x.bools(2, 1))
    yield call(x(3), np.array(True))
    yield call(x.integers(0, 9, 5), x.bools(5))
    yield refused(TypeError, "[masked_select] got mask of dtype float", x(3), x(3))
    yield refused(ValueError, "[masked_select] got x of shape (3,)", x(3), x.bools(4))


@op(reference=np.take, exact=True, lacks="C")
def take(x):
    yield call(x(3, 4), np.array([11, 0, -1, 0]))
    yield call(x(3, 4), x.integers(-12, 12, x.n))
    yield call(x(3, 4), np.array([[1], [2]]))
    yield call(x.integers(0, 9, 5), np.array([4, 0]))
    yield call(x(3, 4), x.integers(0, 3, 0))
    yield refused(IndexError, "[take] got", x(3), np.array([3]))
    yield refused(TypeError, "[take] got index of dtype bool", x(3), x.bools(3))


def scattered(x, dim, index, src=None, value=None, reduce=None):
    src = np.full(index.shape, value) if src is None else src
    src = np.broadcast_to(src, index.shape) if np.ndim(src) == 0 else src
    if reduce == "add":
        return reference.scatter_add(x, index, src, dim % x.ndim)
    if reduce == "multiply":
        places = list(np.indices(index.shape))
        places[dim] = index
        y = x.copy()
        np.multiply.at(y, tuple(places), src[tuple(map(slice, index.shape))])
        return y
    return reference.scatter(x, index, src, dim % x.ndim)


@op(reference=scattered, terms=all_terms, lacks="C rounding", apart="gradient infinity")
def scatter(x):
    yield call(x(3, 4, x.n), 0, x.integers(0, 3, 3, 4, x.n), x(3, 4, x.n))
    yield call(x(3, x.n), 1, x.integers(0, x.n, 3, x.n), x(3, x.n))
    yield call(x(3, 4), -1, x.integers(0, 4, 2, 3), x(2, 6))
    yield call(x(3, 4), 1, x.integers(0, 4, 3, 2), 2.5)
    yield call(x(3, 4), dim=0, index=x.integers(0, 3, 0, 4), src=x(1, 4))
    yield call(x(3, 4), 1, x.integers(0, 4, 3, 6), x(3, 6), reduce="add")
    yield call(fixed(x(3, 4)), 1, x.integers(0, 4, 3, 6), fixed(x(3, 6)), reduce="multiply")
    yield call(x(2, 3), 1, np.array([[1, 1, 0], [0, 0, 0]]), x(2, 3))
    yield call(x(3, 4), 1, x.integers(0, 4, 3, 2), x()).without("PyTorch takes a number only", "pytorch")
    for settings in ({}, {"reduce": "add"}, {"reduce": "multiply"}):
        yield call(x.integers(0, 9, 5), 0, np.array([4, 0]), np.array([7, 8]), **settings)
    text = "[scatter] got reduce 'multiply' where a gradient is required"
    yield refused(RuntimeError, text, x(3), 0, np.array([0]), 2.0, reduce="multiply")
    yield refused(ValueError, "[scatter] got reduce 'mean'", x(3), 0, np.array([0]), x(1), reduce="mean")
    yield refused(IndexError, "[scatter] got index -1", x(3), 0, np.array([-1]), x(1))
    whole, beyond = x.integers(0, 9, 2), "got index 2 for an axis of length 2; expected 0 to 1"
    yield refused(IndexError, beyond, whole, 0, np.array([2]), x.integers(0, 9, 1))
    yield refused(
        ValueError, "[scatter] got index of shape (2, 1), ", x(3, 4), 1, np.array([[0], [1]]), x(1, 1)
    )
    yield refused(TypeError, "[scatter] got src and value, or neither", x(3), 0, np.array([0]))


@op(
    reference=lambda x, dim, index, src: reference.scatter_add(x, index, src, dim % x.ndim),
    terms=lambda x, dim, index, src: index.size + 1,
    lacks="C",
)
def scatter_add(x):
    yield call(x(3, 4, x.n), 0, x.integers(0, 3, 6, 4, x.n), x(6, 4, x.n))
    yield call(x(3, x.n), 1, x.integers(0, x.n, 3, x.n), x(3, x.n))
    yield call(x(3, 4), -1, x.integers(0, 4, 2, 3), x(2, 6)).without(OF_SHAPE, "pytorch")
    yield call(x(3, 4), dim=0, index=x.integers(0, 3, 0, 4), src=x(1, 4))
    yield call(x.integers(0, 9, 5), 0, np.array([4, 4]), np.array([7, 8]))
    yield refused(IndexError, "[scatter_add] got index -1", x(3), 0, np.array([-1]), x(1))
    yield refused(TypeError, "[scatter_add] got src of dtype", x.integers(0, 9, 3), 0, np.array([0]), x(1))


def reduced(x, dim, index, src, reduce, include_self=True):
    """The reduction of all values of a place, one place after another."""
    values = {at: [v] if include_self else [] for at, v in np.ndenumerate(x)}
    for at, row in np.ndenumerate(index):
        to = list(at)
        to[dim] = int(row)
        values[tuple(to)].append(src[at])
    function = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    y = x.copy()
    for at, found in values.items():
        y[at] = function(found) if found else x[at]
    return y


@op(
    reference=reduced,
    terms=lambda x, dim, index, *args, **settings: index.size + 1,
    lacks="C jet rounding written",
)
def scatter_reduce(x):
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        of_product = ("kinks", "kinks_of_pytorch") if reduce == "prod" else ()
        same = call(x(3, x.n), 0, x.integers(0, 3, 5, x.n), x(5, x.n), reduce)
        yield same.without("products with 0 have no second gradient", *of_product)
        larger = call(x(3, 4), 1, x.integers(0, 3, 3, 3), x(3, 5), reduce, include_self=False)
        yield larger.without(OF_SHAPE, "pytorch", *of_product)
    yield call(x.integers(-9, 9, 5), 0, np.array([4, 4, 0]), np.array([7, 8, 3]), "prod")
    zeros = np.array([0.0, 2.0, 3.0]), 0, np.array([0, 1, 1, 2]), np.array([2.0, 0.0, 3.0, 4.0])
    yield call(*zeros, "prod").without("products with 0 have no second gradient", "kinks")
    yield at_kink(np.zeros(3), 0, np.array([1, 1, 0]), np.array([2.0, 2.0, -1.0]), "amax")
    yield refused(ValueError, "[scatter_reduce] got reduce 'max'", x(3), 0, np.array([0]), x(1), "max")
    text = "[scatter_reduce] got src of dtype float"
    yield refused(TypeError, text, x.integers(0, 9, 3), 0, np.array([0]), x(1), "sum")
    yield refused(IndexError, "[scatter_reduce] got", x(3), 0, np.array([-1]), x(1), "sum")


@op(
    reference=lambda x, dim, index, source, alpha=1: reference.index_add(x, index, source, dim, alpha),
    terms=lambda x, dim, index, *args, **settings: index.size + 1,
    lacks="C",
)
def index_add(x):
    yield call(x(3, x.n), 0, np.array([2, 0, 2, 1]), x(4, x.n))
    yield call(x(3, 4, x.n), -2, np.array([1, 1, 3]), x(3, 3, x.n), alpha=-0.5)
    yield call(x(3, 2), 0, x.integers(0, 3, x.n), x(x.n, 2))
    yield call(x(2, 3), dim=1, index=x.integers(0, 3, 0), source=x(2, 0))
    yield call(x.integers(0, 9, 5), 0, np.array([4, 4]), np.array([7, 8]))
    yield refused(IndexError, "[index_add] got index -2; expected", x(3, 4), 0, np.array([-2]), x(1, 4))
    yield refused(ValueError, "[index_add] got x of shape (3, 4)", x(3, 4), 0, np.array([0]), x(2, 4))


def copied(x, dim, index, source):
    y = np.moveaxis(x.copy(), dim, 0)
    y[index] = np.moveaxis(source, dim, 0)
    return np.moveaxis(y, 0, dim)


@op(reference=copied, exact=True, lacks="C ONNX", apart="gradient")
def index_copy(x):
    yield call(x(3, x.n), 0, np.array([2, 0]), x(2, x.n))
    yield call(x(3, 4, x.n), -2, np.array([1, 1, 3]), x(3, 3, x.n))
    yield call(x(2, 3), dim=1, index=x.integers(0, 3, 0), source=x(2, 0))
    yield call(x(2, 3), 1, np.array([1, 1, 0]), x(2, 3))
    yield call(x.integers(0, 9, 5), 0, np.array([4, 1]), np.array([7, 8]))
    yield refused(IndexError, "[index_copy] got index -3; expected", x(3, 4), 0, np.array([-3]), x(1, 4))
    yield refused(ValueError, "[index_copy] got source of shape (1, 3)", x(3, 4), 0, np.array([0]), x(1, 3))


def filled(x, dim, index, value):
    y = np.moveaxis(x.copy(), dim, 0)
    y[index] = value
    return np.moveaxis(y, 0, dim)


@op(reference=filled, exact=True, lacks="C ONNX")
def index_fill(x):
    yield call(x(3, x.n), 0, np.array([2, 0]), 2.5)
    negative = call(x(3, 4, x.n), -2, np.array([1, -1]), x())
    yield negative.without("PyTorch refuses negative indices", "pytorch")
    yield call(x.integers(0, 9, 5), dim=0, index=np.array([4]), value=7)
    yield call(x(3, 4), 1, x.integers(0, 3, 0), 1.0)
    yield call(x(3, 2), 0, np.array([1, 1]), x())
    yield refused(IndexError, "[index_fill] got", x(3), 0, np.array([3]), 1.0)
    yield refused(TypeError, "[index_fill] got None", x(3), 0, np.array([0]), None)
    small = x.integers(0, 9, 2, dtype=np.uint8)
    text = "[index_fill] got 300; expected a number that uint8 can hold"
    yield refused(ValueError, text, small, 0, np.array([0]), 300)


def put_at(x, indices, values, accumulate=False):
    y = x.copy()
    if accumulate:
        np.add.at(y, indices, values)
    else:
        y[indices] = values
    return y


@op(reference=put_at, terms=lambda x, indices, *args, **settings: indices[0].size + 1, lacks="jet")
def index_put(x):
    yield call(x(3, 4), (np.array([2, 0]), np.array([1, -1])), x(2))
    yield call(x(3, x.n), (np.array([2, 0, 2]),), x(3, x.n), accumulate=True)
    yield call(x(3, 4), (x.bools(3, 4),), x())
    yield call(x(3, 3), (TWICE, np.array([1, 1, 1])), x(3)).without(OVERWRITTEN, "pytorch")
    yield call(x.integers(0, 9, 5), (np.array([4, 1]),), np.array([7, 8]))
    yield refused(IndexError, "[index_put] [", x(3), (np.array([3]),), x(1))
    yield refused(TypeError, "[index_put] got values of int64", x(3), (np.array([0]),), np.array([1]))


def put_flat(x, index, source, accumulate=False):
    return put_at(x.ravel(), index, source, accumulate).reshape(x.shape)


@op(reference=put_flat, terms=lambda x, index, *args, **settings: index.size + 1, lacks="C ONNX")
def put(x):
    yield call(x(3, x.n), np.array([2, 0, -1]), x(3))
    yield call(x(3), TWICE, x(3)).without(OVERWRITTEN, "pytorch")
    yield call(x(3, 4), np.array([[1, 1], [0, 1]]), x(2, 2), accumulate=True)
    yield call(x.integers(0, 9, 5), np.array([4, 1]), np.array([7, 8]))
    yield call(x(3), x.integers(0, 3, 0), x(0))
    yield refused(IndexError, "[put] got", x(3), np.array([3]), x(1))
    yield refused(ValueError, "[put] got", x(3), np.array([1]), x(2))


def put_where(x, mask, source):
    y = np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape)).copy()
    y[np.broadcast_to(mask, y.shape)] = source.ravel()[: np.broadcast_to(mask, y.shape).sum()]
    return y


@op(reference=put_where, exact=True, lacks="C ONNX captured")
def masked_scatter(x):
    yield call(x(3, x.n), x.bools(3, x.n), x(3, x.n))
    yield call(x(3, 4), x.bools(4), x(4, 4))
    yield call(x.integers(0, 9, 5), x.bools(5), x.integers(0, 9, 5))
    yield call(x(3), np.array([False, False, False]), x(0))
    yield refused(
        ValueError, "[masked_scatter] got 1 elements for 2 places", x(2), np.array([True, True]), x(1)
    )
    yield refused(TypeError, "[masked_scatter] got mask of dtype", x(2), np.array([1, 1]), x(2))


def with_diagonal(x, fill_value, wrap=False):
    y = x.copy()
    np.fill_diagonal(y, fill_value, wrap)
    return y


@op(reference=with_diagonal, exact=True, lacks="C ONNX")
def fill_diagonal_(x):
    yield call(state(x(3, x.n)), 5.0)
    yield call(state(x(7, 2)), -1.0, wrap=True)
    yield call(state(x(3, 3, 3)), 2.0)
    yield call(state(x.integers(0, 9, 3, 3)), 4)
    yield refused(ValueError, "[fill_diagonal_] got x of shape (3,)", state(x(3)), 1.0)


def squared(value):
    return value * value


@op(reference=lambda x, function: function(x), exact=True, lacks="C ONNX captured")
def apply_(x):
    yield call(state(x(3, 4)), squared)
    yield call(state(x.integers(0, 9, 5)), squared)
    yield call(state(x(0)), squared)
    yield refused(RuntimeError, "[apply_] got a tensor that requires gradients", x(3), squared)


@op(reference=lambda x, other, function: np.maximum(x, other), exact=True, lacks="C ONNX limits captured")
def map_(x):
    yield call(state(x(3, 4)), fixed(x(4)), max)
    yield call(state(x.integers(0, 9, 5)), x.integers(0, 9, 5), max)
    yield refused(RuntimeError, "[map_] got a tensor that requires gradients", fixed(x(3)), x(3), max)
