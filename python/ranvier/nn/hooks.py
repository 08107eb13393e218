"""Hooks on modules: functions that are called before and after forward, or with gradients in backward.

For hooks on gradients, the inputs and outputs of a call pass through Functions (`Watch`), which do not change
them; the backward of such a Function calls the hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ranvier.grad_mode import no_grad
from ranvier.nn.registry import BUFFERS, MODULES, PARAMETERS
from ranvier.observe import Observer, refuse
from ranvier.tape.function import TakesHalves
from ranvier.tape.higher_order import of_program, rule
from ranvier.tape.hooks import RemovableHandle, kept, replaced, tensor_of
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import view_of_several

Hook = Callable[..., Any]
Gradients = tuple[Tensor | None, ...]


class Hooks:
    """The hooks of one module, by kind, in the order of their calls."""

    def __init__(self) -> None:
        self.before: dict[int, Hook] = {}
        self.after: dict[int, Hook] = {}
        self.backward: dict[int, Hook] = {}
        self.before_backward: dict[int, Hook] = {}
        self.keywords: dict[int, bool] = {}  # the numbers of hooks of forward that take keywords
        self.always: dict[int, bool] = {}  # the hooks after forward that are called after an exception, too

    def is_empty(self) -> bool:
        return not (self.before or self.after or self.backward or self.before_backward)

    def with_those(self, others: Hooks) -> Hooks:
        """The hooks of both, those of the others first."""
        both = Hooks()
        for name, own in vars(self).items():
            getattr(both, name).update(getattr(others, name))
            getattr(both, name).update(own)
        return both

    def call(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """module.forward between the hooks, and those of all modules around them."""
        if _of_all.is_empty():
            if self is _of_all:  # The last hook of all modules has been removed.
                HookRegistration._rv_hooks = None
            return self._around_forward(module, args, kwargs)
        refuse("hooks of all modules", "remove them before the step is captured")
        hooks = self if self is _of_all else self.with_those(_of_all)
        return hooks._around_forward(module, args, kwargs)

    def _around_forward(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for key, hook in list(self.before.items()):
            if key in self.keywords:
                changed = hook(module, args, kwargs)
            else:
                changed = hook(module, args)
            if changed is not None and key in self.keywords:
                args, kwargs = changed
            elif changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        if self.backward or self.before_backward:
            passage = Passage(self, module)
        else:
            passage = None
        if passage is not None:
            args = passage.enter(args)
        y = None
        called = set()
        try:
            y = module.forward(*args, **kwargs)
            for key, hook in list(self.after.items()):
                called.add(key)
                if key in self.keywords:
                    changed = hook(module, args, kwargs, y)
                else:
                    changed = hook(module, args, y)
                if changed is not None:
                    y = changed
        except Exception:
            for key, hook in list(self.after.items()):
                if key in self.always and key not in called:
                    hook(module, args, kwargs, y) if key in self.keywords else hook(module, args, y)
            raise
        if passage is None:
            return y
        return passage.leave(y)


_of_all = Hooks()  # the hooks of all modules


class Outputs(Observer):
    """A block in which ``note(name, module, args, output)`` is called after each call of the given modules.
    What note returns, if not None, replaces the output. modules: pairs (name, module)."""

    def __init__(self, modules: Iterable[tuple[str, Any]], note: Hook) -> None:
        self.names = {id(module): name for name, module in modules}
        self.note = note

    def call(self, run: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        output = run(*args, **kwargs)
        if (name := self.names.get(id(module))) is None:
            return output
        changed = self.note(name, module, args, output)
        if changed is None:
            return output
        return changed


class Passage:
    """One call of a module with backward hooks. Its inputs pass through one Function and its outputs through
    another, whose backward passes are `leave_backward` and `enter_backward`."""

    def __init__(self, hooks: Hooks, module: Any) -> None:
        self.hooks = hooks
        self.module = module
        self.input_places: tuple[int, ...]
        self.output_places: tuple[int, ...]
        self.at_output: Gradients | None = None  # the gradients of the outputs, while backward is inside
        # the number of inputs, and which require a gradient
        self.inputs = 0
        self.input_places = ()
        self.outputs = 0
        self.output_places = ()

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = len(args)
        self.input_places = _wanting(args)
        return _through(Watch(self.leave_backward), args, self.input_places)

    def leave(self, y: Any) -> Any:
        outputs = y if isinstance(y, tuple) else (y,)
        self.outputs, self.output_places = len(outputs), _wanting(outputs)
        passed = _through(Watch(self.enter_backward), outputs, self.output_places)
        if isinstance(y, tuple):
            return passed
        return passed[0]

    def enter_backward(self, passed: Gradients) -> Gradients:
        gradients = _placed(passed, self.output_places, self.outputs)
        for hook in list(self.hooks.before_backward.values()):
            gradients = replaced(hook(self.module, gradients), gradients)
        self.at_output = gradients
        if not self.input_places:  # No input requires a gradient, so backward ends inside the module.
            for hook in list(self.hooks.backward.values()):
                hook(self.module, (None,) * self.inputs, gradients)
        return tuple(gradients[place] for place in self.output_places)

    def leave_backward(self, passed: Gradients) -> Gradients:
        if self.at_output is None:  # A second derivative: it enters at values that the module has saved.
            return passed
        at_input = _placed(passed, self.input_places, self.inputs)
        for hook in list(self.hooks.backward.values()):
            at_input = replaced(hook(self.module, at_input, self.at_output), at_input)
        self.at_output = None
        return tuple(at_input[place] for place in self.input_places)


def _wanting(values: tuple[Any, ...]) -> tuple[int, ...]:
    """The places of the Tensors that require gradients."""
    return tuple(i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad)


def _placed(passed: Gradients, places: tuple[int, ...], count: int) -> Gradients:
    """The gradients at their places, None at all others."""
    whole: list[Tensor | None] = [None] * count
    for place, gradient in zip(places, passed, strict=True):
        whole[place] = gradient
    return tuple(whole)


def _through(watch: Watch, values: tuple[Any, ...], places: tuple[int, ...]) -> tuple[Any, ...]:
    """The values. Only the values at these places pass through the Function."""
    if not places:
        return values
    passed = watch.apply(*(values[i] for i in places))
    if not isinstance(passed, tuple):
        passed = (passed,)
    whole = list(values)
    for place, tensor in zip(places, passed, strict=True):
        view_of_several(values[place], tensor, _WATCHED)
        whole[place] = tensor
    return tuple(whole)


_WATCHED = (
    "an input or output of a module with backward hooks, which is a view of what the module got or gave; "
    "expected no change in place: clone() it"
)


class Watch(TakesHalves):
    """y = x for each input, in the same memory. dx = see(dy), for all inputs together."""

    def __init__(self, see: Callable[[Gradients], Gradients]) -> None:
        self.see = see

    def forward(self, *arrays: Any) -> Any:
        if len(arrays) > 1:
            return arrays
        return arrays[0]

    def backward(self, *gradients: Any) -> Any:
        with no_grad():
            passed = self.see(tuple(None if g is None else tensor_of(g) for g in gradients))
        return tuple(kept(g) if isinstance(g, Tensor) else g for g in passed)

    def release(self) -> None:
        """Does nothing: the function holds no arrays, and backward may run again."""


@rule(Watch)
@of_program
def _on_tensors(node: Watch, *gradients: Any) -> Any:
    return node.see(gradients)


def _of(kind: str) -> Any:
    """A property: the dict {number: hook} of one kind, which programs may change, replace or clear."""
    return property(
        lambda module: getattr(module._rv_own_hooks(), kind),
        lambda module, new: setattr(module._rv_own_hooks(), kind, new),
    )


class HookRegistration:
    """The part of Module that registers hooks; ``_rv_hooks`` is created with the first one."""

    _rv_hooks: Hooks | None = None
    _forward_pre_hooks = _of("before")
    _forward_hooks = _of("after")
    _backward_hooks = _of("backward")
    _backward_pre_hooks = _of("before_backward")
    _forward_hooks_with_kwargs = _forward_pre_hooks_with_kwargs = _of("keywords")
    _forward_hooks_always_called = _of("always")

    @property
    def _is_full_backward_hook(self) -> bool | None:
        own = self.__dict__.get("_rv_hooks")
        if own is not None and own.backward:
            return True
        return None

    def _get_backward_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """The hooks of backward, and those of PyTorch's older kind, of which there are none."""
        own = self.__dict__.get("_rv_hooks")
        table = {} if own is None else own.backward
        return [*_of_all.backward.values(), *table.values()], []

    def _get_backward_pre_hooks(self) -> list[Hook]:
        own = self.__dict__.get("_rv_hooks")
        table = {} if own is None else own.before_backward
        return [*_of_all.before_backward.values(), *table.values()]

    def _rv_own_hooks(self) -> Hooks:
        own: Hooks | None = self.__dict__.get("_rv_hooks")
        if own is None:
            own = self._rv_hooks = Hooks()
        return own

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before each forward; what it returns, if not None, replaces args.

        with_kwargs: calls ``hook(module, args, kwargs)``, which may return (args, kwargs).
        """
        hooks = self._rv_own_hooks()
        handle = added(hooks.before, hook, prepend)
        if with_kwargs:
            hooks.keywords[handle.id] = True
        return handle

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after each forward, until ``remove()`` of the returned handle.

        What the hook returns, if not None, replaces the output. with_kwargs: calls ``hook(module, args,
        kwargs, output)``. prepend: the hook comes before the hooks registered so far. always_call: the hook
        is called also if forward or an earlier hook raises. output is then the output so far, or None.
        """
        hooks = self._rv_own_hooks()
        handle = added(hooks.after, hook, prepend)
        if with_kwargs:
            hooks.keywords[handle.id] = True
        if always_call:
            hooks.always[handle.id] = True
        return handle

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are complete.

        Both are tuples, with None where there is no gradient. A tuple that the hook returns replaces
        grad_input. Where no input requires a gradient the hook is called when grad_output is complete.
        """
        return added(self._rv_own_hooks().backward, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` before backward enters the module. A tuple that the hook
        returns replaces grad_output."""
        return added(self._rv_own_hooks().before_backward, hook, prepend)


# --- hooks of all modules: PyTorch's names
def _table_of_all(kind: str) -> dict[int, Any]:
    """The hooks of all modules of one kind, to which one will be added. From then on each call of a module
    without hooks of its own asks them, until the last one is removed."""
    HookRegistration._rv_hooks = _of_all
    table: dict[int, Any] = getattr(_of_all, kind)
    return table


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, args)`` before each forward of any module; see
    :meth:`Module.register_forward_pre_hook`."""
    return added(_table_of_all("before"), hook, False)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after each forward of any module; see
    :meth:`Module.register_forward_hook`."""
    handle = added(_table_of_all("after"), hook, False)
    if with_kwargs:
        _of_all.keywords[handle.id] = True
    if always_call:
        _of_all.always[handle.id] = True
    return handle


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` in the backward of any module."""
    return added(_table_of_all("backward"), hook, False)


register_module_backward_hook = register_module_full_backward_hook


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` before backward enters any module."""
    return added(_table_of_all("before_backward"), hook, False)


# --- hooks of registrations, of all modules: kind of the registry -> {number: hook(module, name, value)}
_registrations: dict[str, dict[int, Hook]] = {PARAMETERS: {}, BUFFERS: {}, MODULES: {}}


def registered(kind: str, module: Any, name: str, value: Any) -> Any:
    """The value that a module gets under a name, after the hooks: what one returns, if not None, replaces
    it."""
    for hook in list(_registrations[kind].values()):
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


def tables_of_all() -> list[dict[int, Any]]:
    """The dictionaries of hooks of all modules, which guards of captured steps compare."""
    return [*vars(_of_all).values(), *_registrations.values()]


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, name, parameter)`` where a module gets a parameter."""
    return added(_registrations[PARAMETERS], hook, False)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` where a module gets a buffer."""
    return added(_registrations[BUFFERS], hook, False)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, name, submodule)`` where a module gets a module."""
    return added(_registrations[MODULES], hook, False)


def added(hooks: dict[int, Any], hook: Any, prepend: bool) -> RemovableHandle:
    """Puts a hook into a dictionary of hooks: last, or with prepend first."""
    handle = RemovableHandle(hooks, hook)
    if prepend:
        for key in [key for key in hooks if key != handle.id]:
            hooks[key] = hooks.pop(key)
    return handle
