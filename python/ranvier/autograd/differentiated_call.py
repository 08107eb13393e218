"""`DifferentiatedCall`: one call of a function on a separate tape, and its derivatives in reverse.

``rv.func``, ``rv.autograd.functional`` and ``rv.grad`` are written with it:

    with DifferentiatedCall("vjp", inputs) as call:
        call.run(func, call.inputs)
        ...  # call.gradients(...), call.jacobian(...)

The function gets new Tensors on the memory of the inputs, and the derivatives are taken with respect to
these. So a call within a call has separate inputs, and the derivatives of the inner call can be on the tape
of the outer one. Inputs and outputs are trees: nested tuples, lists and dicts (`trees.py`).
"""

from __future__ import annotations

from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd.gradients import gradients
from ranvier.autograd.trees import Tensors, TensorTree, list_values, map_tree, replace_values
from ranvier.grad_mode import enable_grad, mode
from ranvier.tape.higher_order import Rows, cut
from ranvier.tensors.batched import at_all_levels, physical, rewrapped
from ranvier.tensors.deepcopy_pickle import in_class_of, is_of_program
from ranvier.tensors.errors import require_function
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import filled_like, keep
from ranvier.tensors.tensor import Tensor, wrap

if TYPE_CHECKING:
    from typing_extensions import Self


class _Calls(local):
    depth = 0  # the number of differentiated calls that this thread is in


_calls = _Calls()


def in_differentiated_call() -> bool:
    """True if this thread is within a differentiated call."""
    return _calls.depth > 0


class DifferentiatedCall:
    """A block in which a function is called and its derivatives are taken; recording is on inside.

    name: the public function, for errors. inputs: a tree of Tensors. keep_history: whether the results keep a
    history that leads out of the block, to Tensors outside that require gradients. None: they do if recording
    was on before the block. strict: outputs and inputs that do not depend on each other raise RuntimeError.

    Attributes:
        inputs: the tree of the new Tensors that the function gets
        xs, ys: these inputs, and the outputs, on the tape of the block, as flat tuples
        outputs: the tree that the function has returned
        records_derivatives: whether derivatives are recorded, so that they can be differentiated again;
            `records_weighted` says it for derivatives that are weighted by other Tensors
    """

    # True where PyTorch's function gives inputs of the class of the original inputs, and results of the class
    # of the outputs.
    keeps_class = False

    def __init__(
        self, name: str, inputs: TensorTree, keep_history: bool | None = None, strict: bool = False
    ) -> None:
        self.name = name
        self.inputs: Any = inputs
        self.keep_history = keep_history
        self.strict = strict
        self._may_keep_history = mode.enabled if keep_history is None else keep_history
        self.records_derivatives = self._may_keep_history

    def __enter__(self) -> Self:
        self._recording = enable_grad()
        self._recording.__enter__()
        _calls.depth += 1
        try:
            originals = self.require_tensors("inputs", self.inputs)
            # Within vmap the function is differentiated for each slice, also by what all slices share.
            of_slices = map(at_all_levels, originals)
            new_inputs = tuple([rewrapped(x, self._new_input) for x in of_slices])
            self.inputs = replace_values(self.inputs, new_inputs)
            self.xs = tuple([rewrapped(x, _with_present_history) for x in new_inputs])
        except BaseException:
            self.__exit__()
            raise
        # `_leads_out` reads these: the leaves that belong to the block, and nodes from which it has found
        # that no path leads out of the block.
        self._ids_of_leaves = {id(physical(x)) for x in self.xs if x._grad_fn is None}
        self._nodes_inside: set[Any] = set()
        return self

    def __exit__(self, *error: object) -> None:
        _calls.depth -= 1
        self._recording.__exit__(*error)

    def require_tensors(self, place: str, tree: Any) -> Tensors:
        """The values of a tree. Raises TypeError, which names the place, if one is no Tensor."""
        xs = tuple(list_values(tree))
        for x in xs:
            if not isinstance(x, Tensor):
                raise TypeError(f"[{self.name}] got {type(x).__name__} in {place}; expected Tensors")
        return xs

    def _new_input(self, x: Tensor) -> Tensor:
        """A new Tensor on the memory of an input: a leaf; or, if derivatives are recorded and the input
        requires a gradient, `cut(x)`, the result of the identity on x. It keeps the history of x, but a
        gradient by it counts only uses inside the block, not other uses of x."""
        if x._array.dtype.kind != "f":
            raise DtypeError(
                f"[{self.name}] got inputs of dtype {x._array.dtype}; expected float32 or float64"
            )
        if self.records_derivatives and x._requires_grad:
            new = cut(x)
        else:
            new = wrap(x._array, requires_grad=True)  # a leaf, which `_leads_out` counts as inside the block
            new._cell = x._cell  # the same count of changes: backward notices a change of x in place
        if not self.keeps_class or not is_of_program(type(x)):
            return new
        # A class that is asked about calls may detach to another one, as a class of parameters does.
        if hasattr(type(x), "__torch_function__"):
            return in_class_of(new, x.detach())
        return in_class_of(new, x)

    def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any] | None = None,
        has_aux: bool = False,
    ) -> Any:
        """Calls the function and takes its outputs. With has_aux the function returns (outputs, aux), and
        `run` returns aux."""
        function = require_function(self.name, "func", function)
        outputs = function(*args, **(kwargs or {}))
        if not has_aux:
            self.take_outputs(outputs)
            return None
        if not (isinstance(outputs, tuple) and len(outputs) == 2):
            raise TypeError(
                f"[{self.name}] got has_aux=True and a function that returns {type(outputs).__name__}; "
                "expected a tuple (output, aux)"
            )
        outputs, aux = outputs
        self.take_outputs(outputs)
        return map_tree(self._release_if_tensor, aux)

    def take_outputs(self, outputs: TensorTree) -> None:
        """Sets the outputs: what the function has returned."""
        self.outputs = outputs
        self.ys = self.require_tensors("the result of func", outputs)
        if self.strict and not all(y.requires_grad for y in self.ys):
            raise RuntimeError(
                f"[{self.name}] got strict=True and an output that is independent of the inputs"
            )
        if self.keep_history is None:
            self.records_derivatives = self._may_keep_history and any(map(self._leads_out, self.ys))

    def _leads_out(self, x: Tensor) -> bool:
        """True if the history of x leads to a leaf outside of the block."""
        if not x._requires_grad:
            return False
        first = physical(x) if x._grad_fn is None else x._grad_fn
        to_visit = [first]
        seen = set()
        while to_visit:
            node = to_visit.pop()
            if node in seen or node in self._nodes_inside:
                continue
            seen.add(node)
            if isinstance(node, Tensor) and id(node) not in self._ids_of_leaves:
                return True
            # edges: the nodes that get the gradients of this one; a leaf, a Tensor, has none
            to_visit += [edge for edge in node.edges if edge is not None]
        self._nodes_inside |= seen
        return False

    def release(self, x: Tensor) -> Tensor:
        """A Tensor as the caller gets it: detached, unless it keeps a history that leads out of the block."""
        if not x._requires_grad:
            return x
        if self._may_keep_history and (self.keep_history or self._leads_out(x)):
            return x
        return x.detach()

    def _release_if_tensor(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.release(value)
        return value

    def release_outputs(self) -> Any:
        """The outputs of the function, as the caller gets them."""
        return replace_values(self.outputs, map(self.release, self.ys))

    def release_derivatives(self, slopes: Sequence[Tensor]) -> Any:
        """The derivatives by the inputs, as the caller gets them, in the tree of the inputs."""
        released = [self.release(slope) for slope in slopes]
        if self.keeps_class and self.ys and is_of_program(type(self.ys[0])):
            released = [in_class_of(slope, self.ys[0]) for slope in released]
        return replace_values(self.inputs, released)

    def require_one_number(self) -> Tensor:
        """The only output of the function. Raises RuntimeError unless it has one element."""
        if len(self.ys) != 1 or self.ys[0].numel() != 1:
            shapes = [tuple(y.shape) for y in self.ys]
            raise RuntimeError(f"[{self.name}] got a function with results {shapes}; expected one element")
        return self.ys[0]

    def require_vectors(self, v: Any, xs: Tensors, named: str, tree: TensorTree | None = None) -> Tensors:
        """The values of v, which must have the shapes of xs, and the structure of `tree` if there is one.

        v None: 1, if xs have one element in all. named: what xs are, for errors.
        """
        if v is None:
            if len(xs) != 1 or xs[0].numel() != 1:
                raise RuntimeError(
                    f"[{self.name}] got no v; expected one: there are several elements of {named}"
                )
            return (wrap(filled_like(1, xs[0]._array)),)
        vs = self.require_tensors("v", v)
        shapes: Any = [tuple(x.shape) for x in vs]
        expected: Any = [tuple(x.shape) for x in xs]
        fits = shapes == expected
        if tree is not None:
            # Trees of shapes are equal only if their structures are.
            shapes = replace_values(v, shapes)
            expected = replace_values(tree, expected)
            fits = fits and shapes == expected
        if not fits:
            raise RuntimeError(
                f"[{self.name}] got v of shapes {shapes}; expected those of {named}, {expected}"
            )
        return vs

    def records_weighted(self, vs: Tensors) -> bool:
        """True if derivatives weighted by vs are recorded."""
        if self.records_derivatives:
            return True
        return self.keep_history is None and self._may_keep_history and any(map(self._leads_out, vs))

    def gradients(
        self,
        ys: Tensors,
        xs: Tensors,
        vs: Sequence[Tensor | None],
        records: bool | None = None,
        retain_graph: bool = True,
    ) -> Tensors:
        """The gradients of ys, weighted by vs and summed, by each x; 0 for an x on which no y depends.

        records: whether they can be differentiated again; None: as `records_derivatives`.
        """
        if records is None:
            records = self.records_derivatives
        outputs = []
        weights = []
        for y, v in zip(ys, vs, strict=True):
            if y.requires_grad:
                outputs.append(y)
                weights.append(v)
        slopes: tuple[Tensor | None, ...] = (None,) * len(xs)
        if outputs:
            slopes = gradients(outputs, xs, weights, retain_graph, records, allow_unused=True)
        if self.strict and any(slope is None for slope in slopes):
            raise RuntimeError(f"[{self.name}] got strict=True and an input that is not used")
        filled = []
        for slope, x in zip(slopes, xs, strict=True):
            if slope is None:
                slope = wrap(filled_like(0, x._array))
            filled.append(slope)
        return tuple(filled)

    def gradients_of_number(self) -> list[Tensor]:
        """The gradients of one number by each input, as the caller gets them."""
        y = self.require_one_number()
        slopes = self.gradients((y,), self.xs, (None,), retain_graph=self.records_derivatives)
        return [self.release(slope) for slope in slopes]

    def _vector_jacobian_product(self, ys: Tensors) -> tuple[Tensors, Tensors]:
        """New variables u in the shapes of ys, and u J for the Jacobian J of ys. u J is linear in u, so that
        its gradient by u, weighted by v, is J v."""
        us = tuple([rewrapped(at_all_levels(y), _new_variable) for y in ys])
        self._ids_of_leaves |= {id(physical(u)) for u in us}
        return us, self.gradients(ys, self.xs, us, records=True)

    def jacobian_vector_product(self, vs: Tensors) -> Any:
        """J v, computed in reverse, in the tree of the outputs, as the caller gets it."""
        us, slopes = self._vector_jacobian_product(self.ys)
        products = self.gradients(slopes, us, vs, self.records_weighted(vs))
        return replace_values(self.outputs, map(self.release, products))

    def jacobian(self, ys: Tensors, records: bool | None = None, columns: bool = True) -> list[Tensors]:
        """For each of ys its derivatives by each input: (*shape of y, *shape of input).

        Computed by rows: one backward for each element of ys. columns: if the inputs have less than half as
        many elements as ys, and all ops have second derivatives, computed by columns instead.
        """
        count_of_inputs = sum(x.numel() for x in self.xs)
        count_of_outputs = sum(y.numel() for y in ys)
        if columns and 2 * count_of_inputs < count_of_outputs:
            try:
                return self._jacobian_by_columns(ys, records)
            except NotImplementedError:  # an op without a second derivative
                pass
        derivatives = []
        for y in ys:
            rows = [self.gradients((y,), self.xs, (unit,), records) for unit in _unit_tensors(y)]
            of_inputs = zip(self.xs, _transpose(rows, len(self.xs)), strict=True)
            derivatives.append(tuple(_stack_slices(slices, y, x) for x, slices in of_inputs))
        return derivatives

    def _jacobian_by_columns(self, ys: Tensors, records: bool | None) -> list[Tensors]:
        """As `jacobian`: one backward in all gives u J, then one for each element of the inputs gives a
        column J v, for a unit tensor v."""
        us, slopes = self._vector_jacobian_product(ys)
        derivatives: list[list[Tensor]] = [[] for _ in ys]  # for each y a list over the inputs
        for x, slope in zip(self.xs, slopes, strict=True):
            columns = [self.gradients((slope,), us, (unit,), records) for unit in _unit_tensors(x)]
            first_axes = tuple(range(x.ndim))
            last_axes = tuple(range(-x.ndim, 0))
            of_outputs = _transpose(columns, len(ys))
            for of_inputs, slices, y in zip(derivatives, of_outputs, ys, strict=True):
                derivative = _stack_slices(slices, x, y)  # (*shape of x, *shape of y)
                derivative = derivative.movedim(first_axes, last_axes)
                of_inputs.append(derivative.to(x.dtype))  # the dtype that rows have
        return [tuple(of_inputs) for of_inputs in derivatives]

    def jacobian_of_slopes(self, slopes: Tensors) -> list[Tensors]:
        """The second derivatives: as `jacobian` of the first ones."""
        return self.jacobian(slopes)

    def jacobian_tree(self, columns: bool = True) -> Any:
        """The tree of the outputs, with the tree of the derivatives by the inputs in place of each output."""
        return self.tree_of_jacobian(self.jacobian(self.ys, columns=columns))

    def tree_of_jacobian(self, derivatives: list[Tensors]) -> Any:
        """The result of `jacobian` as a tree: see `jacobian_tree`."""
        return replace_values(self.outputs, map(self.release_derivatives, derivatives))

    def hessian_tree(self) -> Any:
        """As `jacobian_tree`, with the tree of the second derivatives by the inputs in place of each
        derivative."""
        first = self.jacobian(self.ys, records=True)
        slopes_in_order = tuple(chain.from_iterable(first))
        second = iter(self.jacobian_of_slopes(slopes_in_order))
        trees = []
        for slopes in first:
            of_slopes = [self.release_derivatives(next(second)) for _ in slopes]
            trees.append(replace_values(self.inputs, of_slopes))
        return replace_values(self.outputs, trees)


class CallByArgnums(DifferentiatedCall):
    """A differentiated call whose inputs are the arguments with the numbers `argnums`.

    args: all arguments of the call by place. argnums: an int, or several, of which a tuple of inputs is made.
    """

    def __init__(self, name: str, args: Sequence[Any], argnums: int | Sequence[int]) -> None:
        self._args = args
        self._numbers = argument_numbers(name, argnums, len(args))
        self._has_several = isinstance(argnums, (tuple, list))
        chosen = tuple(args[i] for i in self._numbers)
        if self._has_several:
            super().__init__(name, chosen)
        else:
            super().__init__(name, chosen[0])

    def arguments(self) -> list[Any]:
        """All arguments of the call, with the new Tensors in place of the inputs."""
        inputs = self.inputs if self._has_several else (self.inputs,)
        return replace_arguments(self._args, self._numbers, inputs)


def argument_numbers(name: str, argnums: Any, count: int) -> tuple[int, ...]:
    """argnums as different non-negative numbers below `count`, the number of arguments. Raises TypeError or
    ValueError for others. name: the public function."""
    if type(argnums) is int and 0 <= argnums < count:
        return (argnums,)
    several = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    if not several or not all(isinstance(i, (int, np.integer)) for i in several):
        raise TypeError(f"[{name}] got argnums {argnums!r}; expected an int or a tuple of ints")
    numbers = []
    for i in several:
        number = int(i) + count if i < 0 else int(i)
        numbers.append(number)
    in_range = all(0 <= number < count for number in numbers)
    if not in_range or len(set(numbers)) < len(numbers):
        raise OpError(f"[{name}] got argnums {argnums!r}; expected different places of {count} arguments")
    return tuple(numbers)


def replace_arguments(args: Sequence[Any], numbers: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """The arguments, with these values at the places with these numbers."""
    arguments = list(args)
    for i, value in zip(numbers, values, strict=True):
        arguments[i] = value
    return arguments


def _with_present_history(x: Tensor) -> Tensor:
    """A Tensor that keeps the present history of x: a later change in place, of x or of its base if x is a
    view, gives x another history."""
    if x._grad_fn is None:
        return x
    copy = wrap(x._array, requires_grad=True)
    copy._grad_fn = x._grad_fn
    copy._cell = x._cell
    return copy


def _new_variable(y: Tensor) -> Tensor:
    """A leaf like y, filled with 0."""
    return wrap(filled_like(0, y._array), requires_grad=True)


def _unit_tensors(x: Tensor) -> Iterator[Tensor]:
    """The tensors like x with a 1 in one place and 0 in the others."""
    for i in range(x.numel()):
        unit = np.zeros(x.numel(), x.dtype)
        unit[i] = 1
        yield wrap(keep(unit.reshape(x.shape)))


def _transpose(rows: Sequence[Tensors], count: int) -> list[Tensors]:
    """From tuples of `count` Tensors, `count` tuples with a Tensor of each row; of no rows empty tuples."""
    if not rows:
        return [()] * count
    return list(zip(*rows, strict=True))


def _stack_slices(slices: Tensors, first: Tensor, second: Tensor) -> Tensor:
    """(*shape of the first, *shape of the second), from one slice, in the shape of the second, for each
    element of the first."""
    shape = (*first.shape, *second.shape)
    if not slices:
        return wrap(np.zeros(shape, second.dtype))
    stacked: Tensor = slices[0] if len(slices) == 1 else Rows().apply(*slices)
    if stacked.shape == shape:
        return stacked
    return stacked.reshape(shape)
