"""Helpers of distributions under PyTorch's names, which subclasses in other libraries import, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ranvier.ops as ops
from ranvier import arange, finfo, full, get_default_dtype, randn, tensor, tril_indices
from ranvier.autograd import Tensor, enable_grad
from ranvier.tensors.types import ArrayLike, DeviceLike, DtypeLike, ShapeLike

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits"]
__all__ += ["tril_matrix_to_vec", "vec_to_tril_matrix"]

if TYPE_CHECKING:

    class lazy_property:
        def __init__(self, wrapped: Callable[[Any], Any]) -> None: ...
        def __get__(self, instance: Any, owner: Any = None) -> Tensor: ...
        def __set__(self, instance: Any, value: Any) -> None: ...

else:

    class lazy_property:
        """A property that is computed once, at its first use; an attribute of the instance takes its place.

        >>> class Circle:
        ...     def __init__(self, radius): self.radius = radius
        ...     @lazy_property
        ...     def area(self): return 3 * self.radius**2
        >>> Circle(2).area
        12
        """

        def __init__(self, wrapped):
            self.wrapped = wrapped
            self.__doc__ = wrapped.__doc__

        def __get__(self, instance, owner=None):
            if instance is None:
                return _of_class(self.wrapped)
            with enable_grad():  # its first use may be a sample, which is off the tape
                value = self.wrapped(instance)
            setattr(instance, self.wrapped.__name__, value)
            return value


class _of_class(property, lazy_property):
    """What a lazy property gives when it is read from the class: both a property, which tools such as inspect
    know, and a lazy_property."""

    def __init__(self, wrapped: Any) -> None:
        property.__init__(self, wrapped)
        self.wrapped = wrapped


def broadcast_all(*values: ArrayLike) -> tuple[Tensor, ...]:
    """Numbers and Tensors as Tensors of one shape; numbers take the dtype of the first Tensor.

    >>> import ranvier as rv
    >>> rv.distributions.utils.broadcast_all(rv.zeros(2), 1.0)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    dtypes = [x.dtype for x in values if isinstance(x, Tensor)]
    dtype = dtypes[0] if dtypes else get_default_dtype()
    tensors = []
    for x in values:
        made = x if isinstance(x, Tensor) else tensor(x, dtype=dtype)
        tensors.append(made)
    return tuple(ops.broadcast_tensors(*tensors))


def expanded(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x broadcast to a shape; x itself if it has the shape."""
    if x._array.shape == shape:
        return x
    return ops.broadcast_to(x, shape)


def _standard_normal(shape: ShapeLike, dtype: DtypeLike | None, device: DeviceLike | None = None) -> Tensor:
    """Normal random numbers; device is PyTorch's argument, without effect here."""
    return randn(shape, dtype=dtype)


def _sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last `dim` dimensions."""
    if dim:
        return ops.sum(value, tuple(range(-dim, 0)))
    return value


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities at least the dtype's eps away from 0 and 1, for their logits."""
    eps = finfo(probs.dtype).eps
    return ops.clip(probs, eps, 1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The logarithms of probabilities; is_binary: the logarithms of their odds."""
    p = clamp_probs(probs)
    if is_binary:
        return ops.log(p) - ops.log1p(-p)
    return ops.log(p)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """softmax of the last dimension; is_binary: sigmoid."""
    if is_binary:
        return ops.sigmoid(logits)
    return ops.softmax(logits, -1)


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The values (..., k) in the lower triangle of a matrix (..., n, n), row by row; diag: the last diagonal.

    >>> import ranvier as rv
    >>> rv.distributions.utils.vec_to_tril_matrix(rv.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 0.],
            [2., 3.]])
    """
    # The smallest n whose triangle has at least as many values: row i of it has i + 1 + diag, within 0 to n.
    n = 0
    count = 0
    while count < vec.shape[-1]:
        n += 1
        count = sum(min(max(i + 1 + diag, 0), n) for i in range(n))
    if count != vec.shape[-1]:
        raise ValueError(
            f"[vec_to_tril_matrix] got {vec.shape[-1]} values; expected as many as a triangle has"
        )
    rows, columns = tril_indices(n, n, diag)
    places = full((n * n,), vec.shape[-1])  # for each element its index in `padded`: outside, that of the 0
    places[rows * n + columns] = arange(vec.shape[-1])
    padded = ops.cat([vec, vec[..., :1] * 0], -1)
    return ops.reshape(padded[..., places], (*vec.shape[:-1], n, n))


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle of a matrix (..., n, n), row by row, as (..., k); diag: the last diagonal."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"[tril_matrix_to_vec] got diag {diag}; expected {-n} to {n - 1}")
    rows, columns = tril_indices(n, n, diag)
    return mat[..., rows, columns]
