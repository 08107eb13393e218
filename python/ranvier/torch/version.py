"""The version of PyTorch whose names these are, as `torch.__version__`."""

from __future__ import annotations

import re
from typing import Any

from ranvier import __version__ as _RANVIER

TORCH = "2.13.0"
TORCHVISION = "0.28.0"
LOCAL = "ranvier" + re.sub(r"[^0-9a-z.]", "", _RANVIER)


class TorchVersion(str):
    """A version: a text that is compared with texts and tuples by its numbers, as torch.torch_version has it.

    >>> TorchVersion("2.13.0+cpu") >= "2.9", TorchVersion("2.13.0") >= (1, 8)
    (True, True)
    """

    def __lt__(self, other: Any) -> bool:
        return _numbers(self) < _numbers(other)

    def __le__(self, other: Any) -> bool:
        return _numbers(self) <= _numbers(other)

    def __gt__(self, other: Any) -> bool:
        return _numbers(self) > _numbers(other)

    def __ge__(self, other: Any) -> bool:
        return _numbers(self) >= _numbers(other)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str(self) == other
        return _numbers(self) == _numbers(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _numbers(version: Any) -> tuple[int, ...]:
    """The numbers of the release, without zeros at its end: (2, 13) of "2.13.0+cpu" and of (2, 13, 0)."""
    if isinstance(version, str):
        found = re.match(r"[\d.]*", version)
        version = found.group().split(".") if found else ()
    numbers = [int(n) for n in version if str(n).isdigit()]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


__version__ = TorchVersion(f"{TORCH}+{LOCAL}")
cuda = hip = xpu = None
debug = False
git_version = "Unknown"
