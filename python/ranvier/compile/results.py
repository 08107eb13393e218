"""What a step returns, as a replay makes it: new Tensors, and Tensors that outlive the step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ranvier._core as _core
from ranvier.compile.signature import Place, filled, flattened
from ranvier.grad_mode import mode
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import FLAG, INFERENCE


class Results:
    """The form of a result, and how its Tensors are made.

    Attributes:
        form: the result with places of Tensors.
        fixed: for each place the Tensor itself, if it outlives the step; None: of a new array.
        has_fixed: whether there are such. all_new: whether a replay makes each Tensor of a new array.
        is_one: whether the result is one new Tensor, and nothing else has to be done.
    """

    def __init__(self, form: Any, fixed: list[Tensor | None]) -> None:
        self.form, self.fixed = form, fixed
        self._made_by: list[tuple[int, Callable[[], Tensor]]] = []  # results that no array is made for
        self._joined: list[tuple[int, int]] = []  # (place, that of the Tensor of the same memory)
        self._of_other_mode: list[tuple[int, int]] = []  # (place, its flag) unlike what the call has
        self._count()

    def _count(self) -> None:
        self.has_fixed = any(t is not None for t in self.fixed)
        self.all_new = not (self.has_fixed or self._made_by)
        self.is_one = self.all_new and type(self.form) is Place and not self._of_other_mode

    @classmethod
    def of_run(cls, result: Any, core: _core.Recording) -> tuple[Results, list[Tensor], list[str]]:
        """Of what a recorded run has returned; with its Tensors, and the kind of memory of each."""
        tensors: list[Tensor] = []
        form = flattened(result, tensors)
        kinds = [core.kind_of(t._array) for t in tensors]
        self = cls(form, [t if k == "persistent" else None for t, k in zip(tensors, kinds, strict=True)])
        same = {id(t._cell): i for i, t in enumerate(tensors)}  # views count changes together
        self._joined = [(i, same[id(t._cell)]) for i, t in enumerate(tensors) if self.fixed[i] is None]
        of_mode = INFERENCE * mode.inference
        for i, t in enumerate(tensors):
            if t._cell[FLAG] & INFERENCE != of_mode:
                self._of_other_mode.append((i, INFERENCE - of_mode))
        return self, tensors, kinds

    def find_makers(
        self, tensors: list[Tensor], gradients: list[tuple[Tensor, Tensor]], lasting: list[Tensor]
    ) -> None:
        """Which results are the gradient of a Tensor, or new views of what outlives the step.

        tensors: of the run. gradients: that it has left, (leaf, gradient). lasting: what the step has read.
        """
        leaf_of = {id(t._grad): t for t in lasting} | {id(grad): leaf for leaf, grad in gradients}
        read = set(map(id, lasting))
        for i, t in enumerate(tensors):
            if id(t) in leaf_of:
                self._made_by.append((i, functools.partial(getattr, leaf_of[id(t)], "grad")))
            elif self.fixed[i] is not None and id(t) not in read:
                self._made_by.append((i, t.detach))
        self._count()

    def made(self, arrays: tuple[Array, ...]) -> Any:
        """What the step returns, from the arrays of a replay."""
        if self.is_one:
            return wrap(arrays[0])
        arrived = iter(arrays)
        tensors = [wrap(next(arrived)) if t is None else t for t in self.fixed]
        for i, make in self._made_by:
            tensors[i] = make()
        for i, j in self._joined:
            tensors[i]._cell = tensors[j]._cell
        for i, flag in self._of_other_mode:
            tensors[i]._cell[FLAG] = tensors[i]._cell[FLAG] & ~INFERENCE | flag
        return filled(self.form, tensors)
