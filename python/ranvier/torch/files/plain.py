"""`torch._utils` and `torch.storage`: what pickles name that were written without `torch.save`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.tensors.types import DeviceLike
from ranvier.torch.files import load
from ranvier.torch.files.values import KNOWN

# The functions of `torch._utils` that files of `torch.save` name, too.
_PATHS = [path for path in KNOWN if path.startswith("torch._utils.")]
_FUNCTIONS = {path.rpartition(".")[2]: KNOWN[path].call for path in _PATHS}


def _load_from_bytes(content: bytes) -> Any:
    """A storage, which a pickle holds as the bytes of a file of `torch.save`."""
    return load(io.BytesIO(content), weights_only=False)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'torch._utils' has no attribute {name!r}")
    return _FUNCTIONS[name]


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Any:
    """The elements of all tensors, one after the other."""
    return rv.cat([x.reshape(-1) for x in tensors])


def _unflatten_dense_tensors(flat: Any, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """The inverse: the elements divided into tensors with the shapes of these."""
    parts = flat.split([x.numel() for x in tensors])
    return tuple(part.view(x.shape) for part, x in zip(parts, tensors, strict=True))


def _get_device_index(device: DeviceLike, optional: bool = False, allow_cpu: bool = False) -> int:
    """The number of a device: an int as it is, else -1, the CPU, or ValueError if that is not allowed."""
    if not allow_cpu and not isinstance(device, int):
        raise ValueError(f"[_get_device_index] got {device!r}; expected a GPU, and there is none")
    if isinstance(device, int):
        return device
    return -1


def _element_size(dtype: rv.dtype | np.dtype[Any]) -> int:
    return int(dtype.itemsize)


class ExceptionWrapper:
    """Keeps the exception that is being handled, so that it can be raised again in another place."""

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        self._error: Any = (exc_info or sys.exc_info())[1]
        self.exc_type = type(self._error)
        self.where = where

    def reraise(self) -> None:
        raise self._error


class classproperty:
    """A property that is read from the class."""

    def __init__(self, fget: Any) -> None:
        self.fget = fget

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self.fget(owner if owner is not None else type(instance))
