"""`torch._utils` and `torch.storage`: what pickles name that were written without `torch.save`, and a few
private functions of PyTorch that programs use."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.tensors.types import DeviceLike
from ranvier.torch.files import load
from ranvier.torch.files.values import KNOWN

# The functions of `torch._utils` that files of `torch.save` name, too.
_PREFIX = "torch._utils."
_FUNCTIONS = {path.removeprefix(_PREFIX): KNOWN[path].call for path in KNOWN if path.startswith(_PREFIX)}


def _load_from_bytes(content: bytes) -> Any:
    """A storage, which a pickle holds as the bytes of a file of `torch.save`."""
    return load(io.BytesIO(content), weights_only=False)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'torch._utils' has no attribute {name!r}")
    return _FUNCTIONS[name]


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """The elements of all tensors, one after the other."""
    return rv.cat([x.reshape(-1) for x in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inverse: the elements divided into tensors with the shapes of these."""
    sections = flat.split([x.numel() for x in tensors])
    return tuple(section.view(x.shape) for section, x in zip(sections, tensors, strict=True))


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
    """Keeps the exception that is being handled, so that it can be raised again in another place.

    exc_info: as of ``sys.exc_info()``; None: that of now.
    where: a text that says where it was raised.
    """

    def __init__(
        self,
        exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | None = None,
        where: str = "in background",
    ) -> None:
        _, error, _ = exc_info or sys.exc_info()
        self._error: Any = error
        self.exc_type = type(error)
        self.where = where

    def reraise(self) -> None:
        raise self._error


class classproperty:
    """A property that is read from the class."""

    def __init__(self, fget: Callable[[Any], Any]) -> None:
        self.fget = fget

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if owner is None:
            owner = type(instance)
        return self.fget(owner)
