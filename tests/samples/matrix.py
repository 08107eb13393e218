"""Samples of the products of `ops/matrix`: matmul and its forms, sums of products, distances.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np
from reference import matmul as reference

from samples.sample import call, fixed, many, op, refused


def inner_length(a, b, **settings):
    """The terms of each sum of a product."""
    return a.shape[-1] if a.ndim else 1


@op(reference=np.matmul, terms=inner_length, lacks="promotion 0-d", autocast="lower")
def matmul(x):
    yield call(x(3, x.n), x(x.n, 5))
    yield call(x(2, 1, 3, 4), x(5, 4, 2))
    yield call(x(4), x(4))
    yield call(x(3, 4), x(4))
    yield call(x(4), x(2, 4, 3))
    yield call(x(3, 0), x(0, 5))
    yield call(x(63, 65), x(65, 97))
    m, k, n = x.size(1, 70), x.size(1, 70), x.size(1, 70)
    yield call(x(m, k), x(k, n))
    yield call(x(x.size(0, 3), 1, m, k), x(x.size(1, 3), k, n))
    yield call(x(*x.shape(most=2, high=3), m, k), x(k))
    yield call(x(k), x(*x.shape(most=2, high=3), k, n))
    yield call(x.integers(-9, 9, 3, 4), x.integers(-9, 9, 4, 5))
    yield refused(ValueError, "[matmul] got", x(3, 4), x(3, 4))
    yield refused(ValueError, "[matmul] got", x(), x(3))
    two, three = x.integers(0, 5, 1, 2), x.integers(0, 5, 3)
    yield refused(ValueError, "[matmul] got a of shape (1, 2) and b of shape (3,)", two, three)


@op(reference=np.matmul, terms=inner_length, lacks="promotion", autocast="lower")
def mm(x):
    yield call(x(3, x.n), x(x.n, 5))
    yield call(x(1, 33), x(33, 2))
    yield call(x(0, 4), x(4, 2))
    m, k = x.size(1, 20), x.size(1, 20)
    yield call(x(m, k), x(k, x.size(1, 20)))
    yield refused(ValueError, "[mm] got", x(3, 4), x(4))


@op(reference=np.matmul, terms=inner_length, lacks="promotion", autocast="lower")
def bmm(x):
    yield call(x(2, 3, 4), x(2, 4, 5))
    yield call(x(0, 3, 4), x(0, 4, 5))
    n, k = x.size(0, 20), x.size(1, 20)
    yield call(x(n, x.size(1, 20), k), x(n, k, x.size(1, 20)))
    yield refused(ValueError, "[bmm] got", x(2, 3, 4), x(3, 4, 5))


@op(reference=np.matmul, terms=inner_length, lacks="promotion")
def mv(x):
    yield call(x(3, x.n), x(x.n))
    yield call(x(3, 0), x(0))
    yield refused(ValueError, "[mv] got", x(3, x.n), x(3))


@op(reference=np.dot, terms=inner_length, lacks="promotion 0-d")
def dot(x):
    yield call(x(x.n), x(x.n))
    yield call(x(0), x(0))
    yield refused(ValueError, "[dot] got", x(3), x(4))


op(
    lambda x: iter([call(x(3), x(7)), call(x(0), x(2)), call(x(1), x(1))]),
    names="outer ger",
    reference=np.outer,
    lacks="0-d",
)


@op(reference=np.inner, terms=inner_length, lacks="promotion", autocast="lower")
def inner(x):
    yield call(x(3, x.n), x(5, x.n))
    yield call(x(x.n), x(x.n))
    yield call(x(2, 3), x())


@op(reference=reference.linear, terms=lambda x, w, *b: x.shape[-1], lacks="promotion 0-d", autocast="lower")
def linear(x):
    yield call(x(3, x.n), x(5, x.n), x(5))
    yield call(x(2, 3, 4), x(5, 4))
    yield call(x(x.n), x(5, x.n), x(5))
    yield call(x(0, x.n), x(5, x.n), x(5))
    yield call(x(3, 0), x(5, 0), x(5))
    yield call(x(3, 2, 4), x(0, 4), x(0))
    yield call(x.integers(-9, 9, 3, 4), x.integers(-9, 9, 5, 4), x.integers(-9, 9, 5))
    k, n = x.size(1, 70), x.size(1, 70)
    yield call(x(*x.shape(most=3), k), x(n, k), x(n))
    yield refused(ValueError, "[linear] got", x(3, x.n), x(5, 6))
    yield refused(TypeError, "[linear] got", "text", x(5, 6))


@op(terms=lambda added, a, b, **settings: a.shape[1] + 1, autocast="lower")
def addmm(x):
    yield call(x(3, 5), x(3, x.n), x(x.n, 5))
    yield call(x(5), x(3, x.n), x(x.n, 5), beta=0.5, alpha=2)
    yield call(x(), x(3, 0), x(0, 5), beta=0.3)
    yield refused(ValueError, "[addmm] got", x(3), x(3, x.n), x(x.n, 5))


@op(autocast="lower")
def baddbmm(x):
    yield call(x(2, 3, 5), x(2, 3, 4), x(2, 4, 5))
    yield call(x(5), x(2, 3, 4), x(2, 4, 5), beta=0.5, alpha=2)


def any_equation(x):
    """One to three operands of up to three of five letters, and a result of some of them."""
    sizes = {letter: x.size(1, 5) for letter in "abcde"}
    names = ["".join(x.rng.permutation(list(sizes))[: x.size(0, 3)]) for _ in range(x.size(1, 3))]
    used = sorted(set("".join(names)))
    right = "".join(x.rng.permutation(used)[: x.size(0, len(used))]) if used else ""
    arrays = [x(*(sizes[letter] for letter in name)) for name in names]
    return f"{','.join(names)}->{right}", *arrays


@op(
    reference=lambda equation, *xs: np.einsum(equation, *xs),
    terms=lambda *args: 5**4,  # four letters of size 5, as in any_equation
    lacks="limits rounding promotion 0-d",
    autocast="lower",
)
def einsum(x):
    yield call("ij,kj->ik", x(3, 7), x(5, 7))
    yield call("bij,bjk->bik", x(2, 3, 4), x(2, 4, 5))
    yield call("ij,jk", x(7, 3), x(3, 5))
    yield call("bhqd,bhkd->bhqk", x(2, 3, 4, 5), x(2, 3, 6, 5))
    yield call("i,j,k->", x(2), x(3), x(4))
    yield call("ij->", x(2, 3))
    yield call("ba", x(2, 3))
    yield call("ii", x(3, 3))
    yield call("ii->i", x(4, 4))
    yield call("iij->j", x(3, 3, 2))
    yield call("iij,jj->i", x(3, 3, 2), x(2, 2))
    yield call("...ij,...jk->...ik", x(2, 1, 3, 4), x(5, 4, 2))
    yield call("a...b,b...c->...ac", x(2, 5, 3), x(3, 5, 4))
    yield call(",ij->ij", x(), x(2, 3))
    yield call("bn,anm,bm->ba", x(2, 3), x(4, 3, 5), x(2, 5))
    yield call(*any_equation(x))
    yield refused(ValueError, "[einsum] got", "ij,jk", x(3, 4), x(3, 4))


@op(
    reference=lambda a, b, dims=2: np.tensordot(a, b, dims),
    terms=lambda *args, **settings: 3 * 4,  # for the first sample, over two dimensions
    lacks="promotion",
    autocast="lower",
)
def tensordot(x):
    yield call(x(2, 3, 4), x(3, 4, 5))
    yield call(x(3, 4), x(5, 3), dims=([0], [1]))
    yield call(x(3), x(4), dims=0)
    yield refused(ValueError, "[tensordot] got dimensions", x(5, 2, 6), x(3, 4, 5))


@op(reference=np.kron)
def kron(x):
    yield call(x(2, 3), x(3, 2))
    yield call(x(3), x(2, 2))


@op(reference=lambda a, b, dim=None: np.cross(a, b, axis=-1 if dim is None else dim), terms=lambda *a, **s: 2)
def cross(x):
    yield call(x(4, 3), x(4, 3), 1)
    yield call(x(3, 5), x(3, 5), dim=0)
    yield refused(ValueError, "[cross] got", x(4, 2), x(4, 2), 1)
    yield refused(ValueError, "[cross] got shapes (2, 3) and (4,)", x(2, 3), x(4))


@op
def block_diag(x):
    yield call(x(2, 3), x(4), x())
    yield call(x(1, 1))


@op(
    of="linalg.vecdot",
    reference=lambda a, b, dim=-1: (a * b).sum(dim),
    terms=lambda a, b, **s: a.size,
    autocast="lower",
)
def linalg_vecdot(x):
    yield call(x(3, 7), x(3, 7))
    yield call(x(3, 7), x(7), dim=-1)


def distances(x1, x2, p=2.0):
    return (np.abs(x1[..., :, None, :] - x2[..., None, :, :]) ** p).sum(-1) ** (1 / p)


@op(reference=distances, terms=many, lacks="written", apart="infinity", autocast="float32")
def cdist(x):
    yield call(x(3, x.n), x(5, x.n))
    yield call(x(2, 3, 4), x(2, 5, 4), p=1.0)
    yield call(x(3, 4), x(2, 4), p=3.0)
    yield call(x(0, 4), x(2, 4))
    yield refused(ValueError, "[cdist] got", x(3, 4), x(3, 5))
    yield refused(ValueError, "[cdist] got p -2", x(3, 4), x(3, 4), -2)


@op(lacks="written C-infinity", apart="infinity")
def pdist(x):
    yield call(x(4, x.n))
    yield call(x(4, 3), p=1.0)
    yield call(x(1, 3))
    yield refused(ValueError, "[pdist] got p -1", x(4, 3), -1)


@op(lacks="written C-infinity", apart="NaN")
def dist(x):
    yield call(x(3, x.n), x(3, x.n))
    yield call(x(3, x.n), x(x.n), 4)
    yield call(x(5), x(5), p=1)


@op(lacks="0-d C-infinity", apart="NaN")
def renorm(x):
    yield call(x(3, 7), 2, 0, 0.5)
    yield call(x(2, 3, 4), 1, 1, 2.0)
    yield refused(ValueError, "[renorm] got maxnorm -1", x(2, 2), 2, 0, -1)
    yield refused(ValueError, "[renorm] got p -2", x(3, 7), -2, 0, 0.5)


@op(
    reference=lambda x, correction=1, **_: np.cov(x, ddof=correction),
    terms=lambda x, **s: 2 * x.shape[-1],  # a mean, and a sum of products of what is left
    autocast="lower",
)
def cov(x):
    yield call(x(3, 7))
    yield call(x(7), correction=0)
    yield refused(TypeError, "[cov] got fweights", x(2, 2), fweights=x(2))
    yield refused(ValueError, "[cov] got a negative", x(2, 2), aweights=np.array([1.0, -1.0]))


@op(of="cov", lacks="C ONNX NaN 0-d captured", apart="ties NaN infinity", autocast="lower")
def cov_weighted(x):
    yield call(x(3, 7), fweights=x.integers(1, 4, 7))
    yield call(x(3, 7), aweights=fixed(x(7, low=0.5)))


@op(reference=np.corrcoef, terms=lambda x: 2 * x.shape[-1], autocast="lower")
def corrcoef(x):
    yield call(x(3, 7))
    yield call(x(7))


@op(lacks="promotion")
def bilinear(x):
    yield call(x(4, 3), x(4, 5), x(2, 3, 5), x(2))
    yield call(x(2, 4, 3), x(2, 4, 3), x(2, 3, 3))
