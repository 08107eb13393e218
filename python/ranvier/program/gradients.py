"""The gradients that a step begins with, or leaves."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from ranvier.autograd.memory import like
from ranvier.autograd.recording import Recording
from ranvier.autograd.tensor import Tensor, wrap

Array = np.ndarray[Any, Any]

__all__ = ["address_of", "carried_over", "forget_local", "given", "is_there", "renewed", "shared"]


def forget_local(recording: Recording) -> None:
    """Drops the leaves that ended with the step, as images that a gradient penalty is computed at."""
    for key in list(recording.leaves):
        leaf, *rest = recording.leaves.pop(key)
        alive = ref(leaf)
        del leaf
        if (leaf := alive()) is not None:
            recording.leaves[key] = (leaf, *rest)


def address_of(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def carried_over(recording: Recording) -> list[tuple[Any, int]]:
    """(leaf, address of its gradient before the step, or 0) where the step adds to it, or reads it."""
    added = [
        (leaf, 0 if (before := None if array is None else array()) is None else address_of(before))
        for leaf, _, array, carried in recording.leaves.values()
        if carried
    ]
    core = recording.core
    read = [
        (leaf, address_of(array)) for leaf, array in recording.dropped.values() if core.region_of(array) >= 0
    ]
    return added + read


def given(recording: Recording, tensors: list[Tensor]) -> list[tuple[Tensor, int]]:
    """(tensor, address of its gradient) where the step uses a gradient that it does not make."""
    core, own = recording.core, recording.leaves.keys() | recording.zeroed.keys()
    arrays = [(t, t.grad._array) for t in tensors if id(t) not in own and t.grad is not None]
    return [
        (t, address_of(array))
        for t, array in arrays
        if core.region_of(array) >= 0 and core.kind_of(array) == "persistent"
    ]


def is_there(t: Tensor) -> bool:
    return t.grad is not None


def shared(arrays: list[Array]) -> str:
    """Why gradients cannot be moved when the caller keeps them, or ""."""
    whole = all(type(a.base) is not np.ndarray for a in arrays)
    if whole and len({address_of(a) for a in arrays}) == len(arrays):
        return ""
    return "two leaves share the memory of a gradient; give each its own, as leaf.grad = gradient.clone()"


def renewed(grad: Tensor) -> Tensor:
    """A Tensor in new memory, in place of a gradient that the caller has kept."""
    return wrap(like(grad._array, grad._array))
