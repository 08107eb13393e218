"""OpCase for ops that only move elements: what is expected is given as a function of NumPy arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
from reference.shape import moved_backward
from support.op_case import Array, OpCase


def case(
    name: str, arguments: tuple[Any, ...], move: Callable[[Array], Array], shape: Any = (2, 3, 4, 5)
) -> dict[str, Any]:
    """One variant: the op's name and arguments, and the same move in NumPy."""
    return {"name": name, "move_arguments": arguments, "move": move, "shape": shape}


class MoveCase(OpCase):
    move: Callable[[Array], Array]

    def drawn_move(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random variant."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, dtype: Any) -> tuple[dict[str, Any], tuple[Array, ...]]:
        drawn = self.drawn_move(rng)
        return drawn, self.sized(rng, dtype, drawn["shape"])

    def reduction(self, x: Array) -> int:
        return 100  # repetitions of an element, at most

    def after(self, *arrays: Any) -> tuple[Any, ...]:
        return self.move_arguments

    def reference(self, x: Array) -> Array:
        return self.move(x)

    def reference_backward(self, dy: Array, x: Array) -> tuple[Array]:
        return (moved_backward(dy, x, self.move),)
