"""Finds the gradients with which a step begins, and those that it leaves.

A step may make gradients, add to gradients of an earlier step, read them, or set them to None. These
functions find in a recording what the step does. `build.py` uses this for the gradients that a replay leaves,
and `program_guards.py` for the guards on the gradients that a replay needs.

`Recording.leaves` has for each Tensor whose gradient the step touches: (leaf, its gradient before the step,
whether the step first adds to that). Kinds of memory ("persistent", "temporary") are explained in `build.py`;
`region_of` gives the number of a region of memory that the recorded kernel calls use, or -1.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from ranvier.tensors.memory import Array, filled_like
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor, wrap

# (leaf, its gradient after the step or None, the index of the gradient's array among the program's results,
# or -1), as `_core.Program.set_call` takes them.
Left = list[tuple[Tensor, Tensor | None, int]]


def forget_local(recording: Recording) -> None:
    """Drops the leaves to which only the recording refers: the step has made them, and they end with it. An
    example are the images at which a gradient penalty is computed."""
    for key in list(recording.leaves):
        leaf, *rest = recording.leaves.pop(key)
        alive = ref(leaf)
        del leaf
        if (leaf := alive()) is not None:
            recording.leaves[key] = (leaf, *rest)


def left_by(recording: Recording) -> list[tuple[Tensor, Tensor]]:
    """(leaf, gradient) of each leaf that has a gradient after the step."""
    return [(leaf, leaf._grad) for leaf, *_ in recording.leaves.values() if leaf._grad is not None]


def changes(recording: Recording, kept: list[Array]) -> tuple[Left, list[Tensor]]:
    """The leaves that get a new gradient or lose theirs; and the Tensors, except gradients, that the step
    changes in place. kept: the new arrays of gradients; the index in `Left` is the place in this list."""
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
    """The address of the array's first element."""
    return int(array.__array_interface__["data"][0])


def carried_over(recording: Recording) -> list[tuple[Any, int]]:
    """(leaf, address of its gradient before the step; 0: it had none), if the step adds to or reads this
    gradient."""
    return [
        (leaf, 0 if grad is None else address_of(grad._array))
        for leaf, grad, added in recording.leaves.values()
        if added or (grad is not None and recording.core.region_of(grad._array) >= 0)
    ]


def not_made(recording: Recording, tensors: list[Tensor]) -> list[tuple[Tensor, int]]:
    """(tensor, address of its gradient; 0: it has none), if the step uses a gradient that it has not made, or
    an optimizer skips the tensor since it has none."""
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
    """(tensor, region of its gradient before the step), if a replay may find the gradient in other memory.

    This needs a region that only this gradient uses. others: Tensors that the step reads or returns, besides
    the gradients of `tensors`.
    """
    core = recording.core
    movable_ones: dict[int, Tensor] = {}  # by region
    # Regions that something else than one gradient uses: a replay could not point them at other memory.
    taken = {core.region_of(t._array) for t in others}
    for t in tensors:
        if (grad := before(recording, t)) is None:
            continue
        a = grad._array
        region = core.region_of(grad._array)
        if region in movable_ones or region < 0 or core.kind_of(a) != "persistent" or not a.flags.owndata:
            taken.add(region)
        # The guard on a gradient that may move (address -1) requires the layout of the leaf.
        elif (a.shape, a.strides, a.dtype) == (t.shape, t._array.strides, t._array.dtype):
            movable_ones[region] = t
    return [(t, region) for region, t in movable_ones.items() if region not in taken]


def before(recording: Recording, t: Tensor) -> Tensor | None:
    """The gradient of t at the beginning of the step."""
    if id(t) in recording.leaves:
        return recording.leaves[id(t)][1]
    return t._grad


def exists(t: Tensor) -> bool:  # called by guards, before each replay
    return t._grad is not None


def odd(recording: Recording, gradients: list[tuple[Tensor, Tensor]]) -> str:
    """The reason why a replay could not leave these (leaf, gradient), or ""."""
    for leaf, grad in gradients:
        made = recording.core.kind_of(grad._array) == "temporary"
        # Either the leaf got a Tensor that the step has not made, or its old gradient got new memory.
        if made == (grad is recording.leaves[id(leaf)][1]):
            return "the step makes a Tensor that it has not made a gradient, or changes its data; clone() it"
    return ""


def shared(arrays: list[Array]) -> str:
    """The reason why two gradients cannot be moved to new memory independently, or "".

    A replay moves a gradient if the caller has kept the old one. arrays: the new arrays of gradients.
    """
    bases = [a.base for a in arrays]
    if np.ndarray not in map(type, bases) and len(set(map(address_of, arrays))) == len(arrays):
        return ""
    return "two leaves share the memory of a gradient; give each its own, as leaf.grad = gradient.clone()"


def renewed(grad: Tensor) -> Tensor:
    """A Tensor in new memory, in place of a gradient that the caller has kept."""
    return wrap(filled_like(None, grad._array))
