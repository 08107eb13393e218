"""Backward: gradients pass along the tape from the outputs to the leaves.

`run` calls `_core._backward` (bindings/tape/backward.cpp), which visits the nodes (Function, Output or leaf
Tensor) in order: a node runs when all its uses have delivered their gradients. The core calls back the
functions in `_STEPS` for what is done in Python: add two gradients, run a Function's backward, call hooks,
add to a leaf.

A Function's backward may return the same array for two inputs, or the array that it got. So the sum of the
first two gradients of a node goes to a new array, to which further ones are added in place. A leaf keeps an
array as its ``grad`` only if nothing else refers to the array.
"""

from __future__ import annotations

import sys
from _thread import _count as other_threads
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
import ranvier.tape.higher_order as higher_order
import ranvier.tape.hooks as hooks
import ranvier.tape.trace as trace
from ranvier.grad_mode import enable_grad, mode
from ranvier.observe import Lock, current, is_replaced, observers
from ranvier.tape.deferred import Deferred
from ranvier.tape.hooks import of_nodes
from ranvier.tensors.batched import root_of_slices
from ranvier.tensors.data import array_of
from ranvier.tensors.memory import SOLE, Array, added, filled, in_dtype, is_batched, like, plain, write
from ranvier.tensors.recording import references
from ranvier.tensors.replaced import prune, renew, replaced
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump, overlaps

if TYPE_CHECKING:
    from ranvier.tape.deferred import Gradient
    from ranvier.tape.function import Function, Target
    from ranvier.tensors.types import TensorLike

ndarray = np.ndarray


def backward(
    root: Tensor,
    gradient: TensorLike | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Iterable[Tensor] | None = None,
) -> None:
    """Adds the gradient of this tensor to the ``grad`` of every leaf that requires it.

    gradient: has the shape of the tensor; 1 by default, for a tensor of one element.
    retain_graph: keeps what forward saved, so that backward can be called again; None: as create_graph.
    create_graph: records the computation of the gradients, so that they can be differentiated again. ``grad``
        then has a history that leads back to the leaf: set it to None after use, or call
        :func:`ranvier.autograd.grad` instead. Raises NotImplementedError where an op cannot be differentiated
        twice.
    inputs: the tensors that get a ``grad``, also those that are no leaves; None means all leaves. The
        gradients of other leaves are not computed.

    >>> import ranvier as rv
    >>> x = rv.tensor(3.0, requires_grad=True)
    >>> x.clone().backward()
    >>> x.grad
    tensor(1.)
    """
    if observers and is_replaced("backward", root, gradient):
        return
    if is_batched(root._array):
        root, gradient = root_of_slices(root, gradient)
    seed = root_gradient("backward", root, gradient, create_graph)
    only = None if inputs is None else targets(inputs)
    run([(root, seed)], retain_graph, only=only, create_graph=create_graph)


def targets(inputs: Tensor | Iterable[Tensor]) -> set[Target]:
    """The nodes of the tensors that get a ``grad``. Tensors that are no leaves get the hook of
    retain_grad."""
    if isinstance(inputs, Iterable) and not isinstance(inputs, Tensor):
        tensors = list(inputs)
    else:
        tensors = [inputs]
    if not tensors:
        raise RuntimeError("[backward] got no inputs; expected some, or None for all leaves")
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"[backward] got {type(x).__name__} in inputs; expected Tensors")
        if not x._requires_grad:
            raise RuntimeError("[backward] one of the inputs does not require grad")
        hooks.retain_grad(x)
    return set(map(_node_of, tensors))


def _node_of(tensor: Tensor) -> Target:
    """The node of the tape that stands for a tensor: the Function that made it, or a leaf itself."""
    return tensor if tensor._grad_fn is None else tensor._grad_fn


def root_gradient(
    name: str, root: Tensor, gradient: TensorLike | None, create_graph: bool = False
) -> Array | Tensor:
    """The gradient from which backward starts: the argument `gradient`, checked, or 1; a Tensor with
    create_graph."""
    seed = _seed(name, root, gradient)
    if not create_graph:
        return seed
    if not isinstance(gradient, Tensor):
        return wrap(seed)
    if gradient._array.dtype == seed.dtype:
        return gradient
    return gradient.to(seed.dtype)


def _seed(name: str, root: Tensor, gradient: TensorLike | None) -> Array:
    """The gradient of the root, checked, as an array; 1 for a number where none is given."""
    array = root._array
    if not root._requires_grad:
        raise RuntimeError(
            f"[{name}] the tensor does not require grad and does not have a grad_fn; expected one computed "
            "outside of no_grad() from tensors that require grad. A result of a step captured by rv.compile "
            "has no tape: call backward() inside the step"
        )
    if gradient is None:
        if array.size != 1:
            raise RuntimeError(
                f"[{name}] grad can be implicitly created only for scalar outputs, got shape {array.shape}; "
                "pass a gradient"
            )
        return filled(1, array.shape, array.dtype)
    if isinstance(gradient, Tensor):
        seed = gradient._array
    else:
        seed = array_of(name, gradient)
    if seed.shape != array.shape:
        raise RuntimeError(
            f"[{name}] got a gradient of shape {seed.shape} for an output of shape {array.shape}"
        )
    return in_dtype(seed, array.dtype)


def run(
    roots: Sequence[tuple[Tensor, Any]],
    retain_graph: bool | None,
    captured: dict[Any, Any] | None = None,
    only: set[Target] | None = None,
    create_graph: bool = False,
    on_tensors: bool = False,
) -> None:
    """Computes the gradients from the roots to the leaves.

    roots: (tensor, gradient).
    captured: a dict by node, whose values become the gradients of the nodes; then no ``grad`` is changed.
    only: the nodes of the tensors that get a ``grad``; None means all leaves. Nodes that lead to none of
        these are not run.
    create_graph: gradients are Tensors with a history (higher_order.py), else arrays.
    on_tensors: gradients are Tensors, with a history if recording is on.
    """
    if create_graph and not mode.enabled:
        with enable_grad():
            return run(roots, retain_graph, captured, only, create_graph)
    on_tensors = on_tensors or create_graph
    steps = higher_order.STEPS if on_tensors else _STEPS
    rules = higher_order.RULES if on_tensors else None
    # The core may call a Function's rule itself (`rules`), or by `steps` (`by_steps`). In a block of autocast
    # it has to do the latter, since `higher_order.applied` runs rules outside of the block.
    in_autocast = _core._autocast(-1) != 0
    by_steps = on_tensors and in_autocast
    if trace.anomaly.on and trace.anomaly.searches:
        add, gradients_of, call_registered, add_to_grad, at_leaf = steps
        steps = (add, trace.checked(gradients_of), call_registered, add_to_grad, at_leaf)
        by_steps = True
    # `replaced` has entries for Tensors whose memory was replaced (tensors/replaced.py). Entries that no node
    # needs any more are removed, since each makes backward slower.
    if replaced:
        prune()
    nodes = [(_node_of(root), seed) for root, seed in roots]
    retains = create_graph if retain_graph is None else bool(retain_graph)
    _core._backward(nodes, steps, captured, only, retains, by_steps, rules)
    if replaced:
        prune()
    if hooks.carried.tensors:
        hooks.carried.tensors.clear()
    # With `captured` this is autograd.grad, which may run inside a backward that has not ended yet.
    if hooks.at_end and captured is None:
        hooks.call_at_end()


def _gradients(node: Function, dy: Array | Deferred | list[Array | Deferred | None]) -> Any:
    """The result of the backward of one Function. dy: its gradient; a list if the node has several outputs.

    Raises RuntimeError if what the Function has saved was changed in place or freed since forward.
    """
    if replaced:
        renew(node)
    dys = dy if isinstance(dy, list) else [dy]
    # A quick test: `check_saved` then asks whether a saved array is on the memory that was changed.
    for cell, count in zip(node.versions, node.changes, strict=False):
        if cell.changes != count:
            node.check_saved()
            break
    if node.released:
        raise RuntimeError(higher_order.AGAIN)
    if of_nodes and id(node) in of_nodes:
        return hooks.around(node, [*map(_as_array, dys)], node.backward)
    return node.backward(*dys)


def _as_array(gradient: Array | Deferred | None) -> Array | None:
    """A gradient as an array, if it is a Deferred (tape/deferred.py)."""
    if isinstance(gradient, Deferred):
        return gradient.array()
    return gradient


def _add(total: Array | Deferred | None, gradient: Gradient, may_overwrite: bool) -> Array | Deferred:
    """The gradient of a node after a further gradient has arrived, as an array or a Deferred.

    total: the sum of the gradients so far, or None.
    may_overwrite: whether it is an array that may be overwritten.
    """
    if isinstance(total, Deferred):
        both = total.plus(gradient)
        if both is not None:
            return both
        sum_so_far: Array | None = total.array()  # a new array, which nothing else refers to
        may_overwrite = True
    else:
        sum_so_far = total
    if isinstance(gradient, Deferred):
        if may_overwrite and sum_so_far is not None and gradient.joins and gradient.shape == sum_so_far.shape:
            return gradient.added_to(sum_so_far)
        array = gradient.array()
    elif isinstance(gradient, Tensor):
        array = gradient._array
    elif type(gradient) is ndarray:
        array = gradient
    else:  # what a user's backward has returned: a number, a list or a subclass of ndarray
        array = np.asarray(plain("backward", gradient))
    if sum_so_far is None:
        return array
    if may_overwrite:
        return _sum(sum_so_far, array, out=sum_so_far)
    return _sum(sum_so_far, array)


def _sum(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b in the dtype of a; ``out`` may be a itself."""
    if a.shape != b.shape:
        higher_order.require_one_shape(a, b)  # raises
    return added(a, in_dtype(b, a.dtype), out)


_adding = Lock()  # held by the thread that adds to the gradient of a leaf


def accumulate(leaf: Tensor, holder: list[Any]) -> None:
    """Adds the gradient in ``holder`` to ``leaf.grad``, which gets the memory layout of the leaf.

    holder: a list of one array, so that the caller holds no other reference to it.
    """
    if not other_threads():
        return _add_to_grad(leaf, holder)
    with _adding:
        return _add_to_grad(leaf, holder)


def _add_to_grad(leaf: Tensor, holder: list[Any]) -> None:
    """Does what `accumulate` says. Reference counts decide whether an array may be kept, or changed in place:
    SOLE is the count of an array that has no other references (tensors/memory.py)."""
    recording = current() if observers else None
    if recording is not None:
        recording.gets_gradient(leaf)
    gradient = holder[0]
    array = leaf._array
    if gradient.shape != array.shape:
        raise RuntimeError(f"[backward] got a gradient of shape {gradient.shape} for a leaf of {array.shape}")
    if leaf._grad is None:
        # Nothing else refers to the array, and it is no part of another one.
        is_free = sys.getrefcount(gradient) <= SOLE and type(gradient.base) is not ndarray
        if not is_free or gradient.strides != array.strides or gradient.dtype != array.dtype:
            gradient = like(array, gradient)
        leaf._grad = wrap(gradient)
        return
    grad = leaf._grad
    total = grad._array
    # The cell and the recording may refer to the array too; these references do not matter here.
    expected = SOLE + (grad._cell.changed_last is total) + references(total)
    if sys.getrefcount(total) <= expected and type(total.base) is not ndarray:
        _sum(total, gradient, out=total)
        return
    if recording is not None and recording.core.kind_of(total) != "temporary":
        # A replay would add in the same place as this run, which holds the gradient only while something else
        # refers to it. A later run may be recorded.
        recording.passing = True
    needs_new_memory = grad._grad_fn is not None or grad._cell.borrowed or overlaps(total)
    if needs_new_memory or not total.flags.writeable or np.may_share_memory(total, gradient):
        grad._array = _sum(total, gradient)
    else:  # in place: other tensors of this memory see the sum, as in PyTorch
        write(total, _sum(total, gradient))
        bump(grad)


_STEPS: higher_order.Steps = (_add, _gradients, hooks.call, accumulate, hooks.at_leaf)
_core._set_deferred(Deferred)
# The core reads these tables in each backward; mostly they are empty.
_core._set_rare(replaced, of_nodes, hooks.before_accumulation, hooks.after_accumulation)
