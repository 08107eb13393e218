"""Softmax and its logarithm over one axis."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.convert import to_dtype
from ranvier.ops.namespaces import KERNELS, RESULT, TENSORS, Operations, Value, differentiable_backward
from ranvier.ops.shape.reshape import _dim, reshape
from ranvier.tape.function import Dtypes, Function, by_kernel
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, TensorLike


@differentiable_backward(y=RESULT)
class Softmax(Function):
    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Array) -> Array:
        self.y = _core.softmax(x, self.dim)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.softmax_backward(dy, self.y, self.dim)


def _softmax_backward(dy: Tensor, y: Tensor, dim: int) -> Tensor:
    return y * (dy - (dy * y).sum(dim, keepdim=True))


def _log_softmax_backward(dy: Tensor, y: Tensor, dim: int) -> Tensor:
    return dy - y.exp() * dy.sum(dim, keepdim=True)


TENSORS.softmax_backward = _softmax_backward
TENSORS.log_softmax_backward = _log_softmax_backward


def softmax(
    input: TensorLike,
    dim: int | None = None,
    dtype: DtypeLike | None = None,
    *,
    axis: int | None = None,
    _stacklevel: int = 3,
) -> Tensor:
    """y_i = exp(x_i) / sum_j exp(x_j) along ``dim``: positive numbers that add up to 1.

    input: any float dtype and shape; a number is treated as one element of one dimension. dtype: the
    input is cast to it first. Without ``dim`` (or ``axis``), the dimension that PyTorch chooses: 0 of one or
    three dimensions, else 1; a choice that is not the last dimension warns. _stacklevel has no effect: graphs
    of PyTorch that are written as code give it.

    Raises ValueError where the input has no such dimension, TypeError for another dtype.

    Source: Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs" (1990).

    >>> import ranvier as rv
    >>> rv.softmax(rv.tensor([2.0, 1.0, 0.1]), dim=0)
    tensor([0.6590, 0.2424, 0.0986])
    """
    if dtype is not None:
        input = to_dtype("softmax", as_tensor("softmax", input), dtype)
    if axis is not None:
        dim = axis
    if dim is None:
        dim = _implied_dim("softmax", input)
    return _softmax_along(input, dim)


def _along_dimension(node: type[Softmax], name: str) -> Callable[[TensorLike, int], Tensor]:
    """The op of a node along a dimension, with the kernel of this name."""

    @by_kernel(getattr(_core, name), node, floats=True, name=name)
    def along(x: TensorLike, dim: int | None) -> Tensor:
        """Runs the node along a dimension; a number is treated as one element."""
        if dim is None:  # the core calls this function in place of the public one
            dim = _implied_dim(name, x)
        x = as_tensor(name, x)
        if x._array.ndim != 0:
            return node(dim).apply(x)
        y = node(_dim(name, dim, 0)).apply(reshape(x, 1))
        return reshape(y, ())

    return along


def _implied_dim(name: str, x: TensorLike) -> int:
    """The dimension that PyTorch chooses if none is given."""
    ndim = as_tensor(name, x).ndim
    if ndim in (0, 1, 3):
        dim = 0
    else:
        dim = 1
    if ndim > 2:
        warnings.warn(f"[{name}] got no dim for {ndim} dimensions; dim={dim} is used", stacklevel=3)
    return dim


@differentiable_backward(y=RESULT)
class LogSoftmax(Softmax):
    def forward(self, x: Array) -> Array:
        self.y = _core.log_softmax(x, self.dim)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.log_softmax_backward(dy, self.y, self.dim)


def log_softmax(
    input: TensorLike,
    dim: int | None = None,
    dtype: DtypeLike | None = None,
    *,
    axis: int | None = None,
    _stacklevel: int = 3,
) -> Tensor:
    """x_i - log(sum_j exp(x_j)) along ``dim``: the logarithm of softmax, finite where softmax is 0.

    Arguments and errors as in :func:`softmax`.

    >>> import ranvier as rv
    >>> rv.log_softmax(rv.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """
    if dtype is not None:
        input = to_dtype("log_softmax", as_tensor("log_softmax", input), dtype)
    if axis is not None:
        dim = axis
    if dim is None:
        dim = _implied_dim("log_softmax", input)
    return _log_softmax_along(input, dim)


_softmax_along = _along_dimension(Softmax, "softmax")
_log_softmax_along = _along_dimension(LogSoftmax, "log_softmax")
