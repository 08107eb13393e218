"""Hooks on tensors and nodes: functions that get a gradient in backward, and may replace it.

The hooks of a tensor that an op has made are in ``hooks`` of its node. The hooks of leaves, and those on
nodes themselves, are in the tables below. Backward calls them by `call`, `at_leaf` and `around`.
"""

from __future__ import annotations

import itertools
import weakref
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.grad_mode import mode, no_grad
from ranvier.observe import observers
from ranvier.tape.deferred import Deferred
from ranvier.tensors.memory import added, copied, in_dtype
from ranvier.tensors.tensor import Tensor, wrap

if TYPE_CHECKING:
    from ranvier.tensors.memory import Array

Hooks = dict[int, Callable[..., Any]]

# The hooks of leaves, by the leaf's id, while the leaf is alive. They are called before, or after, the
# gradient is added to ``grad``. They are rare, so they are not in the Tensor, where they would need a slot.
before_accumulation: dict[int, Hooks] = {}
after_accumulation: dict[int, Hooks] = {}
# (hooks called before a node runs, hooks called after it), by the id of the Function or of the leaf.
of_nodes: dict[int, tuple[Hooks, Hooks]] = {}
# All of them. Guards of compiled steps compare the entries of the leaves and nodes that a step uses.
TABLES: tuple[dict[int, Any], ...] = (before_accumulation, after_accumulation, of_nodes)
# Functions that hooks have asked to be called, once each, when the running backward ends.
at_end: list[Callable[[], None]] = []


_NONE = object()  # the default of an argument that may be None


class RemovableHandle:
    """A registered hook: ``remove()``, or the end of a ``with`` block, removes it.

    ``RemovableHandle(hooks)`` is a handle alone, as in PyTorch: the caller sets ``hooks[handle.id]``.
    extra_dict: other dictionaries, one or a list, from which the id is removed too.
    """

    _keys = itertools.count()

    def __init__(self, hooks_dict: dict[int, Any], hook: Any = _NONE, *, extra_dict: Any = None) -> None:
        extra = extra_dict if isinstance(extra_dict, list) else [extra_dict]
        self._hooks, self.id = [hooks_dict, *(d for d in extra if d is not None)], next(self._keys)
        if hook is not _NONE:
            hooks_dict[self.id] = hook

    def remove(self) -> None:
        for hooks in self._hooks:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class Retain:
    """The hook of ``retain_grad``: adds the gradient, after all other hooks, to ``grad``."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)

    def keep(self, gradient: np.ndarray[Any, Any]) -> None:
        tensor = self.tensor()
        if tensor is None:
            return
        held = tensor._grad  # It is not changed, since the caller may hold it: a new Tensor replaces it.
        tensor._grad = wrap(copied(gradient) if held is None else added(held._array, gradient))


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
        return RemovableHandle(_of_leaf(tensor, before_accumulation), hook)
    return RemovableHandle(_of_maker(tensor), hook)


def register_post_accumulate_grad_hook(tensor: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(tensor)`` each time backward has added to ``grad`` of this leaf; returns a handle."""
    if tensor._grad_fn is not None or not tensor._requires_grad:
        raise RuntimeError(
            "[register_post_accumulate_grad_hook] post accumulate grad hooks cannot be registered on "
            "non-leaf tensors, or on those that don't require gradient"
        )
    return RemovableHandle(_of_leaf(tensor, after_accumulation), hook)


def _of_leaf(leaf: Any, registry: dict[int, Any], mine: Any = None) -> Any:
    """The entry of a leaf or node in a table of hooks; `mine` is the new entry if there is none."""
    if mine is None:
        mine = {}
    hooks = registry.setdefault(id(leaf), mine)  # Another thread may have made an entry.
    if hooks is mine:
        weakref.finalize(leaf, registry.pop, id(leaf), None)
    return hooks


def hooks_of(leaf: Tensor) -> list[Hooks]:
    """The hooks that backward calls at a leaf: those before and after accumulation, and those of its node."""
    key = id(leaf)
    kinds = [before_accumulation.get(key), after_accumulation.get(key), *of_nodes.get(key, ())]
    return [hooks for hooks in kinds if hooks]


def of_node(node: Any, place: int) -> Hooks:
    """The hooks of a Function or leaf itself that are called before it (place 0), or after it (place 1)."""
    return _of_leaf(node, of_nodes, ({}, {}))[place]


def around(node: Any, gradients: Any, run: Callable[..., Any]) -> Any:
    """Returns ``run(*gradients)`` for a node in `of_nodes`, with the node's hooks called before and after it.

    gradients: arrays, or Tensors with create_graph. The hooks get tuples of Tensors.
    """
    before, after = of_nodes[id(node)]
    on_arrays = not any(isinstance(g, Tensor) for g in gradients)
    given = tuple(g if g is None or isinstance(g, Tensor) else tensor_of(g) for g in gradients)
    with no_grad() if on_arrays else nullcontext():
        for hook in list(before.values()):
            given = replaced(hook(given), given)
        made = run(*(_array_of(g) for g in given) if on_arrays else given)
        if type(made) is not tuple:
            made = (made,)
        if after:
            arrays = (g.array() if isinstance(g, Deferred) else g for g in made)
            changed = tuple(g if g is None or isinstance(g, Tensor) else tensor_of(g) for g in arrays)
            for hook in list(after.values()):
                changed = replaced(hook(changed, given), changed)
            if on_arrays:
                made = tuple(_array_of(g) for g in changed)
            else:
                made = changed
    return made


def _array_of(tensor: Tensor | None) -> Any:
    if tensor is None:
        return None
    return kept(tensor)


def replaced(changed: Any, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
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
    array. Backward passes arrays, so that the Tensor would get lost otherwise."""

    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}


carried = _Carried()


def tensor_of(array: Array) -> Tensor:
    """A gradient as a Tensor: the same object that an earlier hook has given attributes, if there is one."""
    tensor = carried.tensors.get(id(array)) if carried.tensors else None
    if tensor is None:
        return wrap(array)
    return tensor


def kept(tensor: Tensor) -> Any:
    """The array of a gradient. If a hook has given the Tensor attributes, later hooks get this Tensor
    again."""
    if type(tensor) is not Tensor or tensor.__dict__:
        carried.tensors[id(tensor._array)] = tensor
    return tensor._array


def _of_maker(tensor: Tensor) -> Hooks:
    """The hooks of the Function (or of its one output) that made a tensor."""
    maker = tensor._grad_fn
    if maker.hooks is None:
        maker.hooks = {}
    return maker.hooks


def retain_grad(tensor: Tensor) -> None:
    """Makes backward keep the gradient in ``grad`` also for this tensor, which is not a leaf."""
    if not tensor._requires_grad:
        raise RuntimeError("[retain_grad] can't retain_grad on Tensor that has requires_grad=False")
    if tensor._grad_fn is not None and not retains_grad(tensor):
        RemovableHandle(_of_maker(tensor), Retain(tensor))


def retains_grad(tensor: Tensor) -> bool:
    """True if backward keeps the gradient of this tensor, which is not a leaf."""
    kept = getattr(tensor._grad_fn, "hooks", None) or {}
    return any(isinstance(hook, Retain) and hook.tensor() is tensor for hook in kept.values())


def call(hooks: Hooks, gradient: Any) -> Any:
    """The gradient after all hooks, in order of registration; hooks of ``retain_grad`` come last.

    gradient: an array or a Deferred. Hooks get a Tensor of the array. A Deferred is returned unchanged if no
    hook has changed the array, so that hooks which only read the gradient change no bit of the result.
    """
    deferred = gradient if isinstance(gradient, Deferred) else None
    first = array = gradient if deferred is None else deferred.array()
    retaining: list[Retain] = []
    seen: list[Tensor] = []
    recording = mode.enabled
    mode.enabled = False
    try:
        for hook in list(hooks.values()):
            if isinstance(hook, Retain):
                retaining.append(hook)
                continue
            seen.append(seen[-1] if seen and seen[-1]._array is array else tensor_of(array))
            changed = hook(seen[-1])
            if changed is None:
                kept(seen[-1])
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
    if deferred is None or array is not first or id(array) in carried.tensors:
        return array
    if _untouched(seen, deferred):
        return deferred
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
            around(leaf, holder, lambda g: accumulate(leaf, [g]) or ())
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


def checked(changed: Any, gradient: Any) -> Any:
    """The gradient that a hook has returned, checked to have the shape of the one that it got."""
    if changed.shape != gradient.shape:
        raise RuntimeError(
            f"[register_hook] got a gradient of shape {changed.shape} from the hook; expected "
            f"{gradient.shape}"
        )
    return changed
