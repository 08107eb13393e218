"""Samples of `ops/shape`: views, joins, parts, repeated and mirrored tensors.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np

from samples.sample import call, op, refused


def sizes_of(args):
    """(2, 3) of the arguments (2, 3) or ((2, 3),)"""
    return tuple(args[0]) if len(args) == 1 and np.ndim(args[0]) else args


def shaped(x, *sizes, shape=None):
    return x.reshape(shape or sizes_of(sizes))


def shapes(x):
    yield call(x(3, 4, x.n), 6, -1)
    yield call(x(3, 4, 5), (5, 12))
    yield call(x(1, 1), ())
    yield call(x(0, 3), 3, 0)
    yield call(x.integers(0, 9, 6), (2, 3))
    yield refused(ValueError, f"[{x.name}]", x(3, 4), 5, 2)
    yield refused(ValueError, f"[{x.name}]", x(3, 4), -1, -1)


op(shapes, names="reshape view", reference=shaped, exact=True)


@op(reference=lambda x, other: x.reshape(other.shape), exact=True, anything="other")
def reshape_as(x):
    yield call(x(3, 4), x(2, 6))
    yield call(x(0, 3), x.integers(0, 9, 3, 0))
    yield refused(ValueError, "[reshape_as] got shape (5,)", x(3, 4), x(5))
    yield refused(TypeError, "[reshape_as] got int; expected a Tensor", x(3, 4), 12)


@op(reference=lambda x, other: x.reshape(other.shape), exact=True, anything="other")
def view_as(x):
    yield call(x(3, 4), x(2, 6))
    yield refused(ValueError, "[view_as] got shape (5,)", x(3, 4), x(5))
    yield refused(TypeError, "[view_as] got int; expected a Tensor", x(3, 4), 12)


@op(reference=lambda x, other: np.broadcast_to(x, other.shape), exact=True, anything="other")
def expand_as(x):
    yield call(x(3, 1), x(2, 3, 4))
    yield refused(ValueError, "[expand_as] got", x(3), x(4))
    yield refused(TypeError, "[expand_as] got int; expected a Tensor", x(3), 3)


def merged(x, start_dim=0, end_dim=-1):
    start, end = start_dim % max(x.ndim, 1), end_dim % max(x.ndim, 1)
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :]) if x.size else x.reshape(0)


@op(reference=merged, exact=True)
def flatten(x):
    yield call(x(3, 4, x.n))
    yield call(x(3, 4, x.n, 2), 1, 2)
    yield call(x(3, 4, 5), start_dim=-2)
    yield call(x())
    yield call(x(0, 3))
    yield refused(ValueError, "[flatten] got", x(3, 4), 1, 0)


@op(reference=np.ravel, exact=True)
def ravel(x):
    yield call(x(3, x.n))
    yield call(x())
    yield call(x(0, 3))


def split_dimension(x, dim, sizes):
    at = dim % x.ndim
    return x.reshape(*x.shape[:at], *sizes, *x.shape[at + 1 :])


@op(reference=split_dimension, exact=True)
def unflatten(x):
    yield call(x(3, 12), 1, (2, 6))
    yield call(x(12, 3), dim=0, sizes=(2, -1, 3))
    yield refused(ValueError, "[unflatten] got sizes (5, 2)", x(3, 12), 1, (5, 2))


def wide(x, *sizes, size=None):
    sizes = size or sizes_of(sizes)
    own = (1,) * (len(sizes) - x.ndim) + x.shape
    return np.broadcast_to(x, [b if a == -1 else a for a, b in zip(sizes, own, strict=True)])


@op(reference=wide, exact=True)
def expand(x):
    yield call(x(2, 1), 3, -1, x.n)
    yield call(x(3, 1), (3, 5))
    yield call(x(x.n), 3, x.n)
    yield call(x(), 2)
    yield call(x(1, 3), 0, 3)
    yield refused(ValueError, "[expand]", x(2, 3), 4, 3)


@op(reference=np.broadcast_to, exact=True)
def broadcast_to(x):
    yield call(x(3, 1), (2, 3, x.n))
    yield call(x(), (4,))
    yield call(x.bools(3), (2, 3))
    yield refused(ValueError, "[broadcast_to]", x(2, 3), (4, 3))


def reversed_along(x, *axes, dims=None):
    return np.flip(x, dims or sizes_of(axes))


@op(reference=reversed_along, exact=True)
def flip(x):
    yield call(x(3, x.n, 5), 1)
    yield call(x(3, 4, x.n), (0, -1))
    yield call(x(3, 4), dims=(1,))
    yield call(x(0, 3), 0)
    yield call(x.integers(0, 9, 5), 0)
    yield refused(ValueError, "[flip] got dim 2", x(3, 4), (2,))


def mirrored(x):
    yield call(x(3, x.n))
    yield call(x(x.n, 3, 4))
    yield call(x.integers(0, 9, 2, 3))
    yield refused(ValueError, f"[{x.name}] got x of shape ()", x())


op(mirrored, names="fliplr", reference=np.fliplr, exact=True)
op(mirrored, names="flipud", reference=np.flipud, exact=True, lacks="0-d")


@op(reference=lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims), exact=True)
def rot90(x):
    yield call(x(3, 4))
    yield call(x(3, x.n), 2)
    yield call(x(2, 3, x.n), -1, (1, 2))
    yield call(x(3, 4), k=4)
    yield refused(ValueError, "[rot90] got dims (0,)", x(2, 2), dims=(0,))


def moved(x):
    yield call(x(2, 3, x.n), 0, 2)
    yield call(x(2, x.n, 4), (0, 1), (-1, 0))
    yield call(x.integers(0, 9, 2, 3), 0, 1)
    yield refused(IndexError, "got dim 3", x(2, 3, 4), 0, 3)


op(moved, names="movedim moveaxis", reference=np.moveaxis, exact=True)


@op(reference=lambda x, *order, dims=None: x.transpose(dims or sizes_of(order)), exact=True)
def permute(x):
    yield call(x(2, 3, x.n), 2, 0, 1)
    yield call(x(2, x.n, 4), (-1, 0, -2))
    yield call(x(2, 0), dims=(1, 0))
    yield call(x(), ())
    yield refused(ValueError, "[permute] got dims (0, 0)", x(2, 3), 0, 0)


def exchanged(x):
    yield call(x(2, 3, x.n), 0, -1)
    yield call(x(x.n, 3), 1, 0)
    yield call(x.integers(0, 9, 2, 3), 0, 1)
    yield refused(IndexError, "got dim 2 for 2 dimensions", x(2, 3), 0, 2)


op(exchanged, names="transpose swapdims swapaxes", reference=np.swapaxes, exact=True)


@op(reference=np.transpose, exact=True)
def t(x):
    yield call(x(3, x.n))
    yield call(x(3))
    yield call(x())
    yield refused(ValueError, "[t] got", x(2, 3, 4))


def without_ones(x, dim=None, *dims):
    if dim is None:
        return np.squeeze(x)
    dims = [d % x.ndim for d in (*(dim if isinstance(dim, tuple) else (dim,)), *dims)]
    return np.squeeze(x, tuple(d for d in dims if x.shape[d] == 1))


@op(reference=without_ones, exact=True)
def squeeze(x):
    yield call(x(1, x.n, 1))
    yield call(x(1, 3, 1), 0)
    yield call(x(1, 3, 1), (0, -1))
    yield call(x(1, 3, 1), 1)
    yield call(x(1, 0))
    yield refused(ValueError, "[squeeze] got dims (0, -2)", x(2, 3), (0, -2))


@op(reference=lambda x, dim: np.expand_dims(x, dim), exact=True, lacks="0-d")
def unsqueeze(x):
    yield call(x(3, x.n), 1)
    yield call(x(3, x.n), -1)
    yield call(x(), dim=0)
    yield refused(IndexError, "[unsqueeze] got dim 4", x(3, 4), 4)


def joined(tensors, dim=0):
    return np.concatenate([a for a in tensors if a.shape != (0,)], dim)


@op(reference=joined, exact=True, lacks="0-d")
def cat(x):
    yield call([x(2, x.n), x(1, x.n), x(4, x.n)])
    yield call([x(2, 3), x(2, x.n)], -1)
    yield call((x(2, 0), x(2, 3)), dim=1)
    yield call([x(0), x(2, 3)])
    yield call([x.integers(0, 9, 3), x.integers(0, 9, 2)])
    yield call([x.integers(0, 9, 3, x.n), x.integers(0, 9, 3, 2)], 1)
    yield refused(ValueError, "[cat] got shapes", [x(2, 3), x(3, 4)])
    yield refused(IndexError, "[cat] got dim 2", [x(2, 3)], 2)
    yield refused(ValueError, "[cat] got", [])


@op(reference=lambda tensors, dim=0: np.stack(tensors, dim), exact=True, lacks="0-d")
def stack(x):
    yield call([x(2, x.n), x(2, x.n)])
    yield call((x(2, x.n), x(2, x.n), x(2, x.n)), -1)
    yield call([x(), x()])
    yield call([x(3, x.n, 2) for _ in range(9)], 1)
    yield call([x.integers(0, 9, 3, x.n), x.integers(0, 9, 3, x.n)], dim=1)
    yield refused(ValueError, "[stack] got", [x(2, 3), x(3, 3)])


def side_by_side(x):
    yield call([x(2, x.n), x(2, x.n)])
    yield call((x(x.n), x(x.n)))
    yield call([x(), x()])
    yield call([x.integers(0, 9, 3)])
    yield refused(ValueError, "got", [x(2, 3), x(3, 4)])


op(side_by_side, names="hstack", reference=np.hstack, exact=True)
op(side_by_side, names="vstack", reference=np.vstack, exact=True)
op(side_by_side, names="column_stack", reference=np.column_stack, exact=True)


def at_least(x):
    yield call(x(2, 3))
    yield call(x(3))
    yield call(x())
    yield call(x(2), x())
    yield call(x.integers(0, 9, 3))
    yield refused(TypeError, f"[{x.name}] got str", "text")


op(at_least, names="atleast_1d", reference=np.atleast_1d, exact=True)
op(at_least, names="atleast_2d", reference=np.atleast_2d, exact=True)
op(at_least, names="atleast_3d", reference=np.atleast_3d, exact=True)


def parts(x, size, dim=0):
    ends = range(size, x.shape[dim], size) if np.ndim(size) == 0 else np.cumsum(size)[:-1]
    return np.split(x, ends, dim)


@op(reference=parts, exact=True, lacks="0-d")
def split(x):
    yield call(x(x.n, 3), 2)
    yield call(x(x.n, 5), (1, 4), 1)
    yield call(x(3, x.n), 5, dim=-1)
    yield call(x(0, 3), 2)
    yield refused(ValueError, "[split] got sizes (1, 3)", x(2, 3), (1, 3))


@op(reference=lambda x, chunks, dim=0: parts(x, -(-x.shape[dim] // chunks), dim), exact=True, lacks="0-d")
def chunk(x):
    yield call(x(x.n, 3), 3)
    yield call(x(3, x.n), 2, -1)
    yield call(x(3, 2), chunks=4)
    yield refused(ValueError, "[chunk] got 0 chunks", x(5), 0)


@op(reference=lambda x, where, dim=0: np.array_split(x, where, dim), exact=True, lacks="0-d")
def tensor_split(x):
    yield call(x(x.n, 3), 2)
    yield call(x(x.n, 5), (1, 4), 1)
    yield call(x(3, 5), [2, 2, 9], dim=-1)
    yield refused(ValueError, "[tensor_split] got x of shape ()", x(), 2)
    yield refused(ValueError, "[tensor_split] got 0 sections", x(5), 0)


@op(reference=lambda x, dim=0: list(np.moveaxis(x, dim, 0)), exact=True, lacks="0-d")
def unbind(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n, 5), -1)
    yield call(x(2, 0), dim=0)
    yield refused(IndexError, "[unbind] got", x(3, 4), 2)


@op(reference=lambda x, dim, start, length: np.take(x, np.arange(start, start + length), dim), exact=True)
def narrow(x):
    yield call(x(x.n, 5), 1, 1, 3)
    yield call(x(3, 5), -1, -2, 2)
    yield call(x(3, 5), dim=0, start=3, length=0)
    yield refused(ValueError, "[narrow] got start 2 and length 2 for a dimension of 3", x(2, 3), 1, 2, 2)
    yield refused(IndexError, "[narrow] got start 4", x(3), 0, 4, 0)


@op(reference=lambda x, dim, index: np.take(x, index, dim), exact=True)
def select(x):
    yield call(x(x.n, 5), 1, 2)
    yield call(x(3, x.n, 4), dim=-1, index=-2)
    yield call(x(3), 0, 1)
    yield refused(IndexError, "[select] got index 2 for a dimension of 2", x(2, 3), 0, 2)
    yield refused(TypeError, "[select] got index 1.5; expected a whole number", x(2, 3), 0, 1.5)


def repeated(x):
    yield call(x(2, x.n), 2, 1)
    yield call(x(2, x.n), (3, 1, 2))
    yield call(x(2, 3), 0, 1)
    yield call(x(), 3)
    yield call(x.integers(0, 9, 3), 2)
    yield refused(ValueError, f"[{x.name}] got", x(2, 3), -1, 1)
    yield refused(TypeError, f"[{x.name}] got b'mean'; expected whole numbers", x(2), b"mean")


op(repeated, names="repeat tile", reference=lambda x, *n: np.tile(x, sizes_of(n)), exact=True)


@op(
    reference=lambda x, repeats, dim=None, output_size=None: np.repeat(x, repeats, dim),
    exact=True,
    lacks="0-d",
)
def repeat_interleave(x):
    yield call(x(2, x.n), 2)
    yield call(x(x.n, 3), 3, -2)
    yield call(x(2, 3), [2, 0, 1], 1).without("PyTorch takes no list", "pytorch")
    yield call(x.integers(0, 9, x.n, 3), 3, 0)
    yield call(x(2, 3), np.array([2, 1]), dim=0, output_size=3)
    yield refused(ValueError, "[repeat_interleave] got repeats [1, 2]", x(2, 3), [1, 2], 1)


@op(reference=lambda x, shifts, dims=None: np.roll(x, shifts, dims), exact=True, lacks="0-d")
def roll(x):
    yield call(x(3, x.n), 5)
    yield call(x(3, x.n), -1, 1)
    yield call(x(x.n, 4), shifts=(1, -2), dims=(0, -1))
    yield call(x.integers(0, 9, 5, x.n), 10**9, 1)
    yield call(x(0, 3), 1, 0)
    yield refused(ValueError, "[roll] got 2 shifts and 1 dims; expected as many", x(3, 4), (1, 2), 0)
    yield refused(ValueError, "[roll] got 2 shifts without dims; expected one", x(3, 4), (1, 2))


@op(reference=lambda *arrays, indexing="ij": np.meshgrid(*arrays, indexing=indexing), exact=True)
def meshgrid(x):
    yield call(x(2), x(3), x(x.n))
    yield call(x(2), x(3), indexing="xy")
    yield call(x(2))
    yield refused(ValueError, "[meshgrid] got shapes (2, 3); expected vectors", x(2, 3))
    yield refused(ValueError, "[meshgrid] got indexing 'a'", x(2), indexing="a")


def diagonal_by_numpy(x, offset=0, dim1=0, dim2=1):
    return np.diagonal(x, offset, dim1, dim2)


@op(reference=diagonal_by_numpy, exact=True)
def diagonal(x):
    yield call(x(3, x.n))
    yield call(x(2, x.n, 4), 1, 0, 2)
    yield call(x(2, 3, 4), offset=-1, dim1=-1, dim2=0)
    yield call(x(3, 4), 9)
    yield refused(ValueError, "[diagonal] got dimension 1 twice", x(2, 3), 0, 1, -1)


@op(reference=np.trace, terms=lambda x: min(x.shape), autocast="float32")
def trace(x):
    yield call(x(5, x.n))
    yield call(x.integers(0, 9, 3, 3))
    yield call(x(0, 3))
    yield refused(ValueError, "[trace] got x of shape (3,); expected 2 dimensions", x(3))


def triangles(x):
    yield call(x(5, x.n))
    yield call(x(2, x.n, 3), 1)
    yield call(x(4, 4), diagonal=-2)
    yield call(x(0, 3))
    yield call(x.integers(0, 9, 3, 3))
    yield call(np.array([[np.nan, np.inf], [np.inf, np.nan]]))
    yield refused(ValueError, f"[{x.name}] got x of shape (3,)", x(3))


op(triangles, names="tril", reference=lambda x, diagonal=0: np.tril(x, diagonal), exact=True, lacks="jet")
op(triangles, names="triu", reference=lambda x, diagonal=0: np.triu(x, diagonal), exact=True, lacks="jet")
