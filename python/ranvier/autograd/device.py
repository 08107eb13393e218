"""The one device, the CPU, under PyTorch's name."""

from __future__ import annotations


class device(str):
    """``device("cpu")``: a str that also has ``type`` and ``index``. Raises ValueError for any other device.

    >>> import ranvier as rv
    >>> rv.device("cuda" if rv.cuda.is_available() else "cpu")
    device(type='cpu')
    """

    __slots__ = ()

    def __new__(cls, name: object = "cpu", index: int | None = None) -> device:
        if str(name) not in ("cpu", "cpu:0"):
            raise ValueError(f"[device] got {str(name)!r}; expected 'cpu': this library computes on the CPU")
        return super().__new__(cls, "cpu")

    @property
    def type(self) -> str:
        return str(self)

    @property
    def index(self) -> None:  # type: ignore[override]
        return None

    def __repr__(self) -> str:
        return "device(type='cpu')"


CPU = device()
