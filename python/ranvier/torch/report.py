"""`--report`: which names were asked for and are not there, and which calls ran in NumPy."""

from __future__ import annotations

import atexit
import sys
from collections import Counter

_missing: Counter[str] = Counter()


def missing(name: str) -> None:
    """Notes a name that is not there."""
    _missing[name] += 1


def start() -> None:
    """Prints the report when the process ends."""
    atexit.register(_print)


def _print() -> None:
    lines = [f"  {name}" for name in sorted(_missing)]
    print("names that ranvier does not have:", *(lines or ["  none"]), sep="\n", file=sys.stderr)
