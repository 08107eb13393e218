"""`share_memory_` of tensors and `share_memory` of modules: memory that processes have in common.

Children that are forked have it; a Process that is spawned gets the name of the memory in place of a copy, as
`multiprocessing` pickles its arguments.
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

_blocks: dict[int, shared_memory.SharedMemory] = {}  # by the address where they begin


def share(tensor: Any) -> Any:
    """Moves the values of a tensor into memory that other processes have too; gives the tensor."""
    if not is_shared(tensor):
        block = shared_memory.SharedMemory(create=True, size=max(1, tensor.nbytes))
        array = _array(block, tensor.shape, tensor.dtype)
        weakref.finalize(array, _remove, block, os.getpid())
        array[...] = tensor.detach().numpy()
        tensor.data = array
    return tensor


def share_all(module: Module) -> Module:
    """Moves the parameters and buffers of a module into memory that other processes have too."""
    for tensor in (*module.parameters(), *module.buffers()):
        share(tensor)
    return module


def is_shared(tensor: Any) -> bool:
    """Whether the values lie in memory that other processes have too."""
    return _address(tensor) in _blocks


def attach() -> None:
    """Gives tensors and modules their methods, and tells `multiprocessing` how it sends tensors."""
    Tensor.share_memory_, Tensor.is_shared = share, is_shared  # type: ignore[attr-defined,assignment]
    Module.share_memory = share_all  # type: ignore[attr-defined]
    for kind in (Tensor, Parameter, Buffer):
        ForkingPickler.register(kind, _sent)


def _address(tensor: Any) -> int:
    return int(tensor.detach().numpy().ctypes.data)


def _array(block: shared_memory.SharedMemory, shape: Any, dtype: Any) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.ndarray(tuple(shape), np.dtype(dtype), block.buf)
    _blocks[array.ctypes.data] = block
    weakref.finalize(array, _blocks.pop, array.ctypes.data, None)
    return array


def _remove(block: shared_memory.SharedMemory, process: int) -> None:
    """Removes the name of memory that no tensor of the process that made it has any more."""
    if os.getpid() == process:
        with contextlib.suppress(FileNotFoundError):
            block.unlink()


def _sent(tensor: Any) -> Any:
    if not is_shared(tensor):
        return tensor.__reduce_ex__(4)
    name = _blocks[_address(tensor)].name
    return _received, (type(tensor), name, tuple(tensor.shape), str(tensor.dtype), tensor.requires_grad)


def _received(kind: type, name: str, shape: Any, dtype: str, requires_grad: bool) -> Any:
    array = _array(shared_memory.SharedMemory(name), shape, dtype.removeprefix("torch."))
    tensor = kind(array) if kind is not Tensor else Tensor(0)
    tensor.data = array
    return tensor.requires_grad_(requires_grad)
