"""Deferred: a gradient that is computed only where its array is needed."""

from __future__ import annotations

from typing import Any

import ranvier._core as _core


class Deferred:
    """A gradient that becomes an array where one is needed.

    A backward may return one. The Function that made the input gets it unchanged if it sets
    ``takes_deferred`` and gets no other gradient; sums, leaves, hooks and `rv.autograd.grad` get ``array()``.
    The form depends on the graph alone, so that an eager step and a compiled one make the same kernel calls.
    """

    __slots__ = ()
    joins = False  # True: it is one until all gradients of the tensor are there, and has these two, too
    shape: tuple[int, ...]

    def added_to(self, array: Any) -> Any:
        """The array, which is changed to the sum."""

    def plus(self, other: Any) -> Any:
        """The sum with another gradient; None where that is one of arrays."""

    def array(self) -> Any:
        """The gradient as an array: a new one each time."""
        raise NotImplementedError(f"{type(self).__name__}.array")


_core._set_deferred(Deferred)
