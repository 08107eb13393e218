"""deepcopy and pickle of Tensors, which keep which of them share memory, and where each begins in it.

As in PyTorch, the whole memory of which a Tensor is a part is copied, where another Tensor has it too; a
Tensor that has it alone is copied alone. An array of NumPy does not count as such another.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ranvier.autograd.memory import Array, copied
from ranvier.autograd.recording import recordings, refuse
from ranvier.autograd.views import bounds, is_shared, share


def deepcopied(self: Any, memo: dict[int, Any]) -> Any:
    """What copy.deepcopy calls."""
    if self._grad_fn is not None:
        raise RuntimeError("[deepcopy] only leaves can be deep-copied; detach() or clone() the tensor")
    if id(self) in memo:
        return memo[id(self)]
    if is_shared(self) and self._array.size:
        kind, memory, *place = _placed(self)
        if id(memory) not in memo:
            if memory is not self._array:
                refuse("a deep copy of a view", "copy before the step")
            memo[id(memory)] = copied(memory) if recordings else memory.copy()
            memo.setdefault(id(memo), []).append(memory)  # as deepcopy does, so that no other gets its id
        out = rebuild_shared(kind, memo[id(memory)], *place)
    else:
        array = copied(self._array) if recordings else self._array.copy(order="K")
        out = rebuild(type(self), array, self._requires_grad)
    memo[id(self)] = out
    if self.grad is not None:
        out.grad = self.grad.__deepcopy__(memo)
    if self.__dict__:
        out.__dict__.update(deepcopy(self.__dict__, memo))
    return out


def reduced(self: Any) -> Any:
    """What pickle calls. NumPy's pickle of an array keeps the orders C and Fortran alone."""
    array = self._array
    permuted = not array.flags.forc and memory_of(array).nbytes == array.nbytes
    if array.size and (permuted or is_shared(self)):
        return rebuild_shared, _placed(self), self.__dict__ or None
    return rebuild, (type(self), array, self._requires_grad), self.__dict__ or None


def rebuild(kind: Any, array: Array, requires_grad: bool) -> Any:
    """A leaf of the given class around an array."""
    tensor = object.__new__(kind)
    fill(tensor, array, requires_grad)
    return tensor


def fill(tensor: Any, array: Array, requires_grad: bool) -> None:
    tensor._array = array
    tensor._grad = None
    tensor._requires_grad = bool(requires_grad)
    tensor._grad_fn = None
    tensor._view = None
    tensor._cell = [0, None, 0]


_firsts: WeakValueDictionary[int, Any] = WeakValueDictionary()  # Tensors by the id of their memory


def rebuild_shared(
    kind: Any, memory: Array, offset: int, shape: Any, strides: Any, dtype: Any, requires_grad: bool
) -> Any:
    """A leaf on a part of a copied memory; all leaves there have one count of changes."""
    whole = memory.shape == shape and memory.dtype == dtype and memory.strides == strides
    array: Array = memory if whole else np.ndarray(shape, dtype, memory, offset, strides)
    tensor = rebuild(kind, array, requires_grad)
    first = _firsts.get(id(memory))
    if first is not None and np.may_share_memory(first._array, memory):
        share(first, tensor)
    else:
        _firsts[id(memory)] = tensor
    return tensor


def _placed(tensor: Any) -> tuple[Any, ...]:
    """The arguments of :func:`rebuild_shared`."""
    array, memory = tensor._array, memory_of(tensor._array)
    place = array.ctypes.data - memory.ctypes.data, array.shape, array.strides, array.dtype
    return type(tensor), memory, *place, tensor._requires_grad


_spans: WeakValueDictionary[int, Array] = WeakValueDictionary()  # by the id of the array that owns the memory


def memory_of(array: Array) -> Array:
    """The memory of which an array is a part, in C order: one object for all arrays there, as long as it is
    referred to, so that deepcopy and pickle see that it is the same."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if type(owner) is np.ndarray and owner.flags.c_contiguous:
        return owner
    memory = _spans.get(id(owner))
    if memory is None:
        low, high = bounds(owner)
        lowest = owner[tuple([slice(0, 1) if step >= 0 else slice(-1, None) for step in owner.strides])]
        first = np.asarray(lowest).reshape(-1).view(np.uint8)
        memory = _spans[id(owner)] = as_strided(first, (high - low,), (1,))
    return memory
