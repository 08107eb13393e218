"""Objects in place of PyTorch's names that this library leaves out: they can be imported, but not called.

Libraries import many names that they use rarely. `finder.py` gives them such an object, whose call raises an
error with the name and the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ranvier.torch.installation.names import why

# Names of functions that answer a question, such as is_x or x_available: a call returns False.
_QUESTION = r"(_|\w+_)?(is|are|has|can|should|supports?)_|\w+_(enabled|available|supported)$"
# Names of exceptions, which programs put into `except`: their objects derive from Exception.
_EXCEPTION = r"\w*(Error|Exception|Warning|Unsupported)$"


def _full_path(path: str) -> str:
    """The path with the package: "torch.fx" for "fx", which has none."""
    if path.startswith("torchvision."):
        return path
    return f"torch.{path}"


class _Absent(type):
    """The metaclass of these objects, which are classes.

    They can be used in annotations, as base classes, and in isinstance, which is False. A call raises, except
    of a name that matches `_QUESTION`: it returns False.
    """

    _path: str

    def __bool__(cls) -> bool:
        return not re.match(_QUESTION, cls.__name__)

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        if not cls:
            return False
        reason = why(cls._path)
        if cls._path.startswith("torchvision."):
            reason += "; `pip install --no-deps torchvision` brings it"
        raise NotImplementedError(f"[{_full_path(cls._path)}] ranvier leaves it out: {reason}")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls._path}.{name}")

    def __getitem__(cls, key: object) -> _Absent:
        return cls

    def __iter__(cls) -> Iterator[Any]:  # else Python asks for item 0, 1, 2 ... without end
        return iter(())


@cache  # libraries ask for a type at each call: isinstance(x, torch.SymInt)
def absent(path: str) -> Any:
    """The object in place of a name that is left out; path: without "torch.". A call of it raises.

    >>> absent("fx.replace_pattern")(None)
    Traceback (most recent call last):
    NotImplementedError: [torch.fx.replace_pattern] ranvier leaves it out: there are no graphs of modules
    """
    module, _, name = _full_path(path).rpartition(".")
    bases: tuple[type, ...] = ()
    if re.match(_EXCEPTION, name):
        bases = (Exception,)
    return _Absent(name, bases, {"_path": path, "__module__": module})


def is_absent(value: object) -> bool:
    """True for an object that `absent` made."""
    return type(value) is _Absent
