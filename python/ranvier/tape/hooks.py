"""Hooks on tensors and nodes: functions that get a gradient in backward, and may replace it.

The hooks of a tensor that an op has made are in ``hooks`` of its node. The hooks of leaves, and those on
nodes themselves, are in the tables below. Backward calls them by `call`, `at_leaf` and `around`.
"""

from __future__ import annotations

import itertools
import weakref
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ranvier.grad_mode import mode, no_grad
from ranvier.observe import observers
from ranvier.tape.deferred import Deferred
from ranvier.tensors.memory import added, copied, in_dtype
from ranvier.tensors.tensor import Tensor, wrap

if TYPE_CHECKING:
    from ranvier.tape.deferred import Gradient
    from ranvier.tape.function import Function
    from ranvier.tensors.memory import Array

    Entry = TypeVar("Entry", "Hooks", "NodeHooks")
    ArrayOrTensor = TypeVar("ArrayOrTensor", Array, Tensor)

Hooks = dict[int, Callable[..., Any]]  # the hooks of one tensor or node, by the id of their handle


# The hooks that are called before a node runs, and those that are called after it.
NodeHooks = tuple[Hooks, Hooks]

# The hooks of leaves, by the leaf's id, while the leaf is alive. They are called before, or after, the
# gradient is added to ``grad``. They are rare, so they are not in the Tensor, where they would need a slot.
before_accumulation: dict[int, Hooks] = {}
after_accumulation: dict[int, Hooks] = {}
# The hooks of nodes themselves, by the id of the Function or of the leaf.
of_nodes: dict[int, NodeHooks] = {}
# All of them. Guards of compiled steps compare the entries of the leaves and nodes that a step uses.
TABLES: tuple[dict[int, Any], ...] = (before_accumulation, after_accumulation, of_nodes)
# Functions that hooks have asked to be called, once each, when the running backward ends.
# (distributed/parallel.py and torch/training/graph.py append to it.)
at_end: list[Callable[[], None]] = []


_NONE = object()  # the default of an argument that may be None


class RemovableHandle:
    """A registered hook: ``remove()``, or the end of a ``with`` block, removes it.

    ``RemovableHandle(hooks)`` is a handle alone, as in PyTorch: the caller sets ``hooks[handle.id]``.
    extra_dict: other dictionaries, one or a list, from which the id is removed too.
    """

    _keys = itertools.count()

    def __init__(
        self,
        hooks_dict: dict[int, Any],
        hook: Any = _NONE,
        *,
        extra_dict: dict[int, Any] | list[dict[int, Any]] | None = None,
    ) -> None:
        if extra_dict is None:
            extra_dict = []
        elif not isinstance(extra_dict, list):
            extra_dict = [extra_dict]
        self._hooks = [hooks_dict, *extra_dict]
        self.id = next(self._keys)
        if hook is not _NONE:
            hooks_dict[self.id] = hook

    def remove(self) -> None:
        for hooks in self._hooks:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Retain:
    """The hook of ``retain_grad``: adds the gradient, after all other hooks, to ``grad``."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)

    def keep(self, gradient: Array) -> None:
        """Adds the gradient to ``grad`` of the tensor, if that is still alive."""
        tensor = self.tensor()
        if tensor is None:
            return
        # `grad` is not changed in place, since the caller may hold it: a new Tensor replaces it.
        if tensor._grad is None:
            tensor._grad = wrap(copied(gradient))
        else:
            tensor._grad = wrap(added(tensor._grad._array, gradient))


def register_hook(tensor: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(gradient)`` when backward has the whole gradient of this tensor.

    What the hook returns replaces the gradient, unless it is None. ``remove()`` of the returned handle
    removes the hook. Raises RuntimeError for a tensor that requires no gradients.

    >>> import ranvier as rv
    >>> x = rv.tensor(3.0, requires_grad=True)
    >>> handle = x.register_hook(lambda gradient: gradient * 2)
    >>> (x * x).backward()
    >>> x.grad
    tensor(12.)
    """
    if not tensor.requires_grad:
        raise RuntimeError("[register_hook] cannot register a hook on a tensor that doesn't require gradient")
    if tensor._grad_fn is None:
        return RemovableHandle(_entry(before_accumulation, tensor, {}), hook)
    return RemovableHandle(_hooks_of_maker(tensor), hook)


def register_post_accumulate_grad_hook(tensor: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(tensor)`` each time backward has added to ``grad`` of this leaf; returns a handle."""
    if tensor._grad_fn is not None or not tensor._requires_grad:
        raise RuntimeError(
            "[register_post_accumulate_grad_hook] post accumulate grad hooks cannot be registered on "
            "non-leaf tensors, or on those that don't require gradient"
        )
    return RemovableHandle(_entry(after_accumulation, tensor, {}), hook)


def _entry(table: dict[int, Entry], node: Any, new: Entry) -> Entry:
    """The entry of a leaf or node in a table of hooks. If it has none, `new` is put there until the node
    dies."""
    entry = table.setdefault(id(node), new)  # Another thread may have made an entry.
    if entry is new:
        weakref.finalize(node, table.pop, id(node), None)
    return entry


def hooks_of(leaf: Tensor) -> list[Hooks]:
    """The hooks that backward calls at a leaf: those before and after accumulation, and those of its node."""
    key = id(leaf)
    kinds = [before_accumulation.get(key), after_accumulation.get(key), *of_nodes.get(key, ())]
    return [hooks for hooks in kinds if hooks]


def hooks_of_node(node: Any) -> NodeHooks:
    """The hooks of a Function or leaf itself, to which the caller may add one."""
    return _entry(of_nodes, node, ({}, {}))


def around(
    node: Function | Tensor, gradients: Sequence[Array | Tensor | None], run: Callable[..., Any]
) -> Any:
    """Returns ``run(*gradients)`` for a node in `of_nodes`, with the node's hooks called before and after it.

    gradients: arrays, or Tensors with create_graph. The hooks get tuples of Tensors.
    """
    hooks = of_nodes[id(node)]
    if any(isinstance(g, Tensor) for g in gradients):
        return _run_with_hooks(hooks, gradients, run, on_arrays=False)
    with no_grad():
        return _run_with_hooks(hooks, gradients, run, on_arrays=True)


def _run_with_hooks(
    hooks: NodeHooks,
    gradients: Sequence[Array | Tensor | None],
    run: Callable[..., Any],
    on_arrays: bool,
) -> tuple[Any, ...]:
    """What `around` returns. on_arrays: whether `run` takes arrays, and the results are arrays."""
    before, after = hooks
    tensors = tuple(map(_tensor_of, gradients))
    for hook in list(before.values()):
        tensors = replaced(hook(tensors), tensors)
    if on_arrays:
        results = run(*map(_array_of, tensors))
    else:
        results = run(*tensors)
    if type(results) is not tuple:
        results = (results,)
    if not after:
        return results
    changed = tuple(map(_tensor_of, results))
    for hook in list(after.values()):
        changed = replaced(hook(changed, tensors), changed)
    if on_arrays:
        return tuple(map(_array_of, changed))
    return changed


def _tensor_of(gradient: Gradient | None) -> Tensor | None:
    """A gradient as a Tensor; None stays None."""
    if gradient is None or isinstance(gradient, Tensor):
        return gradient
    if isinstance(gradient, Deferred):
        return tensor_of(gradient.array())
    return tensor_of(gradient)


def _array_of(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else kept(tensor)


def replaced(
    changed: Tensor | tuple[Tensor | None, ...] | None, gradients: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """The gradients that the hook of a node returned, or those that it got."""
    if changed is None:
        return gradients
    if not isinstance(changed, tuple):
        changed = (changed,)
    if len(changed) != len(gradients):
        raise RuntimeError(
            f"[backward hook] got {len(changed)} gradients from the hook; expected {len(gradients)}"
        )
    return changed


class _Carried(local):
    """The gradients of this backward to which hooks have given attributes or another class, by the id of the
    array. Backward passes arrays, so that the Tensor would get lost otherwise. `backpropagation.run` clears
    them at its end."""

    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}


carried = _Carried()


def tensor_of(array: Array) -> Tensor:
    """A gradient as a Tensor: the same object that an earlier hook has given attributes, if there is one."""
    tensor = carried.tensors.get(id(array)) if carried.tensors else None
    if tensor is None:
        return wrap(array)
    return tensor


def kept(tensor: Tensor) -> Array:
    """The array of a gradient. If a hook has given the Tensor attributes, later hooks get this Tensor
    again."""
    if type(tensor) is not Tensor or tensor.__dict__:
        carried.tensors[id(tensor._array)] = tensor
    return tensor._array


def _hooks_of_maker(tensor: Tensor) -> Hooks:
    """The hooks of the Function (or of its output) that made a tensor, to which the caller may add one."""
    maker = tensor._grad_fn
    if maker.hooks is None:
        maker.hooks = {}
    return maker.hooks


def retain_grad(tensor: Tensor) -> None:
    """Makes backward keep the gradient in ``grad`` also for this tensor, which is not a leaf."""
    if not tensor._requires_grad:
        raise RuntimeError("[retain_grad] can't retain_grad on Tensor that has requires_grad=False")
    if tensor._grad_fn is not None and not retains_grad(tensor):
        RemovableHandle(_hooks_of_maker(tensor), Retain(tensor))


def retains_grad(tensor: Tensor) -> bool:
    """True if backward keeps the gradient of this tensor, which is not a leaf."""
    hooks = getattr(tensor._grad_fn, "hooks", None)
    if hooks is None:
        return False
    return any(isinstance(hook, Retain) and hook.tensor() is tensor for hook in hooks.values())


def call(hooks: Hooks, gradient: Array | Deferred) -> Array | Deferred:
    """The gradient after all hooks, in order of registration; hooks of ``retain_grad`` come last.

    gradient: an array or a Deferred. Hooks get a Tensor of the array. A Deferred is returned unchanged if no
    hook has changed the array, so that hooks which only read the gradient change no bit of the result.
    """
    if isinstance(gradient, Deferred):
        original = gradient.array()
    else:
        original = gradient
    array = original
    retaining: list[Retain] = []
    seen: list[Tensor] = []  # the Tensors that hooks got or returned; the last may be that of `array`
    recording = mode.enabled
    mode.enabled = False
    try:
        for hook in list(hooks.values()):
            if isinstance(hook, Retain):
                retaining.append(hook)
                continue
            if not seen or seen[-1]._array is not array:
                seen.append(tensor_of(array))
            changed = hook(seen[-1])
            if changed is None:
                kept(seen[-1])  # the hook may have given it attributes
                continue
            if not isinstance(changed, Tensor):
                changed = wrap(np.asarray(changed))
            array = in_dtype(checked(kept(changed), array), array.dtype)
            if changed._array is array:
                seen.append(changed)
    finally:
        mode.enabled = recording
    for retain in retaining:
        retain.keep(array)
    if not isinstance(gradient, Deferred) or array is not original or id(array) in carried.tensors:
        return array
    if _untouched(seen, gradient):
        return gradient
    return array


def _untouched(seen: list[Tensor], deferred: Deferred) -> bool:
    """True if these tensors, which hooks got, still have the values of the deferred gradient."""
    if any(tensor._cell.changes for tensor in seen):
        return False
    if not any(tensor._cell.unwatched for tensor in seen):
        return True
    # Under an observer the answer is False: the values of a compiled step differ in each replay, and the hook
    # may change those of another.
    return not observers and bool(seen[0]._array.tobytes() == deferred.array().tobytes())


def at_leaf(leaf: Tensor, holder: list[Any], accumulate: Callable[..., Any]) -> None:
    """Adds the gradient in ``holder``, a list of one array, to ``grad`` of a leaf, and calls the hooks of the
    leaf's node and those after accumulation."""
    if leaf._requires_grad:  # it may have been switched off since forward
        if id(leaf) in of_nodes:

            def add_to_grad(gradient: Array | Tensor) -> tuple[()]:
                accumulate(leaf, [gradient])
                return ()  # the node of a leaf passes no gradients on

            around(leaf, holder, add_to_grad)
        else:
            accumulate(leaf, holder)
    for hook in list(after_accumulation.get(id(leaf), {}).values()):
        hook(leaf)


def call_at_end() -> None:
    """Calls the functions in `at_end`, once."""
    calls = list(at_end)
    at_end.clear()
    for function in calls:
        function()


def checked(changed: ArrayOrTensor, gradient: Array | Tensor) -> ArrayOrTensor:
    """The gradient that a hook has returned, checked to have the shape of the one that it got."""
    if changed.shape != gradient.shape:
        raise RuntimeError(
            f"[register_hook] got a gradient of shape {changed.shape} from the hook; expected "
            f"{gradient.shape}"
        )
    return changed
