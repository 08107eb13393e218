"""Lends the array of a Tensor to NumPy and other libraries: `numpy()`, `__array__` and `__dlpack__`.

They may write to the memory without the Tensor's knowledge, so `unwatched` of its cell is set. NumPy's
DLPack knows no bfloat16: such an array is exported as uint16, and the code of the dtype in the capsule is
then changed. The functions here are methods of Tensor.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.grad_mode import mode
from ranvier.tensors.errors import truth
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import BF16, Array

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots

# DLDataTypeCode
UINT = 1
BFLOAT = 4
# The offset of DLTensor.dtype.code in bytes, in DLManagedTensor and DLManagedTensorVersioned. In a DLTensor
# data (8 bytes), device (8) and ndim (4) stand before it; in the versioned struct, four members of 8 bytes
# stand before the DLTensor.
_PLACES = {b"dltensor": 20, b"dltensor_versioned": 52}


def numpy(self: TensorSlots, *, force: bool = False) -> Array:
    """The array itself, not a copy.

    Raises RuntimeError for a Tensor that requires a gradient: detach() first, or call it under no_grad();
    TypeError for bfloat16, which NumPy lacks: float() first.
    """
    array = _lent(self, force)
    if array.dtype == BF16:
        raise TypeError(
            "[numpy] Got unsupported ScalarType BFloat16; expected a dtype of NumPy: use float().numpy()"
        )
    return array


def _lent(tensor: TensorSlots, force: bool = False) -> Array:
    """The array of a Tensor, whose memory counts as unwatched from now on (tensors/views.py)."""
    if tensor._requires_grad and mode.enabled and not truth("numpy", "force", force):
        raise RuntimeError(
            "[numpy] can't call numpy() on a Tensor that requires grad; use detach().numpy() instead"
        )
    tensor._cell.unwatched = True
    return tensor._read("numpy()")


def asarray(self: TensorSlots, dtype: Any = None, copy: bool | None = None) -> Array:
    """Tensor.__array__, which `numpy.asarray` calls."""
    array: Array = self.numpy()  # the method, since a subclass may have another
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise OpError(
                f"[__array__] a {array.dtype} Tensor cannot become {np.dtype(dtype)} without a copy"
            )
        return array.astype(dtype)
    if copy:
        return array.copy()
    return array


def as_capsule(self: TensorSlots, **settings: Any) -> Any:
    """Tensor.__dlpack__, which `from_dlpack` of other libraries calls."""
    array = _lent(self)
    if array.dtype != BF16:
        return array.__dlpack__(**settings)
    capsule = array.view(np.uint16).__dlpack__(**settings)
    recoded(capsule, UINT, BFLOAT)
    return capsule


def recoded(capsule: object, before: int, after: int) -> bool:
    """Changes the code of the dtype in a DLPack capsule that was not used yet from `before` to `after`.
    Returns whether the code was `before`; else nothing is changed."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    name = api.PyCapsule_GetName(ctypes.py_object(capsule))
    if name not in _PLACES:
        return False
    start = api.PyCapsule_GetPointer(ctypes.py_object(capsule), ctypes.c_char_p(name))
    code = ctypes.c_uint8.from_address(start + _PLACES[name])
    had = code.value == before
    if had:
        code.value = after
    return had
