"""Products and sums of products: composed of matmul and the element-wise ops, which give the gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.arithmetic import add, mul, sub
from ranvier.ops.elementwise.dtypes import as_tensor, common_dtype, is_floating
from ranvier.ops.elementwise.where import where
from ranvier.ops.matmul import matmul
from ranvier.ops.norms import norm
from ranvier.ops.reduce import sum as total
from ranvier.ops.shape import movedim, permute, reshape, some_dim, unsqueeze


def _plus(x: Any, product: Tensor, beta: float, alpha: float) -> Tensor:
    kind = common_dtype([as_tensor("addmm", x).dtype, product.dtype])
    if kind.kind in "biu":  # integers stay integers: the numbers lose their fractions
        beta, alpha = kind.type(beta).item(), kind.type(alpha).item()
    if alpha != 1:
        product = mul(product, alpha)
    if beta == 0:  # NaN in x has no effect, as in BLAS
        shape = np.broadcast_shapes(as_tensor("addmm", x).shape, product.shape)
        return product if product.shape == shape else product.broadcast_to(shape)
    return add(x if beta == 1 else mul(x, beta), product)


def _matrices(name: str, a: Any, b: Any, dims: tuple[int, int]) -> tuple[Tensor, Tensor]:
    a, b = as_tensor(name, a), as_tensor(name, b)
    if (a.ndim, b.ndim) != dims:
        raise ValueError(
            f"[{name}] got shapes {a.shape} and {b.shape}; expected {dims[0]} and {dims[1]} dimensions"
        )
    return a, b


def addmm(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha a b: a (m, k), b (k, n), x broadcasts to (m, n).

    >>> import ranvier as rv
    >>> rv.addmm(rv.ones(2), rv.eye(2), rv.eye(2), alpha=3)
    tensor([[4., 1.],
            [1., 4.]])
    """
    return _plus(x, matmul(*_matrices("addmm", a, b, (2, 2))), beta, alpha)


def addmv(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha a b: a (m, k), b (k), x broadcasts to (m).

    >>> import ranvier as rv
    >>> rv.addmv(rv.ones(2), rv.ones(2, 3), rv.ones(3))
    tensor([4., 4.])
    """
    return _plus(x, matmul(*_matrices("addmv", a, b, (2, 1))), beta, alpha)


def addr(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha a b^T: a (m), b (n), x broadcasts to (m, n).

    >>> import ranvier as rv
    >>> rv.addr(rv.zeros(2, 2), rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = _matrices("addr", a, b, (1, 1))
    return _plus(x, mul(unsqueeze(a, 1), b), beta, alpha)


def baddbmm(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha a b for each matrix: a (n, m, k), b (n, k, p), x broadcasts to (n, m, p).

    >>> import ranvier as rv
    >>> rv.baddbmm(rv.ones(1, 1, 1), rv.ones(1, 1, 3), rv.ones(1, 3, 1))
    tensor([[[4.]]])
    """
    return _plus(x, matmul(*_matrices("baddbmm", a, b, (3, 3))), beta, alpha)


def addbmm(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha (sum of the products a[i] b[i]): a (n, m, k), b (n, k, p), x broadcasts to (m, p).

    >>> import ranvier as rv
    >>> rv.addbmm(rv.zeros(1, 1), rv.ones(2, 1, 3), rv.ones(2, 3, 1))
    tensor([[6.]])
    """
    return _plus(x, total(matmul(*_matrices("addbmm", a, b, (3, 3))), 0), beta, alpha)


def inner(a: Any, b: Any) -> Tensor:
    """The sum of products over the last dimension: (..., k), (..., k) -> (*a.shape[:-1], *b.shape[:-1]).

    >>> import ranvier as rv
    >>> rv.inner(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a, b = as_tensor("inner", a), as_tensor("inner", b)
    if a.ndim == 0 or b.ndim == 0:
        return mul(a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"[inner] got shapes {a.shape} and {b.shape}; expected equal last dimensions")
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 1]))


def vdot(a: Any, b: Any) -> Tensor:
    """The sum of the products of two vectors of equal length.

    >>> import ranvier as rv
    >>> rv.vdot(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a, b = _matrices("vdot", a, b, (1, 1))
    return matmul(a, b)


def ger(a: Any, b: Any) -> Tensor:
    """y[i, j] = a[i] b[j]: see :func:`ranvier.outer`.

    >>> import ranvier as rv
    >>> rv.ger(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = _matrices("ger", a, b, (1, 1))
    return mul(unsqueeze(a, 1), b)


def tensordot(a: Any, b: Any, dims: Any = 2) -> Tensor:
    """The sum of products over pairs of dimensions: the last dims of a with the first of b, or two lists.

    Raises ValueError for dimensions of different sizes.

    >>> import ranvier as rv
    >>> rv.tensordot(rv.ones(2, 3), rv.ones(3, 4), dims=1).shape
    (2, 4)
    """
    a, b = as_tensor("tensordot", a), as_tensor("tensordot", b)
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ValueError(
                f"[tensordot] got dims {dims} for shapes {a.shape} and {b.shape}; expected fewer"
            )
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left = [some_dim("tensordot", a, d) for d in dims[0]]
        right = [some_dim("tensordot", b, d) for d in dims[1]]
    for i, j in zip(left, right, strict=False):  # size 1 is repeated: the sum over the other's dimension
        if a.shape[i] == 1 != b.shape[j]:
            b = total(b, j, True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = total(a, i, True)
    if len(left) != len(right) or any(a.shape[i] != b.shape[j] for i, j in zip(left, right, strict=True)):
        raise ValueError(
            f"[tensordot] got dimensions {left} of shape {a.shape} and {right} of shape {b.shape}; expected "
            "equal sizes"
        )
    rows = [d for d in range(a.ndim) if d not in left]
    columns = [d for d in range(b.ndim) if d not in right]
    shape = (*(a.shape[d] for d in rows), *(b.shape[d] for d in columns))
    k = math.prod(a.shape[d] for d in left)
    first = reshape(permute(a, (*rows, *left)), (math.prod(a.shape[d] for d in rows), k))
    second = reshape(permute(b, (*right, *columns)), (k, math.prod(b.shape[d] for d in columns)))
    return reshape(matmul(first, second), shape)


def kron(a: Any, b: Any) -> Tensor:
    """The Kronecker product: y[i p + k, j q + l] = a[i, j] b[k, l], in any number of dimensions.

    >>> import ranvier as rv
    >>> rv.kron(rv.tensor([1.0, 10.0]), rv.tensor([1.0, 2.0]))
    tensor([ 1.,  2., 10., 20.])
    """
    a, b = as_tensor("kron", a), as_tensor("kron", b)
    n = max(a.ndim, b.ndim)
    left, right = ((1,) * (n - x.ndim) + tuple(x.shape) for x in (a, b))
    wide = mul(
        reshape(a, tuple(s for m in left for s in (m, 1))),
        reshape(b, tuple(s for m in right for s in (1, m))),
    )
    return reshape(wide, tuple(p * q for p, q in zip(left, right, strict=True)))


def dist(a: Any, b: Any, p: float = 2) -> Tensor:
    """The p-norm of a - b.

    >>> import ranvier as rv
    >>> rv.dist(rv.tensor([3.0, 0.0]), rv.tensor([0.0, 4.0]))
    tensor(5.)
    """
    return norm(sub(a, b), p)


def cdist(a: Any, b: Any, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """y[.., i, j] = the p-norm of a[.., i, :] - b[.., j, :]: (..., m, d), (..., n, d) -> (..., m, n).

    The differences are formed, which is exact for points close together; compute_mode is not used.

    >>> import ranvier as rv
    >>> rv.cdist(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    a, b = as_tensor("cdist", a), as_tensor("cdist", b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"[cdist] got shapes {a.shape} and {b.shape}; expected (..., m, d) and (..., n, d)")
    if a.shape[-1] == 0:
        return total(mul(unsqueeze(a, -2), unsqueeze(b, -3)), -1)
    return norm(sub(unsqueeze(a, -2), unsqueeze(b, -3)), p, -1)


def cross(a: Any, b: Any, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three elements along dim, by default the first of size 3.

    >>> import ranvier as rv
    >>> rv.cross(rv.tensor([1.0, 0.0, 0.0]), rv.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    a, b = as_tensor("cross", a), as_tensor("cross", b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    if dim is None:
        dim = next((d for d, n in enumerate(shape) if n == 3), None)
    if dim is None or not -len(shape) <= dim < len(shape) or shape[dim] != 3:
        raise ValueError(f"[cross] got shapes {a.shape} and {b.shape}; expected size 3 in dimension {dim}")
    a, b = movedim(a.broadcast_to(shape), dim, 0), movedim(b.broadcast_to(shape), dim, 0)
    from ranvier.ops.repeat import roll

    y = sub(mul(roll(a, -1, 0), roll(b, -2, 0)), mul(roll(a, -2, 0), roll(b, -1, 0)))
    return movedim(y, 0, dim)


def cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """The covariance of the rows of x (variables, samples): (d, n) -> (d, d); a vector is one variable.

    fweights: how often each sample counts (integers); aweights: its weight. Divided by n - correction.

    >>> import ranvier as rv
    >>> rv.cov(rv.tensor([[0.0, 2.0], [1.0, 5.0]]))
    tensor([[2., 4.],
            [4., 8.]])
    """
    x = as_tensor("cov", x)
    if x.ndim > 2:
        raise ValueError(f"[cov] got x of shape {x.shape}; expected at most two dimensions")
    if not is_floating(x):
        x = x.float()
    rows = reshape(x, (1, -1)) if x.ndim < 2 else x
    weights = None
    for w in (fweights, aweights):
        if w is not None:
            w = as_tensor("cov", w)
            if w.shape != (rows.shape[1],):
                raise ValueError(f"[cov] got weights of shape {w.shape}; expected ({rows.shape[1]},)")
            weights = w.to(x.dtype) if weights is None else mul(weights, w.to(x.dtype))
    if weights is None:
        n: Any = rows.shape[1]
        centred = sub(rows, total(rows, 1, True) / n)
        product = matmul(centred, centred.T)
        degrees: Any = max(n - correction, 0)
    else:
        n = total(weights)
        centred = sub(rows, total(mul(rows, weights), 1, True) / n)
        product = matmul(mul(centred, weights), centred.T)
        used = n if aweights is None else total(mul(weights, as_tensor("cov", aweights).to(x.dtype))) / n
        degrees = n - correction * (1 if aweights is None else used)
        degrees = degrees.clamp(min=0)
    y = product / degrees
    return reshape(y, ()) if rows.shape[0] == 1 else y


def corrcoef(x: Any) -> Tensor:
    """The correlation of the rows of x (variables, samples), limited to [-1, 1]: (d, n) -> (d, d).

    >>> import ranvier as rv
    >>> rv.corrcoef(rv.tensor([[0.0, 2.0], [5.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(x)
    if c.ndim == 0:
        return c / c
    d = c.diagonal().sqrt()
    return (c / unsqueeze(d, 1) / d).clamp(-1, 1)


def renorm(x: Any, p: float, dim: int, maxnorm: float) -> Tensor:
    """x, each slice along dim scaled down to the p-norm maxnorm where its norm is greater.

    >>> import ranvier as rv
    >>> rv.renorm(rv.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    x = as_tensor("renorm", x)
    at = some_dim("renorm", x, dim)
    others = tuple(d for d in range(x.ndim) if d != at)
    size = norm(x, p, others, True)
    return mul(x, where(size > maxnorm, maxnorm / (size + 1e-7), 1.0))


def block_diag(*matrices: Any) -> Tensor:
    """The matrices along the diagonal of a larger one that is 0 elsewhere; vectors are rows.

    >>> import ranvier as rv
    >>> rv.block_diag(rv.ones(1, 2), rv.ones(1, 1))
    tensor([[1., 1., 0.],
            [0., 0., 1.]])
    """
    from ranvier.ops.join import cat
    from ranvier.ops.layers.pad import pad

    parts = [as_tensor("block_diag", m) for m in matrices]
    for m in parts:
        if m.ndim > 2:
            raise ValueError(f"[block_diag] got a tensor of shape {m.shape}; expected at most two dimensions")
    dtype = common_dtype([m.dtype for m in parts]) if parts else np.dtype(np.float32)
    parts = [reshape(m.to(dtype), (1, -1)) if m.ndim < 2 else m.to(dtype) for m in parts]
    width = 0
    rows, every = [], sum(m.shape[1] for m in parts)
    for m in parts:
        rows.append(pad(m, (width, every - width - m.shape[1])))
        width += m.shape[1]
    from ranvier.autograd.creation import zeros

    return cat(rows, 0) if rows else zeros(1, 0)
