"""Tensor.to_sparse and sparse_coo_tensor: `Sparse`, a dense tensor with the methods of PyTorch's sparse
ones.

The places of a sparse tensor are the indices of its elements that are stored: an array (dimensions, count),
in ascending order. A function of torch asks the class of its arguments (`__torch_function__`) before it
computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.nn import Buffer
from ranvier.tensors.memory import Array
from ranvier.tensors.types import ArrayLike, Axes, DeviceLike, DtypeLike, ShapeLike
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.dispatch import as_subclass, switched_off

# Functions of one sparse tensor whose result has its places: 0 stays 0, or False.
_SAME_NAMES = """
    abs absolute arcsin arcsinh arctan arctanh asin asinh atan atanh bfloat16 bool byte ceil char clone
    contiguous cpu deg2rad detach div divide double erf erfinv expm1 fix float float_power floor
    floor_divide frac half int isinf isnan isneginf isposinf ldexp log1p long mul multiply nan_to_num neg
    negative positive pow rad2deg relu round sgn short sign signbit sin sinh sqrt square tan tanh to
    true_divide trunc type
"""
# Functions that move places, if all their tensors are sparse: the places of the result are those that the
# same function gives for tensors with 1 at each place.
_MOVED_NAMES = """
    T __getitem__ add adjoint cat index_select mT matmul mm moveaxis movedim narrow permute select squeeze
    stack sub subtract sum swapaxes swapdims t transpose unsqueeze
"""
# Changes in place that move places.
_MOVES_IN_PLACE = frozenset({"squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_", "unsqueeze_"})
# Functions whose result has no places.
_EMPTIES = frozenset({"empty_like", "new_empty", "new_zeros", "zero_", "zeros_like"})
_KEEPS = frozenset(_SAME_NAMES.split())
_MOVES = frozenset(_MOVED_NAMES.split())


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
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _name_of(func)
        with switched_off(1):
            moved = None
            if name in _MOVES_IN_PLACE:  # before `func` changes the tensor: where its places will be
                moved = func(*_patterns(args), **_patterns(kwargs))
            result = func(*args, **kwargs)
        if isinstance(result, Sparse):
            if moved is not None:
                result._stored = _nonzero_places(moved)
            elif name in _EMPTIES:
                result._stored = None
        if type(result) is not rv.Tensor:
            return result
        with rv.no_grad(), switched_off(1):
            places = _result_places(name, func, args, kwargs, result)
        if places is None:
            return result
        return _sparse(result, places)

    # the places of the elements that it was made with, which may be 0; None: those of the others only
    _stored: Array | None = None

    def _places(self) -> Array:
        """The places of the elements that it was made with and of all that are not 0."""
        nonzero = _nonzero_places(self)
        if self._stored is None:
            return nonzero
        dimensions = len(self._stored)  # fewer than ndim if each stored element is a row or an array
        return np.unique(np.hstack([self._stored, nonzero[:dimensions]]), axis=1)

    def indices(self) -> Any:
        """(dimensions, count): where the elements are."""
        return rv.from_numpy(np.ascontiguousarray(self._places()))

    def values(self) -> Any:
        """(count, ...): the elements there."""
        index = tuple(map(rv.from_numpy, self._places()))
        return self.to_dense()[index]

    def to_dense(self) -> Any:
        return self.view(self.shape)

    def coalesce(self) -> Any:
        return self

    def is_coalesced(self) -> bool:
        return True

    def sparse_dim(self) -> int:
        if self._stored is None:
            return int(self.ndim)
        return len(self._stored)

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


def _result_places(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Array | None:
    """The places of a result that is sparse; None of one that is dense."""
    if name in _EMPTIES:
        return np.empty((result.ndim, 0), int)
    operands = _tensors_in((args, kwargs))
    if name == "index_select":  # its indices are no operand
        operands = [x for x in operands if x is args[0]]
    sparse = [x for x in operands if isinstance(x, Sparse)]
    if name in _KEEPS and len(sparse) == 1 and operands[0] is sparse[0] and result.shape == sparse[0].shape:
        return sparse[0]._places()
    is_number = name == "sum" and result.ndim == 0
    is_moved = name in _MOVES or name in ("mul", "multiply")
    if is_number or not is_moved:
        return None
    if len(sparse) < len(operands) or any(x.dense_dim() for x in sparse):
        return None
    if name in ("sub", "subtract"):
        func = rv.add  # the difference of two ones would be 0
    return _nonzero_places(func(*_patterns(args), **_patterns(kwargs)))


def _nonzero_places(x: Tensor) -> Array:
    """The places of the elements that are not 0."""
    return rv.nonzero(x).numpy().T


def _tensors_in(value: object) -> list[Tensor]:
    """The Tensors in nested arguments."""
    if isinstance(value, rv.Tensor):
        return [value]
    if isinstance(value, dict):
        return _tensors_in([*value.values()])
    if isinstance(value, (list, tuple)):
        return [*chain.from_iterable(map(_tensors_in, value))]
    return []


def _patterns(value: Any) -> Any:
    """Arguments with 1 at the places of each sparse tensor, and 0 elsewhere, in its place."""
    if isinstance(value, Sparse):
        pattern = np.zeros(value.shape, np.float32)
        pattern[tuple(value._places())] = 1
        return rv.from_numpy(pattern)
    if isinstance(value, dict):
        return {key: _patterns(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_patterns(item) for item in value])
    return value


def _sparse(dense: Tensor, places: Array) -> Any:
    """The `Sparse` of a dense tensor, with elements at these places, which may be 0."""
    activate()  # functions, methods and attributes ask its class
    made = as_subclass(dense, Sparse)
    made._stored = places
    return made


def mm(mat1: Tensor, mat2: Tensor) -> Any:
    """torch.sparse.mm: a product that is sparse where both factors are."""
    return Sparse.__torch_function__(rv.matmul, (), (mat1, mat2))


def total(input: Tensor, dim: Axes = None, dtype: DtypeLike | None = None) -> Any:
    """torch.sparse.sum: with dim, a sum that is sparse where a dimension stays."""
    return Sparse.__torch_function__(rv.sum, (), (input,), {"dim": dim, "dtype": dtype})


def to_sparse(x: Tensor, *args: int, **settings: Any) -> Any:
    """The tensor as a `Sparse` on the same memory.

    Raises NotImplementedError for layouts and dense dimensions.
    """
    if args not in ((), (x.ndim,)) or settings or x.requires_grad:
        refused = args or settings or "a tensor with gradients"
        raise NotImplementedError(
            f"[to_sparse] got {refused}; expected no arguments: "
            "tensors are dense here, and tell where they are not 0"
        )
    activate()
    return Sparse(x)


to_sparse_coo = to_sparse


def sparse_coo_tensor(
    indices: ArrayLike,
    values: ArrayLike,
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
    places = rv.as_tensor(indices)
    elements = rv.as_tensor(values, dtype=dtype)
    if places.ndim != 2 or elements.shape[:1] != places.shape[1:] or (places < 0).any():
        raise RuntimeError(
            f"[sparse_coo_tensor] got indices {tuple(places.shape)} of {places.dtype} for values "
            f"{tuple(elements.shape)}; expected (ndim, count) whole numbers >= 0, and a value for each"
        )
    if size is None:
        size = (*map(_smallest_size, places), *elements.shape[1:])
    empty = rv.zeros(size, dtype=elements.dtype, device=device)
    dense = empty.index_put(tuple(places), elements, accumulate=True)
    made = _sparse(dense, np.unique(places.numpy(), axis=1))
    return made.requires_grad_(requires_grad or dense.requires_grad)


def _smallest_size(indices: Tensor) -> int:
    """The size of a dimension in which these indices are."""
    if len(indices) == 0:
        return 0
    return int(indices.max()) + 1
