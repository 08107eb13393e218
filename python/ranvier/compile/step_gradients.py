"""The gradients that a step begins with, or leaves.

A step may make gradients, add to those of an earlier step, read them, or end with none. These functions
find in a recording which it does, for the program (what a replay leaves) and for its guards (what it
needs).
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from ranvier.tensors.memory import Array, like
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor, wrap

# As `_core.Program.set_call` takes it.
Left = list[tuple[Tensor, Tensor | None, int]]


def forget_local(recording: Recording) -> None:
    """Drops the leaves that ended with the step, as images that a gradient penalty is computed at."""
    for key in list(recording.leaves):
        leaf, *rest = recording.leaves.pop(key)
        alive = ref(leaf)
        del leaf
        if (leaf := alive()) is not None:
            recording.leaves[key] = (leaf, *rest)


def left_by(recording: Recording) -> list[tuple[Tensor, Tensor]]:
    """(leaf, gradient) of each leaf that has one after the step."""
    return [(leaf, leaf._grad) for leaf, *_ in recording.leaves.values() if leaf._grad is not None]


def changes(recording: Recording, kept: list[Array]) -> tuple[Left, list[Tensor]]:
    """The leaves that get a new gradient, each with this gradient and its index in `kept`, or -1; and the
    Tensors that the step changes in place besides gradients."""
    number = {id(array): i for i, array in enumerate(kept)}
    left: Left = []
    gradients = set()
    for leaf, before, _ in recording.leaves.values():
        grad = leaf._grad
        gradients |= {id(grad), id(before)}
        if grad is None or grad is not before:
            left.append((leaf, grad, -1 if grad is None else number.get(id(grad._array), -1)))
    return left, [t for t in recording.changed.values() if id(t) not in gradients]


def address_of(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def carried_over(recording: Recording) -> list[tuple[Any, int]]:
    """(leaf, address of its gradient before the step, or 0) where the step adds to it, or reads it."""
    return [
        (leaf, 0 if grad is None else address_of(grad._array))
        for leaf, grad, added in recording.leaves.values()
        if added or (grad is not None and recording.core.region_of(grad._array) >= 0)
    ]


def not_made(recording: Recording, tensors: list[Tensor]) -> list[tuple[Tensor, int]]:
    """(tensor, address of its gradient or 0) where the step uses a gradient that it does not make."""
    core = recording.core
    read: list[tuple[Tensor, int]] = []
    for t in tensors:
        if id(t) not in recording.leaves and t._grad is not None:
            array = t._grad._array
            if core.region_of(array) >= 0 and core.kind_of(array) == "persistent":
                read.append((t, address_of(array)))
    updated = [p for *_, group in recording.plans for p in group["params"]]
    return read + [(p, 0) for p in updated if id(p) not in recording.leaves and p._grad is None]


def movable(recording: Recording, tensors: list[Tensor], others: list[Tensor]) -> list[tuple[Tensor, int]]:
    """(tensor, region of its gradient before the step) where a replay may find that in other memory.

    others: Tensors that the step reads or returns otherwise.
    """
    core = recording.core
    movable_ones: dict[int, Tensor] = {}  # by region
    taken = {core.region_of(t._array) for t in others}
    for t in tensors:
        if (grad := before(recording, t)) is None:
            continue
        a, region = grad._array, core.region_of(grad._array)
        if region in movable_ones or region < 0 or core.kind_of(a) != "persistent" or not a.flags.owndata:
            taken.add(region)
        elif (a.shape, a.strides, a.dtype) == (t.shape, t._array.strides, t._array.dtype):
            movable_ones[region] = t
    return [(t, region) for region, t in movable_ones.items() if region not in taken]


def before(recording: Recording, t: Tensor) -> Tensor | None:
    """The gradient of t at the beginning of the step."""
    return recording.leaves[id(t)][1] if id(t) in recording.leaves else t._grad


def exists(t: Tensor) -> bool:
    return t._grad is not None


def odd(recording: Recording, gradients: list[tuple[Tensor, Tensor]]) -> str:
    """The reason why a replay could not leave these (leaf, gradient), or ""."""
    for leaf, grad in gradients:
        made = recording.core.kind_of(grad._array) == "temporary"
        if made == (grad is recording.leaves[id(leaf)][1]):  # another's Tensor, or other memory for its own
            return "the step makes a Tensor that it has not made a gradient, or changes its data; clone() it"
    return ""


def shared(arrays: list[Array]) -> str:
    """The reason why gradients cannot be moved when the caller keeps them, or ""."""
    bases = [a.base for a in arrays]
    if np.ndarray not in map(type, bases) and len(set(map(address_of, arrays))) == len(arrays):
        return ""
    return "two leaves share the memory of a gradient; give each its own, as leaf.grad = gradient.clone()"


def renewed(grad: Tensor) -> Tensor:
    """A Tensor in new memory, in place of a gradient that the caller has kept."""
    return wrap(like(grad._array, grad._array))
