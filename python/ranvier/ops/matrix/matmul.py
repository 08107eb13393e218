"""matmul: the product of matrices, vectors and batches of matrices; and mm, bmm, mv, dot, outer, with fixed
numbers of dimensions.

All but `outer` call the core's kernel `matmul`; integers are multiplied by NumPy. forward saves both
operands, and backward is two products more. Half floats are floats of 16 bits; a block of autocast is
PyTorch's mixed precision.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array, as_operand, as_tensor, of_right_side
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    TENSORS,
    Operations,
    Value,
    differentiable_backward,
    sum_to,
)
from ranvier.tape.function import Dtypes, Function, by_kernel
from ranvier.tape.inplace import written
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.memory import F32, HALVES, filled, in_dtype, unbroadcast
from ranvier.tensors.tensor import Tensor, by_numpy
from ranvier.tensors.types import Shape, TensorLike


@differentiable_backward(a=FIRST_INPUT, b=SECOND_INPUT)
class Matmul(Function):
    """y = a b: (..., m, k) (..., k, n) -> (..., m, n)"""

    # saved: a for the second gradient alone, b for the first gradient alone
    reads: ClassVar = {"a": 1, "b": 0}
    # half floats are computed as they are; in a block of autocast all inputs become its half float
    dtypes = Dtypes(halves="own", autocast="lower")
    alpha = 1.0

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a
        self.b = b
        return _core.matmul(a, b, None, "none", None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        a = self.a
        b = self.b
        a_shape = a.shape
        b_shape = b.shape
        if b.ndim == 1:  # A vector counts as a matrix of one row or column. y does not have this dimension.
            dy = dy[..., None]
            b = b[:, None]
        if a.ndim == 1:
            dy = dy[..., None, :]
            a = a[None, :]
        da = None
        db = None
        batch = dy.shape[:-2]
        if self.needs[0]:  # dy (..., m, n) b^T (..., n, k)
            da = f.summed_product(dy, b.swapaxes(-1, -2), batch, a, self.alpha).reshape(a_shape)
        if self.needs[1]:  # a^T (..., k, m) dy (..., m, n)
            db = f.summed_product(a.swapaxes(-1, -2), dy, batch, b, self.alpha).reshape(b_shape)
        return da, db


def _summed(a: Array, b: Array, batch: tuple[int, ...], x: Array, alpha: float) -> Array:
    """alpha a b as the gradient of x: summed over the dimensions along which x was broadcast to this batch.
    For half floats product and sum are computed in float32 and rounded once."""
    shape = (*batch, *x.shape[-2:])
    if x.dtype not in HALVES or (shape == x.shape and alpha == 1):
        return unbroadcast(_core.matmul(a, b, None, "none", None), x.shape)
    return in_dtype(_times(unbroadcast(_wide(a, b, shape), x.shape), alpha), x.dtype)


def _wide(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """a b of half floats as float32."""
    return _core.matmul(a, b, None, "none", filled(None, shape, F32))


def _times(y: Array, alpha: float) -> Array:
    if alpha == 1:
        return y
    return _core.mul(y, alpha, None)


def _on_tensors(a: Tensor, b: Tensor, batch: Shape, x: Tensor, alpha: float) -> Tensor:
    """`_summed` for Tensors, whose gradient follows from the ops. The result has the shape of x in any case,
    so the batch is not needed."""
    y = sum_to(a @ b, x.shape)
    if alpha == 1:
        return y
    return y * alpha


# `f.summed_product` of `Matmul.backward`: on arrays, and on Tensors for create_graph
KERNELS.summed_product = _summed
TENSORS.summed_product = _on_tensors


@differentiable_backward(a=FIRST_INPUT, b=SECOND_INPUT)
class WideMatmul(Matmul):
    """y = alpha a b of half floats as float32: for sums that are rounded once, such as addmm."""

    def __init__(self, alpha: float) -> None:
        self.alpha = float(alpha)

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a
        self.b = b
        if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
            return in_dtype(super().forward(a, b), F32)  # raises the error
        return _times(_wide(a, b, (*a.shape[:-1], b.shape[-1])), self.alpha)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return Matmul.backward(self, f.cast(dy, self.a.dtype), f)


def matmul(input: TensorLike, other: TensorLike, *, out: Tensor | None = None) -> Tensor:
    """The matrix product a b: y[..., i, j] = sum over p of a[..., i, p] b[..., p, j].

    a (..., m, k), b (..., k, n), y (..., m, n). A vector on the left is a row, on the right a column, and
    the result loses that dimension; leading dimensions broadcast. a and b are floats of one dtype;
    integers are multiplied by NumPy. out as in :func:`add`. Raises ValueError where the shapes do not fit,
    TypeError where the dtypes differ.

    >>> import ranvier as rv
    >>> rv.tensor([[1.0, 2.0], [3.0, 4.0]]) @ rv.tensor([1.0, -1.0])
    tensor([-1., -1.])
    """
    if out is not None:
        return written("matmul", out, _core._without_autocast(matmul, input, other))
    return _matmul(input, other)


@by_kernel(_core.matmul, Matmul, inputs=2, dtypes=Matmul.dtypes, name="matmul")
def _matmul(input: TensorLike, other: TensorLike) -> Tensor:
    try:
        input = as_operand("matmul", input)
        other = as_operand("matmul", other)
    except TypeError:
        answer = of_right_side("matmul", input, other)
        if answer is not NotImplemented:
            return answer
        raise
    if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
        raise TypeError("[matmul] got a number; expected tensors of at least one dimension")
    if input._array.dtype.kind in "biu" and other._array.dtype.kind in "biu":
        try:
            return by_numpy(np.matmul, input._array, other._array)
        except ValueError:
            fits = "operands of at least one dimension, the last dimension of a equal to the last but one "
            fits += "of b, and batches that broadcast"
            raise misfit("matmul", {"a": input.shape, "b": other.shape}, fits) from None
    return Matmul().apply(input, other)


def mm(input: TensorLike, mat2: TensorLike) -> Tensor:
    """The product of two matrices: (m, k) (k, n) -> (m, n). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.mm(rv.tensor([[1.0, 2.0]]), rv.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    return _product("mm", input, mat2, 2, 2)


def bmm(input: TensorLike, mat2: TensorLike) -> Tensor:
    """The products of two stacks of matrices: (n, m, k) (n, k, p) -> (n, m, p); the stacks do not broadcast.

    Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.bmm(rv.ones(5, 2, 3), rv.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    input, mat2 = of_dims("bmm", input, mat2, 3, 3)
    if input.shape[0] != mat2.shape[0]:
        raise OpError(f"[bmm] got shapes {input.shape} and {mat2.shape}; expected as many matrices")
    return _product("bmm", input, mat2, 3, 3)


def mv(input: TensorLike, vec: TensorLike) -> Tensor:
    """The product of a matrix and a vector: (m, k) (k) -> (m). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.mv(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), rv.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    return _product("mv", input, vec, 2, 1)


def dot(input: TensorLike, tensor: TensorLike) -> Tensor:
    """The sum of the products of two vectors' elements: (n) (n) -> (). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.dot(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return _product("dot", input, tensor, 1, 1)


def outer(input: TensorLike, vec2: TensorLike) -> Tensor:
    """y[i, j] = a[i] b[j] for vectors: (m) (n) -> (m, n). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.outer(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return _outer(input, vec2)


def _outer_of_arrays(a: Array, b: Array) -> Array:
    if a.ndim != 1 or b.ndim != 1:
        return NotImplemented
    return _core.mul(a.reshape(-1, 1), b)


@by_kernel(_outer_of_arrays, inputs=2, floats=True)
def _outer(input: TensorLike, vec2: TensorLike) -> Tensor:
    input, vec2 = of_dims("outer", input, vec2, 1, 1)
    return input.reshape(-1, 1) * vec2


def _product(name: str, a: TensorLike, b: TensorLike, ndim_a: int, ndim_b: int) -> Tensor:
    """The product of operands with these numbers of dimensions. name: the op's, for errors."""
    a, b = of_dims(name, a, b, ndim_a, ndim_b)
    # In a block of autocast the operands of a product of matrices are cast, those with a vector are not.
    if ndim_b > 1:
        return _matmul(a, b)
    return _core._without_autocast(_matmul, a, b)


def of_dims(name: str, a: TensorLike, b: TensorLike, ndim_a: int, ndim_b: int) -> tuple[Tensor, Tensor]:
    """Two operands as Tensors. Raises ValueError unless they have these numbers of dimensions."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        a = as_tensor(name, a)
        b = as_tensor(name, b)
    if (a.ndim, b.ndim) != (ndim_a, ndim_b):
        raise OpError(
            f"[{name}] got shapes {a.shape} and {b.shape}; expected {ndim_a} and {ndim_b} dimensions"
        )
    return a, b
