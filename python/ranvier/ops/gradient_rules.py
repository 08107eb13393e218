"""Helpers of the rules of ``create_graph=True``: gradients of Functions by differentiable ops.

A rule is called with the node and the gradients of its outputs, and returns one gradient, or None, for each
input. It stands after its Function. If it uses only operators and methods of Tensor, the module of the op
needs no imports for it (docs/design/create_graph.md). The helpers make rules of common kinds: of linear
Functions (`linear_rule`, `additive`, `diagonal`), and of Functions whose forward is a formula of other ops
(`recomputed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

import ranvier.autograd as autograd
import ranvier.tape.copy_functions as copy_functions
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.layout import zeros
from ranvier.ops.namespaces import KERNELS, Operations, Value, differentiable_backward
from ranvier.tape.function import Function, TakesHalves
from ranvier.tape.higher_order import Rows, Same, cut, of_input as saved_input, on_arrays, rule, rule_of
from ranvier.tape.inplace import assign, check_leaf, overwrite
from ranvier.tensors.memory import copied
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Shape, TensorLike
from ranvier.tensors.views import through

F = TypeVar("F", bound=Callable[..., Any])
OnArray = Callable[[Array], Array]
ShapeOfInput = Callable[[Any, Tensor], Shape]
"""The shape of a node's input, from the node and the gradient of its result."""


class Map(TakesHalves):
    """y = A x for a matrix A that is given as two functions of arrays: `there`, x -> A x, and `back`, dy ->
    A^T dy.

    constant_in: tensors on which A depends, but only at isolated points (kinks), so that their gradients are
    0. x has the dtype of the arrays that the two functions read, which may be a half float.
    """

    def __init__(self, there: OnArray, back: OnArray, saved: list[Any]) -> None:
        # Both functions read `saved`. It is an attribute so that `check_saved` finds its arrays.
        self.there = there
        self.back = back
        self.saved = saved

    def forward(self, x: Array, *constant_in: Array) -> Array:
        self.shapes = [z.shape for z in constant_in]
        y = self.there(x)
        if np.may_share_memory(x, y):
            return copied(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        constants = [zeros(shape, dy.dtype) for shape in self.shapes]
        return self.back(dy), *constants


def mapped(
    node: Function, x: Tensor, there: OnArray, back: OnArray, saved: list[Any], *constant_in: Tensor
) -> Tensor:
    """A x by a Map, for a matrix A that reads what the node has saved.

    If one of the node's saved arrays is changed in place later, the backward of the Map raises: the Map also
    gets the node's counters of changes (`versions`, whose element 0 is the number of changes so far), with
    their present values (`changes`). `Function.check_saved` compares the two.
    """
    y: Tensor = Map(there, back, saved).apply(x, *constant_in)
    maker = y._grad_fn
    if maker is not None:
        maker.versions = (*maker.versions, *node.versions)
        maker.changes = (*maker.changes, *[cell.changes for cell in node.versions])
    return y


@rule(Map)
def _map(node: Map, dy: Tensor) -> tuple[Tensor, ...]:
    dx = mapped(node, dy, node.back, node.there, node.saved)
    constants = [none(shape, dy) for shape in node.shapes]
    return dx, *constants


def with_zero_slope(dx: Tensor, z: Tensor) -> Tensor:
    """dx, recorded as a function of z, too, with the slope 0.

    dx changes with z only where the function has a kink. z then gets the gradient 0, as in PyTorch, not None.
    """
    return Map(_identity, _identity, []).apply(dx, z)


def _identity(x: Array) -> Array:
    return x


def by_rule(node: Function, *dys: Array | None) -> Any:
    """The gradients on arrays by the Function's rule, for a Function whose backward need not be fast."""
    return on_arrays(rule_of(node), node, *dys)


def copy_of(node: Function) -> Any:
    """A node of the same class with the same saved attributes, for calls of its forward and backward later.

    The second backward needs a copy for two reasons: the first backward may have released the node, which
    drops what it has saved; and forward sets attributes (shapes, dtypes), which must stay those of the first
    call in the node itself.
    """
    copy = object.__new__(type(node))
    copy.__dict__.update(node.__dict__)
    copy.needs = node.needs
    return copy


def linear_rule(
    *functions: type[Function],
    forward: Callable[[Any, Array], Array] | None = None,
    backward: Callable[..., Any] | None = None,
    shape: ShapeOfInput | None = None,
) -> None:
    """Defines the rule of Functions y = A x with one input that has gradients: forward is A, backward is A^T.

    forward, backward: functions of the node and an array, used instead of the node's own methods.
    shape: a function of the node and dy that gives the shape of x. It is set if A depends on x, but changes
        only at kinks. The second gradient of x is then 0, as in PyTorch; without `shape` there is none
        (None).
    """

    def maps(node: Any, dtype: np.dtype[Any]) -> list[tuple[OnArray, OnArray]]:
        there = node.forward
        back = node.backward
        if forward is not None:
            there = partial(forward, node)
        if backward is not None:
            back = partial(backward, node)
        return [(there, back)]

    _by_maps(functions, maps, shape)


def additive(function: type[Function], arguments: Callable[[Any, np.dtype[Any]], list[Array]]) -> None:
    """Defines the rule of a Function y = A a + B b.

    arguments(node, dtype): zeros in the shapes of a and b. If all arguments of forward except one are zeros,
    forward computes A a or B b.
    """

    def maps(node: Any, dtype: np.dtype[Any]) -> list[tuple[OnArray, OnArray]]:
        operands = arguments(node, dtype)
        return [map_of_operand(node, operands, i) for i in range(len(operands))]

    def map_of_operand(node: Any, operands: list[Array], i: int) -> tuple[OnArray, OnArray]:
        before = operands[:i]
        after = operands[i + 1 :]

        def there(x: Array) -> Array:
            # on a copy, as forward overwrites the dtypes and shapes that backward reads
            return copy_of(node).forward(*before, x, *after)

        def back(dy: Array) -> Array:
            return node.backward(dy)[i]

        return there, back

    _by_maps((function,), maps)


def _by_maps(
    functions: tuple[type[Function], ...], maps: Callable[..., Any], shape: ShapeOfInput | None = None
) -> None:
    """Defines the rule of Functions y = A a + B b ... . maps(node, dtype): (A, A^T), as functions of arrays,
    for each of the first inputs."""

    def apply(node: Function, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        copy = copy_of(node)
        constant_in = []
        if shape is not None:
            zero = np.zeros((), dy._array.dtype)
            constant_in = [saved_input(node, 0, np.broadcast_to(zero, shape(node, dy)))]
        pairs = maps(copy, dy._array.dtype)
        saved = list(vars(copy).values())
        gradients: list[Tensor | None] = [None] * len(node.edges)  # further inputs, as indices, have none
        for i, (there, back) in enumerate(pairs):
            if node.needs[i]:
                gradients[i] = mapped(node, dy, back, there, saved, *constant_in)
        return tuple(gradients)

    apply.maps = maps  # type: ignore[attr-defined]  # func/forward.py reads it, for forward mode
    rule(*functions)(apply)


def diagonal(*functions: type[Function], kinks: bool = False) -> None:
    """Defines the rule of Functions y = D x for a diagonal matrix D, which is its own transpose.

    kinks: whether D depends on x, but changes only at kinks; the second gradient of x is then 0.
    """

    def forward(node: Any, x: Array) -> Array:
        return node.backward(x)

    if kinks:
        linear_rule(*functions, forward=forward, shape=_shape_of_gradient)
    else:
        linear_rule(*functions, forward=forward)


def _shape_of_gradient(node: Any, dy: Tensor) -> Shape:
    return dy.shape


def none(shape: Shape, dy: Tensor) -> Tensor:
    """The gradient, 0, of a function that is constant between its jumps."""
    return wrap(zeros(shape, dy._array.dtype))


def inputs(node: Function, arrays: Sequence[Array | None]) -> list[Any]:
    """The Tensors of the node's first inputs; arrays: what forward has saved of each, in order, or None."""
    tensors: list[Tensor | None] = []
    for i, array in enumerate(arrays):
        if array is None:
            tensors.append(None)
        else:
            tensors.append(saved_input(node, i, array))
    return tensors


def recomputed(
    *names: str,
    kinds: tuple[type[Function], ...],
    saved: Callable[[Any], Sequence[Array | None]] | None = None,
) -> Callable[[F], F]:
    """A decorator of a function that computes the forward of these Functions by differentiable ops. Their
    rule runs it again and differentiates it.

    The function gets the node and the Tensors of the node's inputs. names: the attributes in which the node
    has saved the arrays of its inputs; or ``saved(node)`` gives these arrays. Either has the order of the
    inputs, from the first one on.
    """

    def register(forward: F) -> F:
        def inputs_of(node: Function) -> list[Any]:
            if saved is not None:
                return inputs(node, saved(node))
            return inputs(node, [getattr(node, name) for name in names])

        def apply(node: Function, *dys: Tensor | None) -> tuple[Tensor | None, ...]:
            return differentiated(node, inputs_of(node), partial(forward, node), *dys)

        apply.expression = forward, inputs_of  # type: ignore[attr-defined]  # func/forward.py reads it
        rule(*kinds)(apply)
        return forward

    return register


def differentiated(
    node: Function, xs: list[Any], forward: Callable[..., Any], *dys: Tensor | None
) -> tuple[Tensor | None, ...]:
    """The gradients of forward(*xs), weighted by dys, on the tape, for the inputs of the node that need one.

    forward may have fewer inputs than the node: the further inputs (settings) have no gradient.
    """
    operands = list(xs)
    needed = [i for i in range(len(operands)) if node.needs[i]]
    for i in needed:
        operands[i] = cut(operands[i])
    y = forward(*operands)
    ys = y if isinstance(y, tuple) else (y,)
    used = [i for i, dy in enumerate(dys) if dy is not None]
    outputs = [ys[i] for i in used]
    slopes = [dys[i] for i in used]
    wanted = [operands[i] for i in needed]
    dxs = autograd.grad(outputs, wanted, slopes, create_graph=True, materialize_grads=True)
    results: list[Tensor | None] = [None] * len(node.needs)
    for i, dx in zip(needed, dxs, strict=True):
        results[i] = dx
    return tuple(results)


@differentiable_backward()
class NoDerivative(Function):
    """Values that depend on the inputs in a way that has no derivative here: backward raises RuntimeError."""

    def __init__(self, name: str, values: Array | None) -> None:
        self.op = name
        self.values = values

    def forward(self, *inputs: Array) -> Array:
        values = self.values
        self.values = None
        return np.asanyarray(values)

    def backward(self, *gradients: Value | None, f: Operations = KERNELS) -> Any:
        raise RuntimeError(f"[{self.op}] has no derivative; expected a detached input: detach() it first")


def without_derivative(name: str, values: TensorLike, *inputs: Any) -> Tensor:
    """The values as a Tensor. If one of the inputs needs a gradient, backward through the Tensor raises an
    error."""
    values = np.asanyarray(values)
    if values.dtype.kind == "f" and any(getattr(x, "requires_grad", False) for x in inputs):
        return NoDerivative(name, values).apply(*inputs)
    return wrap(values)


def replaced(name: str, x: TensorLike, result: Any, inplace: bool) -> Tensor:
    """The result of an op with the argument `inplace`. With inplace, x gets the values of the result and is
    returned.

    result: a Tensor, or a Function that is to be applied to x. An array of the caller (`borrowed` in
    tensors/views.py) is never changed.
    """
    is_made = isinstance(result, Tensor)
    try:
        changed = inplace and isinstance(x, Tensor) and not x._cell.borrowed
    except (RuntimeError, ValueError):  # an array or a Tensor of several elements is neither true nor false
        raise TypeError(f"[{name}] got inplace {inplace!r}; expected True or False") from None
    if not changed or not isinstance(x, Tensor):
        if is_made:
            return result
        return result.apply(x)
    check_leaf(x, name)
    if is_made:
        return assign(x, result, name)
    return overwrite(x, result, name)


# --- Functions of the tape itself


for _function in (Same, Rows, copy_functions.Clone, copy_functions.Refused):
    differentiable_backward()(_function)


@rule(copy_functions.Cast)
def _cast_rule(node: copy_functions.Cast, dy: Tensor) -> Tensor:
    return dy.to(node.source)


def _zeros_in_shapes(node: Any, dtype: np.dtype[Any]) -> list[Array]:
    return [zeros(shape, dtype) for shape in node.shapes]


def _zeros_of_replace(node: Any, dtype: np.dtype[Any]) -> list[Array]:
    return [zeros(node.shape, dtype), through(node.chain, zeros(node.shape, dtype))]


additive(copy_functions.Setitem, _zeros_in_shapes)
additive(copy_functions.Put, _zeros_in_shapes)
additive(copy_functions.Replace, _zeros_of_replace)
