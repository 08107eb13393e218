"""Makes texts and names from files of unknown origin harmless, for a terminal and for an object."""

from __future__ import annotations

from inspect import getattr_static
from types import MemberDescriptorType
from typing import Any

_KEPT = str.maketrans({"\n": " ", "\t": " "})


def printable(text: str) -> str:
    """The text, with escapes for what no printer shows: codes that clear or retitle a terminal, turn the
    direction of writing ... Ends of lines and tabs stay.

    >>> printable("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    if text.translate(_KEPT).isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else ascii(c)[1:-1] for c in text)


def settable(kind: type, name: Any, slot: bool = False) -> bool:
    """True if a file may give an object of this class such an attribute.

    Python, NumPy and ctypes ask objects for names with underscores at both ends; others may hide a method. A
    plain value of the class is a default. slot: the name is one of the class's slots.
    """
    if not isinstance(name, str) or name[:1] == "_" == name[-1:]:
        return False
    own = getattr_static(kind, name, None)
    return (slot and isinstance(own, MemberDescriptorType)) or not (
        callable(own) or hasattr(type(own), "__get__")
    )
