"""The gradient of what only moves elements, in plain NumPy.

Each output element is one input element (a repeated one several times), so one backward serves all: do the
same to the numbers of the places, and add every gradient to the place it came from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def moved_backward(dy: Array, x: Array, move: Callable[[Array], Array]) -> Array:
    """The gradient of y = move(x), where move only moves, picks or repeats elements."""
    places = move(np.arange(x.size).reshape(x.shape))
    dx = np.zeros(x.size)
    np.add.at(dx, places, dy)
    return dx.reshape(x.shape)
