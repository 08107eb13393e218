"""Hooks of optimizers, as in PyTorch: functions that are called before and after steps, saving and loading.

`HookedOptimizer` is the base of Optimizer (optim/optimizer.py). A hook is called at an event: "before step",
"after step", "before saving", "after saving", "before loading" or "after loading".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from ranvier.nn.hooks import add_hook
from ranvier.tape.hooks import RemovableHandle

Hook = Callable[..., Any]
# {event: the hooks that every optimizer calls}
_OF_ALL: dict[str, dict[int, Hook]] = {"before step": {}, "after step": {}}
_ALL: WeakSet[HookedOptimizer] = WeakSet()  # all optimizers


class HookedOptimizer:
    """The methods of Optimizer for hooks. The hooks of an event are in a dictionary, made with the first of
    them.

    An optimizer with a hook of steps has an attribute ``step`` (a `_Step`), which hides the method. So a step
    without hooks costs nothing more.
    """

    _hooks: dict[str, dict[int, Hook]]
    _step: _Step  # the last one that was set as `step`
    step: Any

    def _join(self) -> None:
        """Makes the hooks of all optimizers act on this optimizer, too. Called by the constructor and by
        `__setstate__` of Optimizer."""
        _ALL.add(self)
        if any(_OF_ALL.values()):
            self._between_hooks()

    def _between_hooks(self) -> None:
        """Puts `_Step` in place of ``step``, once: a program may have wrapped it since by a function of its
        own, through which it is called."""
        attributes = vars(self)
        if "step" in attributes and "_step" in attributes:
            return
        step = _Step(self, self.step)
        self._step = step
        self.step = step

    def _own_hooks(self, event: str) -> dict[int, Hook]:
        """The dictionary of the hooks of an event; it is made if there is none."""
        return vars(self).setdefault("_hooks", {}).setdefault(event, {})

    def _add(self, event: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        handle = add_hook(self._own_hooks(event), hook, prepend)
        if "step" in event:
            self._between_hooks()
        return handle

    def _hooks_of(self, event: str) -> list[Hook]:
        """The hooks of an event, in the order of their calls."""
        hooks = vars(self).get("_hooks", {})
        return list(hooks.get(event, {}).values())

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step; it may return other (args, kwargs)."""
        return self._add("before step", hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return self._add("after step", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before saving."""
        return self._add("before saving", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after saving; it may return another state dict."""
        return self._add("after saving", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before loading; it may return another state dict."""
        return self._add("before loading", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after loading."""
        return self._add("after loading", hook, prepend)

    def _changed(self, event: str, state: Mapping[str, Any]) -> Any:
        """The state dict that results when the hooks of an event have changed `state`."""
        for hook in self._hooks_of(event):
            changed = hook(self, state)
            if changed is not None:
                state = changed
        return state


class _Step:
    """Replaces ``optimizer.step``: calls the hooks before it, the step, and the hooks after it.

    The dictionaries of hooks are attributes, so that the guards of a compiled step, which follow the
    attributes of ``optimizer.step``, compare what is in them. An optimizer keeps its dictionaries.
    """

    def __init__(self, optimizer: HookedOptimizer, step: Callable[..., Any]) -> None:
        self.optimizer = optimizer
        # as of a bound method, which `optimizer.step` is without hooks
        self.__func__ = step
        self.before_all = _OF_ALL["before step"]
        self.before = optimizer._own_hooks("before step")
        self.after = optimizer._own_hooks("after step")
        self.after_all = _OF_ALL["after step"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = self.optimizer
        args = (optimizer, *args)  # PyTorch's hooks get all arguments of the function, with self.
        for hook in [*self.before_all.values(), *self.before.values()]:
            changed = hook(optimizer, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"[register_step_pre_hook] got {changed!r} from the hook; expected (args, kwargs)"
                    )
                args, kwargs = changed
        result = self.__func__(*args[1:], **kwargs)
        for hook in [*self.after.values(), *self.after_all.values()]:
            hook(optimizer, args, kwargs)
        return result


def of_all(event: str, hook: Hook) -> RemovableHandle:
    """Adds a hook for all optimizers, also later ones. event: "before step" or "after step"."""
    handle = add_hook(_OF_ALL[event], hook, prepend=False)
    for optimizer in list(_ALL):
        optimizer._between_hooks()
    return handle
