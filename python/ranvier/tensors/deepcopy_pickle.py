"""deepcopy and pickle of Tensors: copies share memory in the same way as the Tensors that they are copies of.

As in PyTorch, if other Tensors share the memory of a Tensor, the whole memory is copied (`TensorMemory`),
with the place of each Tensor in it; else only the elements of the Tensor. NumPy arrays on the memory do not
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.lib.stride_tricks import as_strided

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.observe import refuse
from ranvier.tensors.memory import Array, copied
from ranvier.tensors.views import bounds, is_shared, share

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots


def deepcopied(self: Any, memo: dict[int, Any], with_grad: bool = True) -> Any:
    """Tensor.__deepcopy__: a copy with memory of its own; with_grad: also of the gradient."""
    if self._grad_fn is not None:
        raise RuntimeError("[deepcopy] only leaves can be deep-copied; detach() or clone() the tensor")
    if id(self) in memo:
        return memo[id(self)]
    if is_shared(self) and self._array.size:
        kind, memory, *place = _placed(self)
        if id(memory) not in memo:
            if memory.array is not self._array:
                refuse("a deep copy of a view", "copy before the step")
            memo[id(memory)] = TensorMemory(copied(memory.array))
            # As deepcopy itself does: the memory is kept alive, so that its id stays unique while memo
            # exists.
            memo.setdefault(id(memo), []).append(memory)
        out = rebuild_shared(kind, memo[id(memory)], *place)
    else:
        out = rebuild(type(self), copied(self._array), self._requires_grad)
    memo[id(self)] = out
    if with_grad and self.grad is not None:
        out.grad = self.grad.__deepcopy__(memo)
    if self.__dict__:
        out.__dict__.update(deepcopy(self.__dict__, memo))
    return out


def reduced(self: Any) -> Any:
    """Tensor.__reduce_ex__, for pickle. NumPy's pickle of an array keeps C order and Fortran order only, so
    an array in another order is pickled with its memory."""
    array = self._array
    permuted = not array.flags.forc and memory_of(array).array.nbytes == array.nbytes
    if array.size and (permuted or is_shared(self)):
        return rebuild_shared, _placed(self), self.__dict__ or None
    return rebuild, (type(self), array, self._requires_grad), self.__dict__ or None


def rebuild(kind: type, array: Array, requires_grad: bool) -> Any:
    """A leaf of the given class around an array."""
    tensor: Any = object.__new__(kind)
    fill(tensor, array, requires_grad)
    return tensor


def make_subclass(kind: type, data: TensorSlots, require_grad: bool = False) -> Any:
    """A leaf of a subclass of Tensor on the memory of a tensor."""
    out = rebuild(kind, data._array, require_grad)
    share(data, out)
    return out


def fill(tensor: TensorSlots, array: Array, requires_grad: bool) -> None:
    """Sets the slots of a new Tensor, a leaf on this array."""
    tensor._array = array
    tensor._grad = None
    tensor._requires_grad = bool(requires_grad)
    tensor._grad_fn = None
    tensor._view = None
    tensor._cell = cell = _core._Cell()
    cell.inference = mode.inference


def is_of_program(kind: type) -> bool:
    """True for a class that a program has derived from Tensor. (Tensor itself derives from object; its
    ``__module__`` may be that of a satellite, see `extension.show_in`.)"""
    return kind.__mro__[1] is not object and not kind.__module__.startswith("ranvier.")


def in_class_of(tensor: Any, other: Any) -> Any:
    """The tensor, which nobody else holds, as an instance of the class that a program has derived for
    `other`, with the attributes of `other`; the tensor itself if `other` is of a class of the library."""
    kind = type(other)
    if kind is type(tensor) or not is_of_program(kind):
        return tensor
    try:
        tensor.__class__ = kind
    except TypeError:  # a class with slots of its own
        out = rebuild(kind, tensor._array, False)
        for name in ("_cell", "_requires_grad", "_grad_fn", "_view"):
            setattr(out, name, getattr(tensor, name))
        tensor = out
    for name, value in getattr(other, "__dict__", {}).items():
        if name not in ("_is_param", "_is_buffer"):  # marks of nn/parameter.py, which say what `other` is
            vars(tensor)[name] = value
    return tensor


_firsts: WeakValueDictionary[int, Any] = WeakValueDictionary()  # Tensors by the id of their memory


def rebuild_shared(
    kind: type,
    of: TensorMemory,
    offset: int,
    shape: tuple[int, ...],
    strides: Sequence[int],
    dtype: np.dtype[Any],
    requires_grad: bool,
) -> Any:
    """A leaf on a part of a copied memory. offset: in bytes. All leaves on it share one count of changes."""
    memory = of.array
    array = memory
    if memory.shape != shape or memory.dtype != dtype or memory.strides != strides:
        array = np.ndarray(shape, dtype, memory, offset, strides)
    tensor = rebuild(kind, array, requires_grad)
    first = _firsts.get(id(memory))
    # The id may be that of an earlier memory, whose Tensor now has another array.
    if first is not None and np.may_share_memory(first._array, memory):
        share(first, tensor)
    else:
        _firsts[id(memory)] = tensor
    return tensor


def _placed(tensor: TensorSlots) -> tuple[Any, ...]:
    """The arguments of :func:`rebuild_shared`."""
    array = tensor._array
    memory, offset = place_in_memory(array)
    requires_grad = tensor._requires_grad
    return type(tensor), memory, offset, array.shape, array.strides, array.dtype, requires_grad


class TensorMemory:
    """The memory of Tensors, in C order. It is an object so that a pickle writes it once for all its
    Tensors."""

    def __init__(self, array: Array) -> None:
        self.array = array


# By the id of the array that owns the memory.
_memories: WeakValueDictionary[int, TensorMemory] = WeakValueDictionary()


def memory_of(array: Array) -> TensorMemory:
    """The memory of which an array is a part: the same object for all arrays there, while it is in use."""
    owner = array
    while isinstance(owner.base, np.ndarray) and not isinstance(owner, _OfSlice):
        owner = owner.base
    memory = _memories.get(id(owner))
    if memory is None:
        whole = np.asarray(owner)
        if not owner.flags.c_contiguous:
            low, high = bounds(owner)
            # the element at the lowest address: along a dimension of negative stride it is the last
            key = tuple([slice(-1, None) if stride < 0 else slice(0, 1) for stride in owner.strides])
            lowest = owner[key]
            whole = as_strided(np.asarray(lowest).reshape(-1).view(np.uint8), (high - low,), (1,))
        # `whole` keeps the owner alive, so that the owner's id stays unique.
        memory = _memories[id(owner)] = TensorMemory(whole)
    return memory


def place_in_memory(array: Array) -> tuple[TensorMemory, int]:
    """The memory of which an array is a part, and the number of bytes in it before the array's first
    element."""
    memory = memory_of(array)
    if memory.array is array:
        return memory, 0
    return memory, array.ctypes.data - memory.array.ctypes.data


class _OfSlice(np.ndarray[Any, Any]):
    """Memory of a slice, at which :func:`memory_of` ends."""


def begin_alike(slices: Sequence[TensorSlots]) -> None:
    """Gives each slice of a Tensor a memory of its own that begins at the same distance before the slice.

    func/vectorized_map.py calls it with all slices along one dimension, so they are equally far apart.
    As in PyTorch's vmap, the same offset in these memories is then the same place in each slice (`as_strided`
    in a function under vmap).
    """
    distance = slices[-1]._array.ctypes.data - slices[0]._array.ctypes.data
    if distance < 0:
        slices = slices[::-1]
    step = abs(distance) // max(len(slices) - 1, 1)  # bytes from one slice to the next
    first = slices[0]._array
    memory, start = place_in_memory(first)
    whole = memory.array.reshape(-1).view(np.uint8)
    high = bounds(first)[1] - memory.array.ctypes.data
    shape = first.shape
    dtype = first.dtype
    strides = first.strides
    writeable = first.flags.writeable
    for i, x in enumerate(slices):
        # NumPy makes the array behind a chain of plain views the base. The [:] after the view as _OfSlice
        # keeps the _OfSlice as the base, at which `memory_of` ends.
        part = whole[i * step : i * step + high].view(_OfSlice)[:]
        x._array = np.ndarray(shape, dtype, part, start, strides)
        if not writeable:
            x._array.flags.writeable = False
