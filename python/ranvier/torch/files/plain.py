"""`torch._utils` and `torch.storage`: what pickles of PyTorch's tensors name that no torch.save wrote."""

from __future__ import annotations

import io
import sys
from typing import Any

import ranvier as rv
from ranvier.torch.files import load
from ranvier.torch.files.values import KNOWN

_FUNCTIONS = {
    path.rpartition(".")[2]: known.call for path, known in KNOWN.items() if path.startswith("torch._utils.")
}


def _load_from_bytes(content: bytes) -> Any:
    """The storage in a file that is part of a pickle."""
    return load(io.BytesIO(content), weights_only=False)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'torch._utils' has no attribute {name!r}")
    return _FUNCTIONS[name]


def _flatten_dense_tensors(tensors: Any) -> Any:
    """The elements of all tensors, one after the other."""
    return rv.cat([x.reshape(-1) for x in tensors])


def _unflatten_dense_tensors(flat: Any, tensors: Any) -> tuple[Any, ...]:
    """The parts of such elements, in the shapes of the tensors."""
    parts = flat.split([x.numel() for x in tensors])
    return tuple(part.view(x.shape) for part, x in zip(parts, tensors, strict=True))


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """-1, the CPU's; raises ValueError where it is not allowed."""
    if not allow_cpu and not isinstance(device, int):
        raise ValueError(f"[_get_device_index] got {device!r}; expected a GPU, and there is none")
    return device if isinstance(device, int) else -1


def _element_size(dtype: Any) -> int:
    return int(dtype.itemsize)


class ExceptionWrapper:
    """The error in hand, to be raised again elsewhere."""

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        self._error: Any = (exc_info or sys.exc_info())[1]
        self.exc_type = type(self._error)
        self.where = where

    def reraise(self) -> None:
        raise self._error


class classproperty:
    """A property of a class."""

    def __init__(self, fget: Any) -> None:
        self.fget = fget

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self.fget(owner if owner is not None else type(instance))
