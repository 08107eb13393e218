"""Products and sums of products: composed of matmul and the element-wise ops, which give the gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.arithmetic import add, mul, sub
from ranvier.ops.elementwise.choice import masked_fill, where
from ranvier.ops.elementwise.dtypes import (
    Array,
    alike,
    as_tensor,
    common_shape,
    floating,
    is_floating,
    result_dtype,
)
from ranvier.ops.elementwise.functions import abs
from ranvier.ops.matrix.matmul import WideMatmul, matmul, mm, of_dims
from ranvier.ops.neural.distance import distances
from ranvier.ops.reduction.norms import norm
from ranvier.ops.reduction.reduce import amax, mean, sum as total
from ranvier.ops.shape.reshape import movedim, permute, reshape, some_dim, unsqueeze
from ranvier.tape.function import Dtypes, by_kernel, in_dtypes, rounded, single
from ranvier.tensors.errors import number, one_of, whole
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.memory import HALVES, all_slices, is_batched
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


@in_dtypes(Dtypes(halves="own", autocast="lower"))
def _plus(x: TensorLike, a: Tensor, b: Tensor, beta: float, alpha: float) -> Tensor:
    """beta x + alpha a b; for half floats the sum is computed in float32 and rounded once."""
    own = a._array.dtype
    if own in HALVES and own == b._array.dtype == result_dtype(as_tensor("addmm", x), own):
        # The product has this factor already. `_sum` gets alpha / scale, which is 1, or 0 for alpha 0.
        scale = 1 if alpha == 0 else alpha
        x = as_tensor("addmm", x)
        return rounded(_sum(single(x), WideMatmul(scale).apply(a, b), beta, alpha / scale), own)
    return _sum(x, matmul(a, b), beta, alpha)


def _sum(x: TensorLike, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta x + alpha product, where x broadcasts to the product."""
    shape = np.shape(x)
    pairs = zip(shape[::-1], product.shape[::-1], strict=False)
    if len(shape) > product.ndim or any(n not in (1, m) for n, m in pairs):
        raise OpError(
            f"[addmm] got x of shape {shape} and a product of shape {product.shape}; expected x to broadcast "
            "to the product"
        )
    kind = result_dtype(as_tensor("addmm", x)._array.dtype, product._array.dtype)
    if kind.kind in "biu":  # The result has integers, so alpha and beta lose their fractions.
        beta = kind.type(beta).item()
        alpha = kind.type(alpha).item()
    if alpha == 0:  # nor has NaN in the factors
        product = masked_fill(product, wrap(np.array(True)), 0)
    elif alpha != 1:
        product = mul(product, alpha)
    if beta == 0:  # NaN in x has no effect, as in BLAS
        return product
    if beta != 1:
        x = mul(x, beta)
    return add(x, product)


def addmm(
    input: TensorLike, mat1: TensorLike, mat2: TensorLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta x + alpha a b: a (m, k), b (k, n), x broadcasts to (m, n).

    >>> import ranvier as rv
    >>> rv.addmm(rv.ones(2), rv.eye(2), rv.eye(2), alpha=3)
    tensor([[4., 1.],
            [1., 4.]])
    """
    return _addmm(input, mat1, mat2, beta, alpha)


def _row_and_product(row: Array, a: Array, b: Array, beta: float, alpha: float) -> Array:
    """addmm by the kernel of products with a bias, for a vector x and beta = alpha = 1."""
    if not beta == 1 == alpha or row.ndim != 1 or not a.ndim == 2 == b.ndim:
        return NotImplemented
    return _core.matmul(a, b, row, "none", None)


@by_kernel(_row_and_product, dtypes=Dtypes(autocast="lower"))
def _addmm(input: TensorLike, mat1: TensorLike, mat2: TensorLike, beta: float, alpha: float) -> Tensor:
    a, b = of_dims("addmm", mat1, mat2, 2, 2)
    return _plus(input, a, b, beta, alpha)


def baddbmm(
    input: TensorLike, batch1: TensorLike, batch2: TensorLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta x + alpha a b for each matrix: a (n, m, k), b (n, k, p), x broadcasts to (n, m, p).

    >>> import ranvier as rv
    >>> rv.baddbmm(rv.ones(1, 1, 1), rv.ones(1, 1, 3), rv.ones(1, 3, 1))
    tensor([[[4.]]])
    """
    a, b = of_dims("baddbmm", batch1, batch2, 3, 3)
    return _plus(input, a, b, beta, alpha)


def inner(input: TensorLike, other: TensorLike) -> Tensor:
    """The sum of products over the last dimension: (..., k), (..., k) -> (*a.shape[:-1], *b.shape[:-1]).

    >>> import ranvier as rv
    >>> rv.inner(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor(11.)
    """
    input = as_tensor("inner", input)
    other = as_tensor("inner", other)
    if input.ndim == 0 or other.ndim == 0:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise OpError(f"[inner] got shapes {input.shape} and {other.shape}; expected equal last dimensions")
    return tensordot(input, other, ([input.ndim - 1], [other.ndim - 1]))


def ger(input: TensorLike, vec2: TensorLike) -> Tensor:
    """y[i, j] = a[i] b[j]: see :func:`ranvier.outer`.

    >>> import ranvier as rv
    >>> rv.ger(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    input, vec2 = of_dims("ger", input, vec2, 1, 1)
    return mul(unsqueeze(input, 1), vec2)


def tensordot(a: TensorLike, b: TensorLike, dims: Any = 2) -> Tensor:
    """The sum of products over pairs of dimensions: the last dims of a with the first of b, or two lists.

    Raises ValueError for dimensions of different sizes.

    >>> import ranvier as rv
    >>> rv.tensordot(rv.ones(2, 3), rv.ones(3, 4), dims=1).shape
    (2, 4)
    """
    a, b = as_tensor("tensordot", a), as_tensor("tensordot", b)
    if isinstance(dims, Tensor):
        dims = dims.item() if dims.numel() == 1 else dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise OpError(f"[tensordot] got dims {dims} for shapes {a.shape} and {b.shape}; expected fewer")
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left = [some_dim("tensordot", a, d) for d in dims[0]]
        right = [some_dim("tensordot", b, d) for d in dims[1]]
    # A dimension of size 1 would be repeated. Instead, the other operand is summed over its dimension.
    for i, j in zip(left, right, strict=False):
        if a.shape[i] == 1 != b.shape[j]:
            b = total(b, j, True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = total(a, i, True)
    if len(left) != len(right) or any(a.shape[i] != b.shape[j] for i, j in zip(left, right, strict=True)):
        raise OpError(
            f"[tensordot] got dimensions {left} of shape {a.shape} and {right} of shape {b.shape}; expected "
            "equal sizes"
        )
    # A product of two matrices (m, k) (k, n): each sum runs over the k elements of the paired dimensions.
    rows = [d for d in range(a.ndim) if d not in left]
    columns = [d for d in range(b.ndim) if d not in right]
    row_sizes = [a.shape[d] for d in rows]
    column_sizes = [b.shape[d] for d in columns]
    shape = (*row_sizes, *column_sizes)
    k = math.prod(a.shape[d] for d in left)
    first = reshape(permute(a, (*rows, *left)), (math.prod(row_sizes), k))
    second = reshape(permute(b, (*right, *columns)), (k, math.prod(column_sizes)))
    # As in PyTorch, autocast casts the operands unless the result has one element.
    single = math.prod(shape) == 1
    if single:
        product = _core._without_autocast(matmul, first, second)
    else:
        product = matmul(first, second)
    return reshape(product, shape)


def kron(input: TensorLike, other: TensorLike) -> Tensor:
    """The Kronecker product: y[i p + k, j q + l] = a[i, j] b[k, l], in any number of dimensions.

    >>> import ranvier as rv
    >>> rv.kron(rv.tensor([1.0, 10.0]), rv.tensor([1.0, 2.0]))
    tensor([ 1.,  2., 10., 20.])
    """
    return _kron(input, other)


_FEW = 1024  # elements of a product of matrices that takes less time than to repeat their elements first


def _kron_of_arrays(a: Array, b: Array) -> Array:
    """The product of matrices (m, n) and (p, q). Both are repeated to rows of n q elements, so that one loop
    runs along a row."""
    if a.ndim != 2 or b.ndim != 2:
        return NotImplemented
    m, n = a.shape
    p, q = b.shape
    if a.size * b.size <= _FEW:
        wide = _core.mul(a.reshape(m, 1, n, 1), b.reshape(p, 1, q))
    else:
        wide = _core.mul(_core.repeat_each(a, q, 1).reshape(m, 1, n * q), _core.repeat(b, (1, n)))
    return wide.reshape(m * p, n * q)


@by_kernel(_kron_of_arrays, inputs=2, floats=True)
def _kron(input: TensorLike, other: TensorLike) -> Tensor:
    input = as_tensor("kron", input)
    other = as_tensor("kron", other)
    n = max(input.ndim, other.ndim)
    left = (1,) * (n - input.ndim) + tuple(input.shape)
    right = (1,) * (n - other.ndim) + tuple(other.shape)
    # input (m1, 1, m2, 1 ...) times other (1, n1, 1, n2 ...) is (m1, n1, m2, n2 ...)
    input_shape: list[int] = []
    other_shape: list[int] = []
    final: list[int] = []
    for p, q in zip(left, right, strict=True):
        input_shape += [p, 1]
        other_shape += [1, q]
        final.append(p * q)
    wide = mul(reshape(input, input_shape), reshape(other, other_shape))
    return reshape(wide, final)


@in_dtypes()
def dist(input: TensorLike, other: TensorLike, p: float = 2) -> Tensor:
    """The p-norm of a - b.

    >>> import ranvier as rv
    >>> rv.dist(rv.tensor([3.0, 0.0]), rv.tensor([0.0, 4.0]))
    tensor(5.)
    """
    return norm(sub(input, other), p)


def cdist(
    x1: TensorLike, x2: TensorLike, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """y[.., i, j] = the p-norm of a[.., i, :] - b[.., j, :]: (..., m, d), (..., n, d) -> (..., m, n).

    The differences are formed, which is exact for points close together; compute_mode is not used.

    >>> import ranvier as rv
    >>> rv.cdist(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    use = "use_mm_for_euclid_dist"
    one_of("cdist", "compute_mode", compute_mode, (f"{use}_if_necessary", use, f"donot_{use}"))
    x1 = as_tensor("cdist", x1)
    x2 = as_tensor("cdist", x2)
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise OpError(f"[cdist] got shapes {x1.shape} and {x2.shape}; expected (..., m, d) and (..., n, d)")
    return distances(x1, x2, number("cdist", "p", p, 0))


@in_dtypes()
def cross(input: TensorLike, other: TensorLike, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three elements along dim, by default the first of size 3.

    >>> import ranvier as rv
    >>> rv.cross(rv.tensor([1.0, 0.0, 0.0]), rv.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    input = as_tensor("cross", input)
    other = as_tensor("cross", other)
    shape = common_shape("cross", input, other)
    first = next((d for d, n in enumerate(shape) if n == 3), None)
    if dim is None:
        dim = first
    else:
        dim = some_dim("cross", max(input, other, key=Tensor.dim), dim)
    if dim is None or shape[dim] != 3:
        raise OpError(
            f"[cross] got shapes {input.shape} and {other.shape}; expected size 3 in dimension {dim}"
        )
    input = movedim(input.broadcast_to(shape), dim, 0)
    other = movedim(other.broadcast_to(shape), dim, 0)
    from ranvier.ops.shape.repeat import roll

    y = sub(mul(roll(input, -1, 0), roll(other, -2, 0)), mul(roll(input, -2, 0), roll(other, -1, 0)))
    return movedim(y, 0, dim)


def cov(
    input: TensorLike,
    *,
    correction: int = 1,
    fweights: TensorLike | None = None,
    aweights: TensorLike | None = None,
) -> Tensor:
    """The covariance of the rows of x (variables, samples): (d, n) -> (d, d); a vector is one variable.

    fweights: how often each sample counts (integers); aweights: its weight. Divided by n - correction.

    >>> import ranvier as rv
    >>> rv.cov(rv.tensor([[0.0, 2.0], [1.0, 5.0]]))
    tensor([[2., 4.],
            [4., 8.]])
    """
    input = as_tensor("cov", input)
    if input.ndim > 2:
        raise misfit("cov", {"x": input.shape}, "at most two dimensions")
    frequencies = None
    importances = None
    dtype = result_dtype(input)
    if aweights is not None:
        importances = as_tensor("cov", aweights)
        dtype = result_dtype(input, importances)
    if dtype in HALVES:
        if importances is not None:
            importances = importances.float()
        y = cov(input.float(), correction=correction, fweights=fweights, aweights=importances)
        return rounded(y, dtype)
    if dtype.kind == "f":
        input = input.to(dtype)
    else:
        input = floating(input)
    if input.ndim < 2:
        rows = reshape(input, (1, -1))
    else:
        rows = input
    if fweights is not None:
        frequencies = as_tensor("cov", fweights)
        _check_weights("fweights", frequencies, rows.shape[1])
    if importances is not None:
        _check_weights("aweights", importances, rows.shape[1])
    correction = whole("cov", "correction", correction)
    y = _covariance(rows, correction, frequencies, importances)
    if rows.shape[0] == 1:
        return reshape(y, ())
    return y


def _check_weights(name: str, weights: Tensor, samples: int) -> None:
    if weights.shape != (samples,):
        raise misfit("cov", {"weights": weights.shape}, f"({samples},)")
    if name == "fweights":
        require_dtype("cov", "fweights", weights, "iu", "integers")
    is_negative = weights < 0
    if is_batched(is_negative._array):
        has_negative = all_slices(is_negative._array).any()
    else:
        has_negative = bool(is_negative.any())
    if has_negative:
        raise OpError(f"[cov] got a negative number in {name}; expected numbers of at least 0")


def _covariance(
    rows: Tensor, correction: int, frequencies: Tensor | None, importances: Tensor | None
) -> Tensor:
    """The covariances of variables (m, n), of n samples with weights (n,) or None."""
    weights = None
    if frequencies is not None:
        weights = frequencies.to(rows.dtype)
    if importances is not None:
        importances = importances.to(rows.dtype)
        if weights is None:
            weights = importances
        else:
            weights = mul(weights, importances)
    # The mean is subtracted twice: the first mean is rounded, and the mean of the deviations is its error.
    if weights is None:
        n = rows.shape[1]
        deviations = sub(rows, total(rows, 1, True) / n)
        deviations = sub(deviations, total(deviations, 1, True) / n)
        return matmul(deviations, deviations.T) / max(n - correction, 0)
    sum_of_weights = total(weights)
    deviations = sub(rows, total(mul(rows, weights), 1, True) / sum_of_weights)
    deviations = sub(deviations, total(mul(deviations, weights), 1, True) / sum_of_weights)
    degrees = sum_of_weights - correction
    if importances is not None:
        degrees = sum_of_weights - correction * (total(mul(weights, importances)) / sum_of_weights)
    return matmul(mul(deviations, weights), deviations.T) / degrees.clamp(min=0)


def _top(rows: Tensor) -> Tensor:
    """The greatest |x| of each row, 1 where that is 0 or not finite; without a gradient."""
    top = amax(abs(rows.detach()), -1, True)
    return where((top > 0) & (top < math.inf), top, 1.0)


@in_dtypes()
def corrcoef(input: TensorLike) -> Tensor:
    """The correlation of the rows of x (variables, samples), limited to [-1, 1]: (d, n) -> (d, d).

    >>> import ranvier as rv
    >>> rv.corrcoef(rv.tensor([[0.0, 2.0], [5.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    input = as_tensor("corrcoef", input)
    # Each row, less its mean, is divided by its greatest |x|, so that squares stay in the dtype's range. This
    # changes no correlation. The mean is subtracted first: a quotient near 1 would lose the digits of the
    # deviations. Half of the difference cannot overflow.
    rows = reshape(input, (1, -1)) if input.ndim < 2 else input
    if is_floating(input) and input.numel():
        top = _top(rows)
        middle = mul(mean(rows.detach() / top, -1, True), mul(top, 0.5))
        rows = sub(mul(rows, 0.5), middle)
        rows = rows / _top(rows)
    c = cov(rows)
    if c.ndim == 0:
        return c / c
    d = c.diagonal().sqrt()
    return (c / unsqueeze(d, 1) / d).clamp(-1, 1)


@in_dtypes()
def renorm(input: TensorLike, p: float, dim: int, maxnorm: float) -> Tensor:
    """x, each slice along dim scaled down to the p-norm maxnorm where its norm is greater.

    >>> import ranvier as rv
    >>> rv.renorm(rv.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    input = as_tensor("renorm", input)
    at, p = some_dim("renorm", input, dim), number("renorm", "p", p, 0, above=True)
    if not maxnorm >= 0:
        raise OpError(f"[renorm] got maxnorm {maxnorm}; expected a number >= 0")
    others = tuple(d for d in range(input.ndim) if d != at)
    size = norm(input, p, others, True)
    # 1e-7 is PyTorch's
    return mul(input, where(size > maxnorm, maxnorm / (size + 1e-7), 1.0))


def block_diag(*matrices: TensorLike) -> Tensor:
    """The matrices along the diagonal of a larger one that is 0 elsewhere; vectors are rows.

    >>> import ranvier as rv
    >>> rv.block_diag(rv.ones(1, 2), rv.ones(1, 1))
    tensor([[1., 1., 0.],
            [0., 0., 1.]])
    """
    return _block_diag(matrices)


@by_kernel(_core._block_diagonal)
def _block_diag(matrices: tuple[TensorLike, ...]) -> Tensor:
    from ranvier.ops.image.resample import pad
    from ranvier.ops.shape.join import cat

    parts = list(alike(*(as_tensor("block_diag", m) for m in matrices)))
    for m in parts:
        if m.ndim > 2:
            raise OpError(f"[block_diag] got a tensor of shape {m.shape}; expected at most two dimensions")
    for i, m in enumerate(parts):
        if m.ndim < 2:  # a vector is a matrix of one row
            parts[i] = reshape(m, (1, -1))
    width = 0
    rows = []
    every = sum(m.shape[1] for m in parts)
    for m in parts:
        rows.append(pad(m, (width, every - width - m.shape[1])))
        width += m.shape[1]
    from ranvier.ops.making.creation import zeros

    if rows:
        return cat(rows, 0)
    return zeros(1, 0)


def spmm(input: TensorLike, mat2: TensorLike) -> Tensor:
    """The product of matrices: see :func:`mm`. In PyTorch the first may be sparse; here it is dense.

    >>> import ranvier as rv
    >>> rv.spmm(rv.eye(2), rv.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    return mm(input, mat2)
