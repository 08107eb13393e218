"""Backward on the tape, for ``create_graph=True``: gradients are Tensors with a history of their own.

A Function's ``backward`` computes arrays. Its *rule*, a function in RULES, computes the same gradients by
differentiable ops on Tensors. The arrays that forward has saved become Tensors with a history by `of_input`
and `of_output`. A Function without a rule is refused: a second backward would treat its gradient as a
constant. The rules of ops stand beside their Functions in `ops`. `backpropagation.run` uses the functions in
STEPS, at the end of this file, instead of its own. `Rows`, `cut`, `separate` and `on_arrays` are for callers
in autograd, func and ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import enable_grad, mode, no_grad
from ranvier.observe import current
from ranvier.tape.function import Function, Output
from ranvier.tape.hooks import Hooks, Retain, around, at_leaf, checked, of_nodes
from ranvier.tensors.memory import Array
from ranvier.tensors.replaced import renew, replaced
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import as_node

if TYPE_CHECKING:
    from ranvier.tape.function import Target

ArrayOrTensor: TypeAlias = Array | Tensor
Rule = Callable[..., Any]

RULES: dict[type[Function], Rule] = {}  # rule(node, dy, ...) -> Tensors or None, as from backward

AGAIN = (
    "[backward] trying to backward through the graph a second time: what forward saved was freed by "
    "the first backward; call it with retain_graph=True to keep it"
)


def rule(*kinds: type[Function]) -> Callable[[Rule], Rule]:
    """A decorator: the function is the rule of these Functions, and of subclasses that inherit their
    backward."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def of_program(function: Rule) -> Rule:
    """A decorator for a rule that calls functions of the user's: autocast stays on for them, as the caller
    has set it."""
    function.of_program = True  # type: ignore[attr-defined]
    return function


def applied(node: Function, *dys: Tensor | None) -> Any:
    """The result of a node's rule. It runs outside of autocast, in the dtypes in which the node was
    computed."""
    of_node = rule_of(node)
    if hasattr(of_node, "of_program"):
        return of_node(node, *dys)
    return _core._without_autocast(of_node, node, *dys)


def rule_of(node: Function) -> Rule:
    """The rule of a node's class. Raises NotImplementedError where there is none."""
    for base in type(node).__mro__:
        if base in RULES:
            return RULES[base]
        # The rules of further bases compute another gradient than this backward.
        if "backward" in vars(base):
            break
    return refuse(node)


def refuse(node: Function) -> Any:
    """Raises NotImplementedError, because this Function has no rule."""
    raise NotImplementedError(
        f"[{node._op_name()}] got create_graph=True; expected ops that can be differentiated twice, which "
        f"{type(node).__name__} cannot; a Function of your own can if forward and backward are static methods"
    )


class Same(Function):
    """y = x, in the memory of x."""

    is_view = True

    def forward(self, x: Array) -> Array:
        return x

    # f is the namespace of ops with which other backwards compute (ops/namespaces.py). Here nothing is.
    def backward(self, dy: ArrayOrTensor, f: object = None) -> ArrayOrTensor:
        return dy


class Rows(Function):
    """y[i] = the i-th input; all have one shape"""

    def forward(self, *rows: Array) -> Any:
        return _core.concatenate([row[None] for row in rows], 0)

    def backward(self, dy: Iterable[ArrayOrTensor], f: object = None) -> tuple[ArrayOrTensor, ...]:
        return tuple(dy)


def of_input(node: Function, index: int, array: Array) -> Tensor:
    """The Tensor of an input of the node, with its history, for a rule.

    array: the values of the input, or a view of them, as forward has saved them.
    """
    if not mode.enabled:
        return wrap(array)
    edge = node.edges[index]
    # The versions are those of the result, then of each input.
    changed = node.versions and node.versions[1 + index].changes != node.changes[1 + index]
    if changed and _is_needed(node, array):
        node.check_saved(array)  # raises if the array was changed
    if isinstance(edge, Tensor):  # a leaf
        if edge._array is array:
            return edge
        # The leaf has got other memory since (`.data = ...`), or forward has saved a view of its array.
        edge = as_node(Same(), edge)
    return _with_history(array, edge, node, 1 + index)


def _is_needed(node: Function, array: Array) -> bool:
    """False if only a gradient that is not needed reads this saved array (`Function.reads`)."""
    return all(node.needs[i] or getattr(node, name) is not array for name, i in node.reads.items())


def of_output(node: Function, array: Array, index: int | None = None) -> Tensor:
    """The Tensor that the node has made, with its history, for a rule.

    array: its values, as forward has saved them.
    index: which output it is, if the node has several.
    """
    if not mode.enabled:
        return wrap(array)
    if index is None:
        return _with_history(array, node, node, 0)
    # With several outputs, the versions of the outputs stand at the end, behind those of the inputs.
    return _with_history(array, Output(node, index), node, index - node.outputs)


def _with_history(array: Array, maker: Target | None, node: Function, place: int) -> Tensor:
    """A Tensor made by `maker`, with the count of changes at this place in the node's `versions`."""
    tensor = wrap(array, requires_grad=maker is not None and mode.enabled)
    tensor._grad_fn = maker
    if node.versions:
        tensor._cell = node.versions[place]
    return tensor


def cut(x: Tensor) -> Tensor:
    """x as a new Tensor on the tape. A gradient with respect to the new Tensor counts only uses of this
    Tensor, not other uses of x."""
    return Same().apply(x)


# --- the steps of `backward.run` on Tensors


# What the core's loop of backward calls in Python: the sum of a node's gradients so far and a further one;
# the gradients of a Function's inputs; the gradient of a node after its hooks; what adds to ``grad`` of a
# leaf; what does this and calls the hooks of a leaf that has some.
Steps: TypeAlias = tuple[
    Callable[..., Any],
    Callable[[Function, Any], Any],
    Callable[[Hooks, Any], Any],
    Callable[[Tensor, list[Any]], None],
    Callable[..., None],
]


def gradients_of(node: Function, dy: Tensor | list[Tensor | None]) -> Any:
    """The result of the rule of one Function; dy: a list if the node has several outputs."""
    if replaced:
        renew(node)
    node.check_saved()
    if node.released:
        raise RuntimeError(AGAIN)
    dys = dy if isinstance(dy, list) else [dy]
    if of_nodes and id(node) in of_nodes:
        return around(node, dys, partial(applied, node))
    return applied(node, *dys)


def require_one_shape(a: ArrayOrTensor, b: ArrayOrTensor) -> None:
    if a.shape != b.shape:
        raise RuntimeError(
            f"[backward] got gradients of shapes {a.shape} and {b.shape} for one tensor; expected one shape: "
            "has it got other memory (`.data = ...`) since?"
        )


def add(total: Tensor, gradient: Tensor, may_overwrite: bool) -> Tensor:
    """The sum of two gradients of one node. It is always a new Tensor, whatever `may_overwrite` says."""
    require_one_shape(total, gradient)
    return total + _cast(gradient, total._array.dtype)


def call_hooks(hooks: Hooks, gradient: Tensor) -> Tensor:
    """The gradient after all hooks, in order of registration; those of ``retain_grad`` come last."""
    in_order = list(hooks.values())
    for hook in in_order:
        if isinstance(hook, Retain):
            continue
        changed = hook(gradient)
        if changed is not None:
            if not isinstance(changed, Tensor):
                changed = wrap(np.asarray(changed))
            gradient = _cast(checked(changed, gradient), gradient._array.dtype)
    for hook in in_order:
        if isinstance(hook, Retain):
            _keep(hook.tensor(), gradient)
    return gradient


def accumulate(leaf: Tensor, holder: list[Any]) -> None:
    """Adds the gradient in ``holder`` to ``leaf.grad``, which keeps its history."""
    recording = current()
    if recording is not None:
        recording.refuse(
            "backward(create_graph=True) gives .grad a history", "use autograd.grad, or call the step eagerly"
        )
        recording.gets_gradient(leaf)
    (gradient,) = holder
    if gradient.shape != leaf.shape:
        raise RuntimeError(f"[backward] got a gradient of shape {gradient.shape} for a leaf of {leaf.shape}")
    _keep(leaf, _cast(gradient, leaf._array.dtype))


def _keep(tensor: Tensor | None, gradient: Tensor) -> None:
    """Adds a gradient, with its history, to ``tensor.grad``. None: the tensor is gone."""
    if tensor is None:
        return
    if tensor._grad is None:
        tensor._grad = gradient.clone()
    else:
        tensor._grad = tensor._grad + gradient


def _cast(gradient: Tensor, dtype: np.dtype[Any]) -> Tensor:
    if gradient._array.dtype == dtype:
        return gradient
    return gradient.to(dtype)


def separate(gradients: list[Tensor | None], seeds: Iterable[ArrayOrTensor]) -> list[Tensor | None]:
    """The gradients, each in separate memory, so that the caller may change one in place.

    seeds: the Tensors with which backward began, which belong to the caller.
    """
    taken = {id(x) for x in seeds}
    separated = []
    for g in gradients:
        if g is not None:
            is_leaf = g._requires_grad and g._grad_fn is None
            if id(g) in taken or is_leaf or g._view is not None:
                with enable_grad():
                    g = g.clone()
            taken.add(id(g))
        separated.append(g)
    return separated


STEPS: Steps = (add, gradients_of, call_hooks, accumulate, at_leaf)


def on_arrays(rule: Rule, node: Function, *dys: Array | None) -> Any:
    """The gradients, as arrays and off the tape, of a Function whose backward is defined by its rule
    alone."""
    with no_grad():
        tensors = map(_wrapped, dys)
        gradients = _core._without_autocast(rule, node, *tensors)
    if type(gradients) is not tuple:
        return _unwrapped(gradients)
    if len(gradients) == 1:
        return _unwrapped(gradients[0])
    return tuple(map(_unwrapped, gradients))


def _wrapped(gradient: Array | None) -> Tensor | None:
    return None if gradient is None else wrap(gradient)


def _unwrapped(gradient: Tensor | None) -> Array | None:
    return None if gradient is None else gradient._array
