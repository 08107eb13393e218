"""The functions and classes of `torch.autograd.graph`, `torch.autograd.forward_ad` and
`torch.utils.hooks`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from ranvier import Tensor
from ranvier.autograd import bump
from ranvier.nn import Module
from ranvier.nn.hooks import Hooks, Passage
from ranvier.tape import hooks
from ranvier.tape.hooks import RemovableHandle
from ranvier.tape.nodes import GradientEdge, Node, get_gradient_edge
from ranvier.torch.devices.no_effect import NoEffect

__all__ = [
    "BackwardHook", "GradientEdge", "Node", "RemovableHandle", "UnpackedDualTensor",
    "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version", "register_multi_grad_hook",
    "save_on_cpu", "unpack_dual", "unserializable_hook", "warn_if_has_hooks",
]  # fmt: skip


# saved tensors are always on the CPU, and there are no hooks of saved tensors to disable
save_on_cpu = disable_saved_tensors_hooks = NoEffect


def increment_version(tensor: Any) -> None:
    """Count a change in place of a tensor, or of several."""
    tensors: Iterable[Tensor] = tensor
    if hasattr(tensor, "_cell"):  # a Tensor, or an object like one
        tensors = [tensor]
    for x in tensors:
        bump(x)


def register_multi_grad_hook(
    tensors: Iterable[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> _Handles:
    """Call ``fn`` with the list of the gradients of all tensors, once in each backward; returns a handle.

    It is called when the last gradient has arrived. If some tensors get none, it is called at the end of
    backward with None for them. With ``mode="any"`` it gets the first gradient only.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"[register_multi_grad_hook] got mode {mode!r}; expected 'all' or 'any'")
    tensors = list(tensors)
    arrived: dict[int, Any] = {}
    wanted = sum(x.requires_grad for x in tensors)

    def end() -> None:
        if mode == "all" and arrived and len(arrived) < wanted:
            fn([arrived.get(i) for i in range(len(tensors))])
        arrived.clear()

    def hook(i: int, gradient: Tensor) -> None:
        if not arrived:  # the first gradient of this backward, at whose end `end` is called
            hooks.at_end.append(end)
        arrived[i] = gradient
        if mode == "any" and len(arrived) == 1:
            fn(gradient)
        elif mode == "all" and len(arrived) == wanted:
            fn([arrived.get(i) for i in range(len(tensors))])

    handles = _Handles()
    for i, x in enumerate(tensors):
        if x.requires_grad:
            handles.enter_context(x.register_hook(partial(hook, i)))
    return handles


class _Handles(ExitStack):
    """Several handles as one."""

    remove = ExitStack.close


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """(tensor, None): no tensor has a tangent."""
    return UnpackedDualTensor(tensor, None)


class UnpackedDualTensor(NamedTuple):
    primal: Tensor
    tangent: Tensor | None


# --- utils.hooks
class BackwardHook:
    """Apply backward hooks to one call of a module, for modules that call their hooks themselves.

    ``setup_input_hook(args)`` and ``setup_output_hook(result)`` return what they get, on the tape.
    """

    def __init__(
        self,
        module: Module,
        user_hooks: Iterable[Callable[..., Any]],
        user_pre_hooks: Iterable[Callable[..., Any]],
    ) -> None:
        hooks = Hooks()
        hooks.backward = dict(enumerate(user_hooks))
        hooks.before_backward = dict(enumerate(user_pre_hooks))
        self._passage = Passage(hooks, module)

    def setup_input_hook(self, args: Any) -> Any:
        return self._passage.enter(args)

    def setup_output_hook(self, args: Any) -> Any:
        return self._passage.leave(args)


def unserializable_hook(f: Any) -> Any:
    """Mark a hook that is not to be saved with its tensor. Hooks are never saved here."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor: Tensor) -> None:
    """Warn that hooks of a tensor are not saved with it."""
    for hook in (getattr(tensor, "_backward_hooks", None) or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(f"backward hook {hook!r} on tensor will not be serialized", stacklevel=2)
