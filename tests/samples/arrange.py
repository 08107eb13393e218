"""Samples of `ops/shape`: diagonals, combinations, windows and views of memory.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import itertools

import numpy as np
import ranvier as rv
from numpy.lib import stride_tricks

from samples.sample import call, fixed, op, refused


@op(reference=np.argwhere, lacks="C ONNX captured")
def argwhere(x):
    yield call(x.integers(0, 2, 3, x.n))
    yield call(x.bools(x.n))
    yield call(fixed(np.array(2.0)))
    yield call(x.integers(0, 2, 0, 3))


def view_of_memory(x, size, stride, storage_offset=0):
    memory = x.ravel()[storage_offset or 0 :]
    return stride_tricks.as_strided(memory, size, [step * x.itemsize for step in stride])


@op(reference=view_of_memory, exact=True, lacks="C ONNX captured")
def as_strided(x):
    yield call(x(3, 4), (2, 3), (4, 1))
    yield call(x(3, 4), (2, 3), (1, 2), 3)
    yield call(x(5), (2, 4), (1, 1))
    yield call(x(5), (), (), storage_offset=2)
    yield refused(ValueError, "[as_strided] got size (2, 3)", x(3), (2, 3), (3, 1))
    yield refused(ValueError, "[as_strided] got size (2, 3)", x(0), (2, 3), (1, 1))


@op(lacks="C ONNX", anything="shapes")
def broadcast_shapes(x):
    yield call((2, 1), (3,))
    yield call((), (0, 1), (4,))
    yield refused(ValueError, "[broadcast_shapes] got (2,), (3,)", (2,), (3,))


@op(reference=np.broadcast_arrays, exact=True)
def broadcast_tensors(x):
    yield call(x(2, 1), x(x.n))
    yield call(x(2, 3), x(), x.integers(0, 9, 1, 3))
    yield refused(ValueError, "got", x(2), x(3))


def all_rows(*vectors):
    return np.array(list(itertools.product(*vectors))) if len(vectors) > 1 else vectors[0]


@op(reference=all_rows, exact=True, lacks="0-d")
def cartesian_prod(x):
    yield call(x(2), x(x.n))
    yield call(x(2), x(3), x(1))
    yield call(x(2))
    yield call(x.integers(0, 9, 2), x.integers(0, 9, 2))
    yield refused(ValueError, "[cartesian_prod] got shapes [(2, 3)]", x(2, 3))


def subsets(x, r=2, with_replacement=False):
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return np.array(list(choose(x, r))).reshape(-1, r)


@op(reference=subsets, exact=True, lacks="0-d")
def combinations(x):
    yield call(x(4))
    yield call(x(3), 3)
    yield call(x(3), r=2, with_replacement=True)
    yield call(x.integers(0, 9, 3), 5)
    yield refused(ValueError, "[combinations] got x of shape (2, 3)", x(2, 3))


@op(reference=np.diag, exact=True, lacks="jet 0-d")
def diag(x):
    yield call(x(3))
    yield call(x(3, x.n))
    yield call(x(3), -2)
    yield call(x(3, 4), 1)
    yield call(x.integers(0, 9, 3))
    yield refused(ValueError, "[diag] got x of shape (1, 2, 3)", x(1, 2, 3))


def on_diagonal(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    y = np.zeros((*x.shape[:-1], n, n), x.dtype)
    rows = np.arange(x.shape[-1])
    y[..., rows - min(offset, 0), rows + max(offset, 0)] = x
    return np.moveaxis(y, (-2, -1), (dim1, dim2))


@op(reference=on_diagonal, exact=True, lacks="jet 0-d")
def diag_embed(x):
    yield call(x(3))
    yield call(x(x.n, 3), 1)
    yield call(x(2, 3), offset=-1, dim1=0, dim2=-1)
    yield call(x.integers(0, 9, 3))
    yield refused(ValueError, "[diag_embed] got dim1 0 and dim2 0", x(3), 0, 0, 0)
    yield refused(IndexError, "[diag_embed] got x of shape ()", x())
    yield refused(IndexError, "[diag_embed] got dim 9", x(2), dim1=9)


def triangle_places(x):
    yield call(3, 4)
    yield call(4, 3, 1)
    yield call(4, 3, offset=-2)
    yield call(2, 2, dtype=rv.int32)
    yield call(0, 3)


for _name, _places in (("tril_indices", np.tril_indices), ("triu_indices", np.triu_indices)):
    op(
        triangle_places,
        names=_name,
        reference=lambda row, col, offset=0, dtype=None, f=_places: np.stack(f(row, offset, col)),
        lacks="C ONNX captured",
    )


def windows(x, dimension, size, step):
    at = dimension % x.ndim
    every = stride_tricks.sliding_window_view(x, size, at)
    return every[(slice(None),) * at + (slice(None, None, step),)]


def windows_along(x):
    yield call(x(x.n, 9), 1, 3, 2)
    yield call(x(9), 0, 4, 1)
    yield call(x(4, 3, 2), -3, 2, 3)
    yield call(x.integers(0, 9, 5), 0, 2, 2)
    yield refused(ValueError, "[unfold] got", x(3), 0, 4, 1)


def unfolded(x, *args):
    return x.unfold(*args)


op(windows_along, names="unfold_along", of=unfolded, reference=windows, exact=True, lacks="captured")
