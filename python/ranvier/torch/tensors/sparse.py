"""Tensor.to_sparse and sparse_coo_tensor: `Sparse`, a dense tensor with the methods of PyTorch's sparse
ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.nn import Buffer
from ranvier.tensors.types import DeviceLike, DtypeLike, ShapeLike
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.dispatch import as_subclass, switched_off

# Functions of one sparse tensor whose result has its places: 0 stays 0, or False.
_SAME = """
    abs absolute arcsin arcsinh arctan arctanh asin asinh atan atanh bfloat16 bool byte ceil char clone
    contiguous cpu deg2rad detach div divide double erf erfinv expm1 fix float float_power floor
    floor_divide frac half int isinf isnan isneginf isposinf ldexp log1p long mul multiply nan_to_num neg
    negative positive pow rad2deg relu round sgn short sign signbit sin sinh sqrt square tan tanh to
    true_divide trunc type
"""
# Functions whose result has the places that they give of places, where all their tensors are sparse.
_MOVED = """
    T __getitem__ add adjoint cat index_select mT matmul mm moveaxis movedim narrow permute select squeeze
    stack sub subtract sum swapaxes swapdims t transpose unsqueeze
"""
# Changes in place that move places.
TURNED = frozenset({"squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_", "unsqueeze_"})
# Functions whose result has no places.
EMPTIED = frozenset({"empty_like", "new_empty", "new_zeros", "zero_", "zeros_like"})
SAME = frozenset(_SAME.split())
MOVED = frozenset(_MOVED.split())


class Sparse(Buffer):
    """A dense tensor that has the methods of sparse tensors. Functions whose result is sparse in PyTorch give
    one; all others treat it as a dense tensor.

    >>> x = to_sparse(rv.tensor([[0, 5], [7, 0]]))
    >>> x.indices().tolist(), x.values().tolist(), x.shape
    ([[0, 1], [1, 0]], [5, 7], (2, 2))
    """

    is_sparse = True

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _name_of(func)
        with switched_off(1):
            if name in TURNED:
                turned = func(*_patterns(args), **_patterns(kwargs))
            else:
                turned = None
            result = func(*args, **kwargs)
        if isinstance(result, Sparse) and name in TURNED | EMPTIED:
            result._given = None if turned is None else _places_in(turned)
        if type(result) is not rv.Tensor:
            return result
        with rv.no_grad(), switched_off(1):
            places = _places_of(name, func, args, kwargs, result)
        if places is None:
            return result
        return _sparse(result, places)

    # the places (dimensions, count) of the elements that it was made with, which may be 0
    _given: Any = None

    def _places(self) -> Any:
        """(dimensions, count): the places of the given elements and all that are not 0, ascending."""
        found = _places_in(self)
        if self._given is not None:
            found = np.unique(np.hstack([self._given, found[: len(self._given)]]), axis=1)
        return found

    def indices(self) -> Any:
        """(dimensions, count): where the elements are."""
        return rv.from_numpy(np.ascontiguousarray(self._places()))

    def values(self) -> Any:
        """(count, ...): the elements there."""
        return self.to_dense()[tuple(map(rv.from_numpy, self._places()))]

    def to_dense(self) -> Any:
        return self.view(self.shape)

    def coalesce(self) -> Any:
        return self

    def is_coalesced(self) -> bool:
        return True

    def sparse_dim(self) -> int:
        if self._given is None:
            return int(self.ndim)
        return len(self._given)

    def dense_dim(self) -> int:
        return int(self.ndim) - self.sparse_dim()

    _indices = indices
    _values = values
    to_sparse = coalesce

    def _nnz(self) -> int:
        return int(self._places().shape[1])


def _name_of(func: Any) -> str:
    """The name of a function, or of the attribute that a getter reads."""
    name = str(func.__name__)
    if name == "__get__":
        return str(func.__self__.__name__)
    return name


def _places_of(name: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], result: Any) -> Any:
    """The places of a result that is sparse; None of one that is dense."""
    if name in EMPTIED:
        return np.empty((result.ndim, 0), int)
    operands = [x for x in tensors_in((args, kwargs)) if name != "index_select" or x is args[0]]
    sparse = [x for x in operands if isinstance(x, Sparse)]
    if name in SAME and len(sparse) == 1 and operands[0] is sparse[0] and result.shape == sparse[0].shape:
        return sparse[0]._places()
    is_number = name == "sum" and result.ndim == 0
    is_moved = name in MOVED or name in ("mul", "multiply")
    if is_number or not is_moved:
        return None
    if len(sparse) < len(operands) or any(x.dense_dim() for x in sparse):
        return None
    of_places = rv.add if name in ("sub", "subtract") else func  # else places of both would cancel
    return _places_in(of_places(*_patterns(args), **_patterns(kwargs)))


def _places_in(pattern: Any) -> Any:
    """The places (dimensions, count) of the elements that are not 0."""
    return rv.nonzero(pattern).numpy().T


def tensors_in(value: Any) -> list[Any]:
    """The Tensors in nested arguments."""
    if isinstance(value, rv.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [x for part in value for x in tensors_in(part)]
    return []


def _patterns(value: Any) -> Any:
    """Arguments with 1 at the places of each sparse tensor, and 0 elsewhere, in its place."""
    if isinstance(value, Sparse):
        pattern = np.zeros(value.shape, np.float32)
        pattern[tuple(value._places())] = 1
        return rv.from_numpy(pattern)
    if isinstance(value, dict):
        return {key: _patterns(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_patterns(part) for part in value])
    return value


def _sparse(dense: Any, places: Any) -> Any:
    """The `Sparse` of a dense tensor, with elements at these places, which may be 0."""
    activate()  # functions, methods and attributes ask its class
    made = as_subclass(dense, Sparse)
    made._given = places
    return made


def mm(mat1: Any, mat2: Any) -> Any:
    """torch.sparse.mm: a product that is sparse where both factors are."""
    return Sparse.__torch_function__(rv.matmul, (), (mat1, mat2))


def total(input: Tensor, dim: Any = None, dtype: DtypeLike | None = None) -> Any:
    """torch.sparse.sum: with dim, a sum that is sparse where a dimension stays."""
    return Sparse.__torch_function__(rv.sum, (), (input,), {"dim": dim, "dtype": dtype})


def to_sparse(x: Tensor, *args: Any, **settings: Any) -> Any:
    """The tensor as a `Sparse` on the same memory.

    Raises NotImplementedError for layouts and dense dimensions.
    """
    if args not in ((), (x.ndim,)) or settings or x.requires_grad:
        raise NotImplementedError(
            f"[to_sparse] got {args or settings or 'a tensor with gradients'}; expected no arguments: "
            "tensors are dense here, and tell where they are not 0"
        )
    activate()
    return Sparse(x)


to_sparse_coo = to_sparse


def sparse_coo_tensor(
    indices: Tensor,
    values: Any,
    size: ShapeLike | None = None,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> Any:
    """A `Sparse` of this size with values at indices (ndim, count); values of the same place are added up.

    >>> sparse_coo_tensor([[0, 2, 2]], [1.0, 2.0, 3.0], (4,)).to_dense()
    tensor([1., 0., 5., 0.])
    >>> sparse_coo_tensor([[0, 3]], [0.0, 1.0]).indices()
    tensor([[0, 3]])
    """
    at = rv.as_tensor(indices)
    values = rv.as_tensor(values, dtype=dtype)
    if at.ndim != 2 or values.shape[:1] != at.shape[1:] or (at < 0).any():
        raise RuntimeError(
            f"[sparse_coo_tensor] got indices {tuple(at.shape)} of {at.dtype} for values "
            f"{tuple(values.shape)}; expected (ndim, count) whole numbers >= 0, and a value for each"
        )
    if size is None:
        size = (*(int(row.max()) + 1 if len(row) else 0 for row in at), *values.shape[1:])
    empty = rv.zeros(size, dtype=values.dtype, device=device)
    dense = empty.index_put(tuple(at), values, accumulate=True)
    made = _sparse(dense, np.unique(at.numpy(), axis=1))
    return made.requires_grad_(requires_grad or dense.requires_grad)
