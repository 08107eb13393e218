"""Gradients that a Function hands on in a shorter form than the array."""

from __future__ import annotations

from typing import Any


class Deferred:
    """A gradient that becomes an array where one is needed.

    A backward may return one. It reaches the Function that made the input as it is, if that Function says
    ``takes_deferred`` and gets no other gradient; anything else (a sum, a leaf, a hook, `rv.autograd.grad`)
    gets ``array()``. Which form arrives depends on the graph alone, so that an eager step and a captured one
    make the same kernel calls.
    """

    __slots__ = ()

    def array(self) -> Any:
        """The gradient as an array: a new one each time."""
        raise NotImplementedError(f"{type(self).__name__}.array")
