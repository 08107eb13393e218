"""`Results`: the form of a step's result, and how a replay makes such a result.

The form is the recorded result with numbers (`signature.Place`) instead of its Tensors. A replay puts a
Tensor in each place: a new one, a Tensor that outlives the step, a view of such a Tensor, or the gradient of
a leaf.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

from ranvier.compile.guarding.signature import Place, filled
from ranvier.grad_mode import mode
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap


class Results:
    """The form of a result, and how its Tensors are made.

    Attributes:
        form: the result with places instead of Tensors.
        fixed: for each place the Tensor itself, if it outlives the step; None: a replay makes it of a new
            array.
        has_fixed: whether any Tensor outlives the step. all_new: whether each is made of a new array.
        is_one: whether the result is one new Tensor, and nothing else has to be done.
    """

    def __init__(self, form: object, fixed: list[Tensor | None], tensors: Iterable[Tensor] = ()) -> None:
        """tensors: the Tensors of the result of a recorded run."""
        self.form = form
        self.fixed = fixed
        self.has_fixed = any(t is not None for t in fixed)
        self._new = [i for i, t in enumerate(fixed) if t is None]  # the places of new Tensors
        # Tensors of the same memory have one cell (`tensors/views.py`), which counts changes in place. Pairs
        # (i, j): result i gets the cell of result j.
        same = {id(t._cell): i for i, t in enumerate(tensors)}
        self._joined = [(i, same[id(t._cell)]) for i, t in enumerate(tensors) if fixed[i] is None]
        # Results whose flag of inference mode differs from the mode in which the step was called.
        unlike = [i for i, t in enumerate(tensors) if t._cell.inference != mode.inference]
        self._of_other_mode = [(i, not mode.inference) for i in unlike]
        self._made_by: list[tuple[int, Callable[[], Tensor]]] = []  # (place, function that gives the Tensor)
        self.all_new = not self.has_fixed
        # Then the core makes the result of an armed program itself, without `made`.
        self.is_one = self.all_new and type(form) is Place and not unlike

    def find_makers(
        self, tensors: list[Tensor], gradients: list[tuple[Tensor, Tensor]], lasting: list[Tensor]
    ) -> None:
        """Finds the results that are the gradient of a Tensor, or new views of Tensors that outlive the step.

        `build` calls it after the guards are made, which give `lasting`, and before it makes the Program.
        tensors: the Tensors of the run's result. gradients: (leaf, gradient) that the run has left. lasting:
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

    def of_another_step(self, form: object) -> Results:
        """The same with another form. All Tensors of the result are new (`all_new`)."""
        made = copy(self)
        made.form = form
        return made

    def new_among(self, tensors: list[Tensor]) -> list[Tensor] | None:
        """Those Tensors of another run's result that a replay makes of new arrays; None if the result has
        another number of Tensors, or others that outlive the step."""
        if len(tensors) != len(self.fixed):
            return None
        made_anew = {i for i, _ in self._made_by}
        for i, fixed in enumerate(self.fixed):
            if fixed is not None and tensors[i] is not fixed and i not in made_anew:
                return None
        return [tensors[i] for i in self._new]

    def made(self, arrays: tuple[Array, ...]) -> Any:
        """The result of the step, made from the arrays of a replay."""
        if self.is_one:
            return wrap(arrays[0])
        tensors: list[Any] = list(self.fixed)
        for i, array in zip(self._new, arrays, strict=True):
            tensors[i] = wrap(array)
        for i, make in self._made_by:
            tensors[i] = make()
        for i, j in self._joined:
            tensors[i]._cell = tensors[j]._cell
        for i, inference in self._of_other_mode:
            tensors[i]._cell.inference = inference
        return filled(self.form, tensors)
