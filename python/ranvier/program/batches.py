"""Batches: which samples of arrays a program runs on, batch after batch, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Batches"]


@dataclass
class Batches:
    """`count` batches of `size` samples each, from number `first` on.

    Attributes:
        order: the samples of all batches, as indices; None: as they are.
        done: how many of them a call has run, also if it raised an exception.
    """

    order: np.ndarray[Any, np.dtype[np.intp]] | None
    size: int
    first: int
    count: int
    done: int = 0
