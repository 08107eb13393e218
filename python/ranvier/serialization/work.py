"""Limits the cost of reading a file of unknown origin: all work on the file is charged to one counter."""

from __future__ import annotations

from typing import Any

from ranvier.serialization.foreign_files import FileError

BASE = 2**23
"""Bytes of memory that a reader may use for a file of any length."""

PER_BYTE = 40
"""Bytes in addition for each byte of a pickle or JSON, whose objects are so much larger."""


class Work:
    """A counter of bytes of memory. A step of work, such as the hash of an element, counts as eight bytes.

    allowed: the bytes allowed in addition to `BASE`. A reader that learns the number later adds it to `left`.
    """

    def __init__(self, allowed: int = 0) -> None:
        self.left = BASE + allowed

    def charge(self, cost: int) -> None:
        """Called before the work is done. Raises FileError if the file has asked for too much in all."""
        self.left -= cost
        if self.left < 0:
            raise FileError("asks for far more work or memory than its length allows")


LARGE = 2**24  # Smaller integers collide too seldom to matter.


class Keys:
    """Charges for the keys of dicts and sets, which are hashed and compared at each use.

    A forged file may have integers that all collide in a hash table. So each large integer is charged for a
    comparison with all large integers before it.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.large = 0

    def charge(self, key: Any) -> None:
        if isinstance(key, (str, bytes)):
            self.work.charge(8 + len(key) // 8)
        elif isinstance(key, (int, float, complex)):
            if isinstance(key, int) and not -(2**63) <= key < 2**64:
                raise FileError("has a key that is an integer of more than 64 bits")
            self.large += not (isinstance(key, int) and abs(key) < LARGE)
            self.work.charge(8 + self.large // 50)  # 50 comparisons count as a byte
        else:
            self.work.charge(8)
