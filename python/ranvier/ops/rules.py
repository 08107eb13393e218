"""Shared by the rules of ``create_graph=True``: the gradients of a Function by differentiable ops.

A rule is called with the node and the gradients of its outputs, and returns one gradient, or None, for each
input. It stands beside its Function, and where it uses operators and methods of Tensor only, the module of an
op needs no other for it (docs/design/create_graph.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier.ops.slopes as slopes
import ranvier.tape.copies as copies
from ranvier.autograd.gradients import gradients
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.layout import zeros
from ranvier.ops.rows import made
from ranvier.ops.slopes import KERNELS, RESULT, TENSORS, formula_of, written_once
from ranvier.tape.function import OWN, Dtypes, Function, in_dtypes
from ranvier.tape.graph import Rows, Same, cut, on_arrays, rule, rule_of
from ranvier.tape.graph import of_input as saved_input
from ranvier.tape.inplace import assign, check_leaf, overwrite
from ranvier.tensors.memory import copied
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import BORROWED, FLAG, through

OnArray = Callable[[Array], Array]


class Map(Function):
    """y = A x for a matrix A that is given as two functions of arrays: x -> A x, and dy -> A^T dy.

    constant_in: tensors on which A depends, but which change it at isolated points only. Their gradients are
    therefore 0. x has the dtype of the arrays that the two functions read, which may be a half float.
    """

    dtypes = OWN

    def __init__(self, there: OnArray, back: OnArray, saved: list[Any]) -> None:
        self.there, self.back, self.saved = there, back, saved  # both functions read `saved`

    def forward(self, x: Array, *constant_in: Array) -> Array:
        self.shapes = [z.shape for z in constant_in]
        y = self.there(x)
        return copied(y) if np.may_share_memory(x, y) else y

    def backward(self, dy: Array) -> Any:
        return self.back(dy), *(zeros(shape, dy.dtype) for shape in self.shapes)


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
        maker.changes = (*maker.changes, *[cell[0] for cell in node.versions])
    return y


@rule(Map)
def _map(node: Map, dy: Tensor) -> tuple[Tensor, ...]:
    dx = mapped(node, dy, node.back, node.there, node.saved)
    return dx, *(none(shape, dy) for shape in node.shapes)


def with_zero_slope(dx: Tensor, z: Tensor) -> Tensor:
    """dx, recorded as a function of z, too, with the slope 0.

    dx changes with z only where the function has a kink. z then gets the gradient 0, as in PyTorch, not None.
    """
    y: Tensor = Map(lambda x: x, lambda x: x, []).apply(dx, z)
    return y


def by_rule(node: Any, *dys: Array | None) -> Any:
    """The backward of a Function whose gradient needs no speed: its rule, on arrays."""
    return on_arrays(rule_of(node), node, *dys)


def copy_of(node: Any) -> Any:
    """A node of the same class with the same saved attributes, for calls of its forward and backward later.

    The second backward needs a copy for two reasons: the first backward may have released the node, which
    drops what it has saved; and forward sets attributes (shapes, dtypes), which must stay those of the first
    call in the node itself.
    """
    copy = object.__new__(type(node))
    copy.__dict__.update(node.__dict__)
    copy.needs = node.needs
    return copy


def linear_rule(*kinds: type[Function], forward: Any = None, backward: Any = None, shape: Any = None) -> None:
    """The rule of Functions y = A x with one input that has gradients: backward is A^T, forward A.

    forward, backward: functions of the node and an array, which take the place of the node's own.
    shape: a function of the node and dy that gives the shape of x. It is set where A changes with x at kinks
        only. The second gradient of x is then 0, as in PyTorch; without it, it is missing.
    """

    def maps(node: Any, dtype: Any) -> list[tuple[OnArray, OnArray]]:
        there = node.forward if forward is None else lambda x: forward(node, x)
        return [(there, node.backward if backward is None else lambda dy: backward(node, dy))]

    _by_maps(kinds, maps, shape)


def additive(kind: Any, arguments: Callable[[Any, Any], list[Array]]) -> None:
    """The rule of a Function y = A a + B b.

    arguments(node, dtype): zeros in the shapes of a and b. With all arguments of forward but one at zero,
    forward computes A a or B b alone.
    """

    def maps(node: Any, dtype: Any) -> list[tuple[OnArray, OnArray]]:
        operands = arguments(node, dtype)

        def of(i: int) -> tuple[OnArray, OnArray]:
            before, after = operands[:i], operands[i + 1 :]
            # forward runs on a copy, as it overwrites the dtypes and shapes that backward reads
            return lambda x: copy_of(node).forward(*before, x, *after), lambda dy: node.backward(dy)[i]

        return [of(i) for i in range(len(operands))]

    _by_maps((kind,), maps)


def _by_maps(kinds: Any, maps: Any, shape: Any = None) -> None:
    """The rule of Functions y = A a + B b ... . maps(node, dtype): (A, A^T) for each of the first inputs."""

    def apply(node: Function, dy: Tensor, *_: Any) -> Any:
        copy, x = copy_of(node), []
        if shape is not None:
            x = [saved_input(node, 0, np.broadcast_to(np.zeros((), dy._array.dtype), shape(node, dy)))]
        pairs, saved = maps(copy, dy._array.dtype), list(vars(copy).values())
        dxs = [
            mapped(node, dy, back, there, saved, *x) if needed else None
            for (there, back), needed in zip(pairs, node.needs, strict=False)
        ]
        return (*dxs, *[None] * (len(node.edges) - len(dxs)))

    apply.maps = maps  # type: ignore[attr-defined]  # func/forward.py reads it, for forward mode
    rule(*kinds)(apply)


def diagonal(*kinds: type[Function], kinks: bool = False) -> None:
    """The rule of Functions y = D x for a diagonal matrix D, which is its own transpose.

    kinks: whether D changes with x, at kinks only: its second gradient is then 0.
    """
    shape = (lambda node, dy: dy.shape) if kinks else None
    linear_rule(*kinds, forward=lambda node, x: node.backward(x), shape=shape)


def none(shape: tuple[int, ...], dy: Tensor) -> Tensor:
    """The gradient of a function that is constant between its jumps."""
    return wrap(zeros(shape, dy._array.dtype))


def inputs(node: Any, arrays: list[Any]) -> list[Any]:
    """The Tensors of the node's first inputs; arrays: what forward has saved of each, in order, or None."""
    return [None if array is None else saved_input(node, i, array) for i, array in enumerate(arrays)]


def recomputed(*names: str, kinds: tuple[type[Function], ...], saved: Any = None) -> Callable[[Any], Any]:
    """A decorator: the function is the forward of these Functions by differentiable ops, which is then
    differentiated. It gets the node and the Tensors of its inputs, whose arrays have these names or are
    ``saved(node)``."""

    def register(forward: Any) -> Any:
        def given(node: Any) -> list[Any]:
            return inputs(node, saved(node) if saved else [getattr(node, name) for name in names])

        def apply(node: Any, *dys: Any) -> tuple[Tensor | None, ...]:
            return differentiated(node, given(node), lambda *xs: forward(node, *xs), *dys)

        apply.expression = forward, given  # type: ignore[attr-defined]  # func/forward.py reads it
        rule(*kinds)(apply)
        return forward

    return register


def differentiated(node: Any, xs: list[Tensor], forward: Any, *dys: Any) -> tuple[Tensor | None, ...]:
    """The gradients of forward(*xs) for the inputs that need one, on the tape.

    forward may have fewer inputs than the node: those after them (settings) have no gradient.
    """
    xs = [cut(x) if needed else x for x, needed in zip(xs, node.needs, strict=False)]
    y = forward(*xs)
    ys = y if isinstance(y, tuple) else (y,)
    pairs = [(y, dy) for y, dy in zip(ys, dys, strict=True) if dy is not None]
    wanted = [x for x, needed in zip(xs, node.needs, strict=False) if needed]
    dxs = iter(
        gradients(
            [y for y, _ in pairs], wanted, [dy for _, dy in pairs], create_graph=True, materialize_grads=True
        )
    )
    return tuple(next(dxs) if needed else None for needed in node.needs)


# --- functions of one tensor, element by element: `row` makes the Function from these arguments.
#
# kernel          computes y from x. With no other argument y is constant between its jumps, and dx is 0.
# gradient        dx by operators and functions of f (slopes.py), from dy and what the backward kernel reads.
#                 It is the formula of the kernel <name>_backward; where there is none, it runs in its place.
# backward_kernel the name of another kernel of f that computes dx, such as "mul", in place of both.
# formula         y by operators and methods of Tensor, from x and the setting. Exports to other formats run
#                 it where they have no such function. Without `gradient`, <name>_backward computes the first
#                 derivative, and those of higher order follow from the formula.
# kinks           the slope of y changes at kinks only. Second gradients are then 0, and <name>_backward
#                 also computes first ones.
#
# Forward mode, ``create_graph=True`` and exported C follow from `gradient`, `backward_kernel` or `formula`.
# `row` defines a forward and a backward for each class, with its kernels: those of a common base class would
# look them up at each call.


class _Step(Function):
    """A function that is constant between its jumps: its gradient is 0."""

    dtypes = OWN
    of_element = True

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        return f.zeros_of(dy.shape, dy)


def _on_arrays(formula: Any) -> Any:
    """A function of arrays in place of a kernel; formula: of the namespace TENSORS and Tensors."""
    nothing: Any = None
    return lambda *arrays: on_arrays(lambda node, *xs: formula(TENSORS, *xs), nothing, *arrays)


def row(
    kernel: Any,
    gradient: Any = None,
    formula: Any = None,
    *,
    reads: str = "x",
    setting: bool = False,
    backward_kernel: str = "",
    same_slope: Any = lambda setting: False,
    kinks: bool = False,
    frees_result: bool = False,
) -> Any:
    """The Function y = f(x), or f(x, setting), which is made with the setting.

    reads: whether backward reads x or y: the attribute that forward saves.
    same_slope(setting): whether the slope computed from y is that computed from x. An op in place, which
        writes y over x, then needs no copy of x.
    frees_result: see Function. The other arguments are in the list above.
    """
    name = kernel.__name__
    title = "".join(map(str.capitalize, name.split("_")))
    if gradient is formula is None and not backward_kernel:
        return written_once()(type(title, (_Step,), {"forward": lambda self, x: kernel(x, None)}))
    backward_name = backward_kernel or f"{name}_backward"

    def saving_x(self: Any, x: Array, out: Array | None = None) -> Array:
        self.x = x
        return kernel(x, out)

    def saving_y(self: Any, x: Array) -> Array:
        self.y = y = kernel(x)
        return y

    def with_setting(self: Any, x: Array, out: Array | None = None) -> Array:
        self.x = x
        return kernel(x, self.setting, out)

    def set_setting(self: Any, setting: float) -> None:
        self.setting = setting

    def settings(node: Any) -> tuple[Any, ...]:
        return (node.setting,) if setting else ()

    # The attributes of the class that is made below. `saves` is the argument of `written_once` (slopes.py).
    methods: dict[str, Any] = {"of_element": True, "dtypes": OWN, "saves": {"x": 0}, "forward": saving_x}
    # An op in place copies x first where `reads_old` is true. With a setting this depends on its value.
    methods["reads_old"] = property(lambda node: not same_slope(node.setting)) if setting else True
    if reads == "y":
        # A y that is rounded to half floats would give an inexact gradient: with one, halves use float32.
        methods |= {"dtypes": Dtypes("forward"), "saves": {"y": RESULT}, "forward": saving_y}
        methods |= {"reads_old": False, "frees_result": frees_result}
    elif setting:
        methods |= {"__init__": set_setting, "forward": with_setting}
    # The text of backward is compiled, so that each class calls its kernel without a loop over arguments.
    read = f"dy, self.{reads}, self.setting" if setting else f"dy, self.{reads}"
    backward = f"def backward(self, dy, f=KERNELS): return f.{backward_name}({read})"
    methods["backward"] = made(backward, vars(slopes))
    if formula is not None:
        methods["formula"] = lambda node, x: formula(as_tensor(name, x), *settings(node))
    if gradient is not None:
        # The steps of the formula run in float32 for half floats, and the result is rounded once. Where y is
        # read, `Dtypes("forward")` has made them float32 already.
        once = in_dtypes()(gradient) if reads == "x" else gradient
        formula_of(backward_name)(once)
        if not hasattr(KERNELS, backward_name):
            setattr(KERNELS, backward_name, _on_arrays(once))
    kind = type(title, (Function,), methods)
    if kinks:
        diagonal(kind, kinks=True)
    elif gradient is None and not backward_kernel:
        recomputed("x", kinds=(kind,))(in_dtypes()(lambda node, x: formula(x, *settings(node))))
    else:
        written_once(**methods["saves"])(kind)
    return kind


def replaced(name: str, x: Any, result: Any, inplace: bool) -> Tensor:
    """The result, a Tensor or a Function of x, or with inplace x with its values. An array of the caller
    (BORROWED) is never changed."""
    is_made = isinstance(result, Tensor)
    try:
        changed = inplace and isinstance(x, Tensor) and not x._cell[FLAG] & BORROWED
    except (RuntimeError, ValueError):  # an array or a Tensor of several elements is neither true nor false
        raise TypeError(f"[{name}] got inplace {inplace!r}; expected True or False") from None
    if not changed:
        return result if is_made else result.apply(x)
    check_leaf(x, name)
    return assign(x, result, name) if is_made else overwrite(x, result, name)


# --- Functions of the tape itself


for _kind in (Same, Rows, copies.Clone, copies.Refused):
    written_once()(_kind)


rule(copies.Cast)(lambda node, dy: dy.to(node.source))


additive(copies.SetItem, lambda node, dtype: [zeros(shape, dtype) for shape in node.shapes])
additive(copies.Put, lambda node, dtype: [zeros(shape, dtype) for shape in node.shapes])
additive(
    copies.Replace,
    lambda node, dtype: [zeros(node.shape, dtype), through(node.chain, zeros(node.shape, dtype))],
)
