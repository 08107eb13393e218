"""Deferred: a gradient that is computed only where its array is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ranvier.tensors.memory import Array
    from ranvier.tensors.tensor import Tensor

    # A gradient within backward; a Tensor with create_graph=True.
    Gradient: TypeAlias = "Array | Deferred | Tensor"


class Deferred:
    """A gradient that becomes an array only where an array is needed.

    A Function's backward may return a Deferred for an input. The Function that made this input gets the
    Deferred unchanged, if it sets ``takes_deferred`` and the input has no other gradient. Sums, leaves, hooks
    and `rv.autograd.grad` call ``array()``. Which of both happens depends on the graph alone, so that an
    eager step and a compiled one make the same kernel calls.
    """

    __slots__ = ()
    # True: the subclass has `added_to` and `plus`, so that sums of gradients need not call ``array()``.
    joins = False
    shape: tuple[int, ...]

    def added_to(self, array: Array) -> Array:
        """Adds the gradient to the array in place, and returns the array."""
        raise NotImplementedError(f"{type(self).__name__}.added_to")

    def plus(self, other: Gradient) -> Deferred | None:
        """The sum with another gradient as a Deferred; None: the sum is made of arrays."""
        return None

    def array(self) -> Array:
        """The gradient as an array: a new one each time."""
        raise NotImplementedError(f"{type(self).__name__}.array")
