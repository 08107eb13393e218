"""Results that are bitwise equal."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def same_bits(
    threads: Callable[[int], None], run: Callable[[], Any], counts: Iterable[int] = (1, 2, 3, 4)
) -> None:
    """run() gives an array, or several or None, of the same bits at any number of threads."""
    first: list[bytes] = []
    for count in counts:
        threads(count)
        found = run()
        found = found if isinstance(found, (tuple, list)) else (found,)
        bits = [np.asarray(y).tobytes() for y in found if y is not None]
        first = first or bits
        assert bits == first, f"{count} threads"
