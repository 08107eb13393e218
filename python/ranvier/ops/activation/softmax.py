"""Softmax and its logarithm over one axis."""

from __future__ import annotations

import warnings
from typing import Any

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.convert import to_dtype
from ranvier.ops.namespaces import KERNELS, RESULT, TENSORS, Operations, Value, written_once
from ranvier.ops.shape.reshape import _dim, reshape
from ranvier.tape.function import Dtypes, Function, by_kernel
from ranvier.tensors.tensor import Tensor


@written_once(y=RESULT)
class Softmax(Function):
    dtypes = Dtypes("forward")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        self.y = _core.softmax(x, self.dim)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return f.softmax_backward(dy, self.y, self.dim)


TENSORS.softmax_backward = lambda dy, y, dim: y * (dy - (dy * y).sum(dim, keepdim=True))
TENSORS.log_softmax_backward = lambda dy, y, dim: dy - y.exp() * dy.sum(dim, keepdim=True)


def softmax(
    input: Any, dim: int | None = None, dtype: Any = None, *, axis: Any = None, _stacklevel: int = 3
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
    return _softmax_along(input, _implied("softmax", input) if dim is None else dim)


def _along(node: Any, name: str) -> Any:
    """The op of a node along a dimension, with the kernel of this name."""

    @by_kernel(getattr(_core, name), node, floats=True, name=name)
    def along(x: Any, dim: Any) -> Tensor:
        """Runs the node along a dimension; a number is treated as one element."""
        if dim is None:  # the core calls this function in place of the public one
            dim = _implied(name, x)
        x = as_tensor(name, x)
        if x._array.ndim == 0:
            return reshape(node(_dim(name, dim, 0)).apply(reshape(x, 1)), ())
        return node(dim).apply(x)

    return along


def _implied(name: str, x: Any) -> int:
    """The dimension that PyTorch chooses if none is given."""
    ndim = as_tensor(name, x).ndim
    dim = 0 if ndim in (0, 1, 3) else 1
    if ndim > 2:
        warnings.warn(f"[{name}] got no dim for {ndim} dimensions; dim={dim} is used", stacklevel=3)
    return dim


@written_once(y=RESULT)
class LogSoftmax(Softmax):
    def forward(self, x: Any) -> Any:
        self.y = _core.log_softmax(x, self.dim)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return f.log_softmax_backward(dy, self.y, self.dim)


def log_softmax(
    input: Any, dim: int | None = None, dtype: Any = None, *, axis: Any = None, _stacklevel: int = 3
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
    return _log_softmax_along(input, _implied("log_softmax", input) if dim is None else dim)


_softmax_along = _along(Softmax, "softmax")
_log_softmax_along = _along(LogSoftmax, "log_softmax")
