"""Gradients that a Function passes on in a shorter form than the array."""

from __future__ import annotations

from typing import Any


class Deferred:
    """A gradient that becomes an array where one is needed.

    A backward may return one. The Function that made the input gets it unchanged if it sets
    ``takes_deferred`` and gets no other gradient; sums, leaves, hooks and `rv.autograd.grad` get ``array()``.
    The form depends on the graph alone, so that an eager step and a compiled one make the same kernel calls.
    """

    __slots__ = ()

    def array(self) -> Any:
        """The gradient as an array: a new one each time."""
        raise NotImplementedError(f"{type(self).__name__}.array")
