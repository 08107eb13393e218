"""The names of `torch.utils.hooks`."""

from __future__ import annotations

import warnings
from typing import Any

from ranvier.autograd.hooks import RemovableHandle
from ranvier.nn.hooks import Hooks, Passage

__all__ = ["BackwardHook", "RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


class BackwardHook:
    """The backward hooks of one call of a module, for modules that call them on their own.

    ``setup_input_hook(args)`` and ``setup_output_hook(result)`` return what they get, on the tape.
    """

    def __init__(self, module: Any, user_hooks: Any, user_pre_hooks: Any) -> None:
        hooks = Hooks()
        hooks.backward, hooks.before_backward = dict(enumerate(user_hooks)), dict(enumerate(user_pre_hooks))
        self._passage = Passage(hooks, module)

    def setup_input_hook(self, args: Any) -> Any:
        return self._passage.enter(args)

    def setup_output_hook(self, args: Any) -> Any:
        return self._passage.leave(args)


def unserializable_hook(f: Any) -> Any:
    """Marks a hook that is not to be saved with its tensor; none is."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """Warns that hooks of a tensor are not saved with it."""
    for hook in (getattr(tensor, "_backward_hooks", None) or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(f"backward hook {hook!r} on tensor will not be serialized", stacklevel=2)
