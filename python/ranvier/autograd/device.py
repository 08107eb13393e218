"""Devices under PyTorch's names: tensors are on the CPU only."""

from __future__ import annotations

_KINDS = ("cpu", "cuda", "mps", "xpu", "meta")


class device(str):
    """``device("cpu")``: a str that also has ``type`` and ``index``. Another device of PyTorch can be named,
    as programs do before they look whether it is there; a tensor that is sent to it raises ValueError.

    Raises ValueError for a name that PyTorch does not have either.

    >>> import ranvier as rv
    >>> rv.device("cuda:0" if rv.cuda.is_available() else "cpu")
    device(type='cpu')
    """

    __slots__ = ()

    def __new__(cls, name: object = "cpu", index: int | None = None) -> device:
        kind, colon, number = str(name).partition(":")
        if kind not in _KINDS or (colon and (index is not None or not number.isdigit())):
            raise ValueError(f"[device] got {str(name)!r}; expected 'cpu': this library computes on the CPU")
        number = number if index is None else str(index)
        return super().__new__(cls, kind if not number or kind == "cpu" else f"{kind}:{number}")

    @property
    def type(self) -> str:
        return str(self).partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        number = str(self).partition(":")[2]
        return int(number) if number else None

    def __repr__(self) -> str:
        number = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{number})"


def set_default_device(device: object) -> None:
    """Takes the CPU, where all tensors are, or None. Raises ValueError for another device.

    >>> import ranvier as rv
    >>> rv.set_default_device("cpu")
    """
    if device is not None:
        require_cpu(device)


def get_default_device() -> device:
    """The CPU.

    >>> import ranvier as rv
    >>> rv.get_default_device()
    device(type='cpu')
    """
    return CPU


def require_cpu(name: object) -> None:
    """Raises ValueError unless this is a name of the CPU."""
    if device(name) != CPU:
        raise ValueError(f"[device] got {str(name)!r}; expected 'cpu': this library computes on the CPU")


CPU = device()
