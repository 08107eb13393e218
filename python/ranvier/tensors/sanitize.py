"""Makes texts and names from files of unknown origin harmless, for a terminal and for an object."""

from __future__ import annotations

from inspect import getattr_static
from types import MemberDescriptorType

_KEPT = str.maketrans({"\n": " ", "\t": " "})


def printable(text: str) -> str:
    """The text, with escapes in place of characters that are not printable, such as codes that clear a
    terminal or turn the direction of writing. Ends of lines and tabs stay.

    >>> printable("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    if text.translate(_KEPT).isprintable():
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    """A printable character, or the end of a line or a tab, as it is; another as an escape."""
    if character in "\n\t" or character.isprintable():
        return character
    return ascii(character)[1:-1]


def settable(kind: type, name: object, slot: bool = False) -> bool:
    """True if a file may set the attribute `name` on an object of this class.

    Names with underscores at both ends are refused, since Python, NumPy and ctypes ask objects for them. So
    are names of methods and properties of the class, which the attribute would hide. A plain value in the
    class is a default, which may be replaced. slot: whether a slot of the class may be set.
    """
    if not isinstance(name, str) or name[:1] == "_" == name[-1:]:
        return False
    own = getattr_static(kind, name, None)
    is_value = not (callable(own) or hasattr(type(own), "__get__"))
    return is_value or (slot and isinstance(own, MemberDescriptorType))
