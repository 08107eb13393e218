"""`Tensor.share_memory_` and `Module.share_memory`: move values into memory that several processes share.

A forked child process shares it in any case. When `multiprocessing` pickles a tensor for a spawned process,
it sends the name of the memory instead of a copy (`_reduce`, `_rebuild`).
"""

from __future__ import annotations

import contextlib
import os
import weakref
from multiprocessing import shared_memory
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from ranvier import Tensor
from ranvier.nn import Buffer, Module, Parameter
from ranvier.tensors.memory import Array
from ranvier.tensors.types import DtypeLike, Shape

_blocks: dict[int, shared_memory.SharedMemory] = {}  # first address -> the block of shared memory


def share_memory_(tensor: Tensor) -> Any:
    """Moves the values of a tensor into memory that other processes have too; gives the tensor."""
    if not is_shared(tensor):
        block = shared_memory.SharedMemory(create=True, size=max(1, tensor.nbytes))
        array = _array(block, tensor.dtype, tensor.shape)
        weakref.finalize(_owner(array), _remove, block, os.getpid())
        array[...] = tensor._array
        tensor.data = array
    return tensor


def share_all(module: Module) -> Module:
    """Moves the parameters and buffers of a module into memory that other processes have too."""

    def share(tensor: Tensor) -> Any:
        return share_memory_(tensor)

    share.__qualname__ = "Module.share_memory.<locals>.share"  # as in PyTorch: see `nn/conversion.py`
    return module._apply(share)


def is_shared(tensor: Tensor) -> bool:
    """True if the values lie in memory that other processes have too."""
    return _owner(tensor._array).ctypes.data in _blocks


def _owner(array: Array) -> Array:
    """The array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _array(
    block: shared_memory.SharedMemory,
    dtype: DtypeLike,
    shape: Shape,
    offset: int = 0,
    strides: tuple[int, ...] | None = None,
) -> Array:
    """An array on a block of shared memory. offset, strides: in bytes; None: those of C order."""
    memory: Array = np.ndarray(block.size, np.uint8, block.buf)
    address = memory.ctypes.data
    _blocks[address] = block
    weakref.finalize(memory, _blocks.pop, address, None)
    return np.ndarray(tuple(shape), np.dtype(dtype), memory, offset, strides)


def _remove(block: shared_memory.SharedMemory, process: int) -> None:
    """Removes the name of a block, in the process that made it; the memory lasts as long as it is used."""
    if os.getpid() == process:
        with contextlib.suppress(FileNotFoundError):
            block.unlink()


def _reduce(tensor: Tensor) -> Any:
    """How `multiprocessing` pickles a tensor: as a call of `_rebuild`, if it is in shared memory."""
    if not is_shared(tensor):
        return tensor.__reduce_ex__(4)
    array = tensor._array
    start = _owner(array).ctypes.data
    offset = array.ctypes.data - start
    block_name = _blocks[start].name
    return _rebuild, (
        type(tensor), block_name, array.dtype, tensor.requires_grad, array.shape, offset, array.strides,
    )  # fmt: skip


def _rebuild(
    cls: type,
    block_name: str,
    dtype: np.dtype[Any],
    requires_grad: bool,
    shape: Shape,
    offset: int,
    strides: tuple[int, ...],
) -> Any:
    """The tensor in the process that receives it, on the same memory."""
    array = _array(shared_memory.SharedMemory(block_name), dtype, shape, offset, strides)
    if cls is Tensor:
        tensor = Tensor(0)  # of any value: its memory is replaced
    else:
        tensor = cls(array)
    tensor.data = array
    return tensor.requires_grad_(requires_grad)


for _class in (Tensor, Parameter, Buffer):
    ForkingPickler.register(_class, _reduce)
