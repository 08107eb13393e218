"""`Values`: the weight of a quantized layer as a Tensor that is made when it is read."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.matrix.quantized_weight import QuantizedWeight
from ranvier.tensors.data import Size
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.errors import index
from ranvier.tensors.memory import Computed, in_dtype, read_only
from ranvier.tensors.tensor import Tensor


class Values(Tensor):
    """A Tensor whose values are made of a matrix of few bits as soon as one of them is needed.

    Models read the dtype, the shape or the device of a weight at each call; these need no values. At the
    first use of another kind the object becomes an ordinary Tensor on read-only memory: Python finds no
    `_array` and asks `__getattr__`, and the core does the same (`has_array` in bindings/tensors/tensors.h).
    """

    __slots__ = ()

    @staticmethod
    def of(weight: QuantizedWeight, dtype: DType) -> Values:
        """The values of a matrix of few bits, in this dtype. All slots of a Tensor but `_array` are set."""
        values = object.__new__(Values)
        values._grad = None
        values._grad_fn = None
        values._view = None
        values._requires_grad = False
        values._cell = _core._Cell()
        values.__dict__["_made_of"] = weight, dtype
        return values

    def __getattr__(self, name: str) -> Any:
        if name != "_array":
            raise AttributeError(f"'Tensor' object has no attribute {name!r}")
        weight, dtype = self.__dict__["_made_of"]
        self._array = read_only(in_dtype(weight.dequantize()._array, np.dtype(dtype)), Computed)
        self.__class__ = Tensor  # type: ignore[assignment]
        self.__dict__.pop("_made_of", None)
        return self._array

    # --- copies, which are ordinary Tensors
    def _made(self) -> Tensor:
        """The object itself, which is an ordinary Tensor after it."""
        assert self._array is not None
        return self

    def __copy__(self) -> Tensor:
        return self._made().__copy__()

    def __deepcopy__(self, memo: dict[int, Any], with_grad: bool = True) -> Any:
        return self._made().__deepcopy__(memo, with_grad)

    # --- what is known without the values
    @property
    def _weight(self) -> QuantizedWeight:
        weight: QuantizedWeight = self.__dict__["_made_of"][0]
        return weight

    @property
    def dtype(self) -> DType:
        dtype: DType = self.__dict__["_made_of"][1]
        return dtype

    @property
    def shape(self) -> Size:  # type: ignore[override]
        return Size(self._weight.shape)

    @property
    def itemsize(self) -> int:  # type: ignore[override]
        return np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        return self.numel() * self.itemsize

    ndim = property(lambda self: 2)

    def size(self, dim: int | None = None) -> Any:
        if dim is None:
            return self.shape
        return self.shape[index(dim)]

    def dim(self) -> int:
        return 2

    def numel(self) -> int:
        return self._weight.numel()

    nelement = numel

    def element_size(self) -> int:
        return self.itemsize

    def stride(self, dim: int | None = None) -> Any:
        steps = (self._weight.shape[1], 1)
        if dim is None:
            return steps
        return steps[dim]

    def is_contiguous(self, *args: Any, **settings: Any) -> bool:
        if not (args or settings):
            return True
        return bool(Tensor.is_contiguous(self, *args, **settings))

    def is_floating_point(self) -> bool:
        return True

    def __len__(self) -> int:
        return self._weight.shape[0]
