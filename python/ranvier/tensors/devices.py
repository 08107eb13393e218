"""Devices: the CPU, and "meta", whose tensors have a shape and a dtype, but no values.

Meta tensors are made by a satellite package (`ranvier/torch/tensors/meta.py`), which registers itself in
`makers`. As long as none is registered, only the CPU exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ranvier._core as _core
from ranvier.settings import ThreadSettings
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import Array, filled

if TYPE_CHECKING:
    import numpy as np

makers: dict[str, Callable[[], Any]] = {}  # by the name of a device: returns the module of its tensors
_KINDS = ("cpu", "cuda", "mps", "xpu", "meta")


class device(str):
    """``device("cpu")``: a str that also has ``type`` and ``index``. Another device of PyTorch can be named,
    as programs do before they look whether it is there; a tensor that is sent to it raises ValueError.
    As a context it is the device of new tensors of this thread.

    Raises ValueError for a name that PyTorch does not have either.

    >>> import ranvier as rv
    >>> rv.device("cuda:0" if rv.cuda.is_available() else "cpu")
    device(type='cpu')
    """

    __slots__ = ()

    def __new__(cls, name: object = "cpu", index: int | None = None) -> device:
        kind, colon, number = str(name).partition(":")
        if kind not in _KINDS or (colon and (index is not None or not number.isdigit())):
            raise OpError(f"[device] got {str(name)!r}; expected 'cpu': this library computes on the CPU")
        if index is not None:
            number = str(index)
        if number:
            return super().__new__(cls, f"{kind}:{number}")
        return super().__new__(cls, kind)

    @property
    def type(self) -> str:
        return str(self).partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        number = str(self).partition(":")[2]
        if number:
            return int(number)
        return None

    def __enter__(self) -> device:
        contexts.append(self)
        _of_thread.contexts += (self,)
        return self

    def __exit__(self, *error: object) -> None:
        contexts.remove(self)  # not the last entry: a default device may have been set in the block
        _of_thread.contexts = _of_thread.contexts[:-1]

    def __repr__(self) -> str:
        number = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{number})"


CPU = device()


_of_thread = ThreadSettings(default=None, contexts=())
# The contexts and default devices of all threads. If the list is empty, no thread has to look up its own.
contexts: list[device] = []


def set_default_device(device: object) -> None:
    """The device of new tensors of this thread: "cpu", "meta", or None, which is the CPU.

    >>> import ranvier as rv
    >>> rv.set_default_device("cpu")
    """
    chosen = None if device is None else _device(device)
    # The CPU is the default anyway; with None, new tensors need not look at devices.
    if chosen is not None and chosen.type == "cpu":
        chosen = None
    if chosen is not None:
        contexts.append(chosen)
    if _of_thread.default is not None:
        contexts.remove(_of_thread.default)
    _of_thread.default = chosen


def get_default_device() -> device:
    """The device of new tensors.

    >>> import ranvier as rv
    >>> rv.get_default_device()
    device(type='cpu')
    """
    if _of_thread.contexts:
        return _of_thread.contexts[-1]
    return _of_thread.default or CPU


def is_meta(on: object) -> bool:
    """True if new tensors on this device have no values; None is the default device."""
    if on is None:
        on = get_default_device()
    return on is not CPU and on != "cpu" and _device(on).type == "meta" and "meta" in makers


def filled_on(on: object, value: float | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """:func:`filled` for a device, a name of one or None; on "meta" without memory."""
    if is_meta(on):
        return makers["meta"]().without_memory(shape, dtype)
    return filled(value, shape, dtype)


def on_device(array: Array, on: object) -> Any:
    """A Tensor of the array, on "meta" without its values. Raises ValueError for other devices."""
    if is_meta(on):
        return makers["meta"]().meta(array)
    if on is None:
        on = get_default_device()
    require_cpu(on)
    return _core._wrap(array)


def require_cpu(name: object) -> None:
    """Raises ValueError unless this is a name of the CPU."""
    if _device(name).type != "cpu":
        raise OpError(f"[device] got {str(name)!r}; expected 'cpu': this library computes on the CPU")


_device = device  # For functions with an argument that is called `device`.
