"""The result of a step, and how a replay makes it.

The form of the result is kept, with places of its Tensors. A replay fills them with new Tensors, with
Tensors that outlive the step, with views of those, or with the gradient that it has left.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ranvier.compile.signature import Place, filled
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

    def __init__(self, form: Any, fixed: list[Tensor | None], tensors: Iterable[Tensor] = ()) -> None:
        """tensors: of a recorded run."""
        self.form, self.fixed, self.has_fixed = form, fixed, any(t is not None for t in fixed)
        same = {id(t._cell): i for i, t in enumerate(tensors)}  # views count changes together
        self._joined = [(i, same[id(t._cell)]) for i, t in enumerate(tensors) if fixed[i] is None]
        flag = INFERENCE * mode.inference
        unlike = [i for i, t in enumerate(tensors) if t._cell[FLAG] & INFERENCE != flag]
        self._of_other_mode = [(i, INFERENCE - flag) for i in unlike]
        self._made_by: list[tuple[int, Callable[[], Tensor]]] = []  # results that no array is made for
        self.all_new = not self.has_fixed
        self.is_one = self.all_new and type(form) is Place and not unlike

    def find_makers(self, tensors: list[Tensor], gradients: Any, lasting: list[Tensor]) -> None:
        """Finds the results that are the gradient of a Tensor, or new views of Tensors that outlive the step.

        tensors: the results of the run. gradients: those that it has left, (leaf, gradient). lasting:
        Tensors that the step has read.
        """
        leaf_of = {id(t._grad): t for t in lasting} | {id(grad): leaf for leaf, grad in gradients}
        read = set(map(id, lasting))
        for i, t in enumerate(tensors):
            if id(t) in leaf_of:
                self._made_by.append((i, functools.partial(getattr, leaf_of[id(t)], "grad")))
            elif self.fixed[i] is not None and id(t) not in read:
                self._made_by.append((i, t.detach))
        if self._made_by:
            self.all_new = self.is_one = False

    def made(self, arrays: tuple[Array, ...]) -> Any:
        """The result of the step, made from the arrays of a replay."""
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
