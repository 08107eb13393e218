"""Hooks on modules: functions that are called before and after forward, or with gradients in backward.

`HookRegistration` is the base of Module that registers them, and `Hooks` are those of one module. A module
with hooks is called by `Hooks.call` in place of ``forward``.

Hooks on gradients need a place in the graph of the backward pass. So the inputs and outputs of a call pass
through Functions (`Watch`), which do not change them, and whose backward calls the hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ranvier.grad_mode import no_grad
from ranvier.nn.registry import BUFFERS, MODULES, PARAMETERS, ModuleLike
from ranvier.observe import Observer, refuse
from ranvier.tape.function import TakesHalves
from ranvier.tape.higher_order import of_program, rule
from ranvier.tape.hooks import RemovableHandle, kept, replaced, tensor_of
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import view_of_several

if TYPE_CHECKING:
    from ranvier.tensors.types import Array

Hook = Callable[..., Any]
Gradients = tuple[Tensor | None, ...]


class Hooks:
    """The hooks of one module: for each event a dictionary {number: hook}, in the order of the calls.

    The numbers are those of the `RemovableHandle` of each hook.
    """

    def __init__(self) -> None:
        self.before: dict[int, Hook] = {}  # before forward
        self.after: dict[int, Hook] = {}  # after forward
        self.backward: dict[int, Hook] = {}  # when backward has left the module
        self.before_backward: dict[int, Hook] = {}  # when backward enters the module
        # Sets of numbers, as dictionaries, from which a handle removes its number (`add_hook`).
        self.keywords: dict[int, bool] = {}  # hooks of forward that also take the keyword arguments
        self.always: dict[int, bool] = {}  # hooks after forward that are called after an exception, too

    def is_empty(self) -> bool:
        return not (self.before or self.after or self.backward or self.before_backward)

    def merged_after(self, others: Hooks) -> Hooks:
        """The hooks of both, those of the others first."""
        both = Hooks()
        for hooks in (others, self):
            both.before.update(hooks.before)
            both.after.update(hooks.after)
            both.backward.update(hooks.backward)
            both.before_backward.update(hooks.before_backward)
            both.keywords.update(hooks.keywords)
            both.always.update(hooks.always)
        return both

    def call(self, module: ModuleLike, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls module.forward and these hooks, together with the hooks of all modules. For
        ``Module.__call__``, where `_rv_hooks` is not None."""
        if _of_all.is_empty():
            if self is _of_all:  # The last hook of all modules has been removed.
                HookRegistration._rv_hooks = None
            return self._around_forward(module, args, kwargs)
        refuse("hooks of all modules", "remove them before the step is captured")
        if self is _of_all:
            hooks = self
        else:
            hooks = self.merged_after(_of_all)
        return hooks._around_forward(module, args, kwargs)

    def _around_forward(self, module: ModuleLike, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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
                if key not in self.always or key in called:
                    continue
                if key in self.keywords:
                    hook(module, args, kwargs, y)
                else:
                    hook(module, args, y)
            raise
        if passage is None:
            return y
        return passage.leave(y)


# The hooks that are called for every module: `register_module_forward_hook` and so on add to them.
_of_all = Hooks()


class Outputs(Observer):
    """A block in which ``note(name, module, args, output)`` is called after each call of some modules.

    modules: pairs (name, module). What note returns, if not None, replaces the output.
    """

    def __init__(self, modules: Iterable[tuple[str, ModuleLike]], note: Hook) -> None:
        self.names = {id(module): name for name, module in modules}
        self.note = note

    def call(self, run: Callable[..., Any], module: ModuleLike, *args: Any, **kwargs: Any) -> Any:
        """Called in place of each call of a module (see `Observer`); ``run`` calls the module."""
        output = run(*args, **kwargs)
        name = self.names.get(id(module))
        if name is None:
            return output
        changed = self.note(name, module, args, output)
        if changed is None:
            return output
        return changed


class Passage:
    """One call of a module with backward hooks. Its inputs pass through one Function and its outputs through
    another, whose backward passes are `leave_backward` and `enter_backward`.

    Only the inputs and outputs that require gradients pass through: `input_places` and `output_places` are
    their places among all inputs and all outputs.
    """

    def __init__(self, hooks: Hooks, module: ModuleLike) -> None:
        self.hooks = hooks
        self.module = module
        self.input_count = 0
        self.input_places: tuple[int, ...] = ()
        self.output_count = 0
        self.output_places: tuple[int, ...] = ()
        # the gradients of the outputs, from the time when backward enters the module until it leaves it
        self.at_output: Gradients | None = None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs of the module, after the first Function."""
        self.input_count = len(args)
        self.input_places = _places_with_gradient(args)
        return _through(Watch(self.leave_backward), args, self.input_places)

    def leave(self, y: Any) -> Any:
        """The output of the module, after the second Function."""
        outputs = y if isinstance(y, tuple) else (y,)
        self.output_count = len(outputs)
        self.output_places = _places_with_gradient(outputs)
        passed = _through(Watch(self.enter_backward), outputs, self.output_places)
        if isinstance(y, tuple):
            return passed
        return passed[0]

    def enter_backward(self, passed: Gradients) -> Gradients:
        """Called in backward with the gradients of the outputs; returns what the hooks make of them."""
        gradients = _placed(passed, self.output_places, self.output_count)
        for hook in list(self.hooks.before_backward.values()):
            gradients = replaced(hook(self.module, gradients), gradients)
        self.at_output = gradients
        if not self.input_places:  # No input requires a gradient, so backward ends inside the module.
            for hook in list(self.hooks.backward.values()):
                hook(self.module, (None,) * self.input_count, gradients)
        return tuple(gradients[place] for place in self.output_places)

    def leave_backward(self, passed: Gradients) -> Gradients:
        """Called in backward with the gradients of the inputs; returns what the hooks make of them."""
        if self.at_output is None:  # A second derivative: it enters at values that the module has saved.
            return passed
        at_input = _placed(passed, self.input_places, self.input_count)
        for hook in list(self.hooks.backward.values()):
            at_input = replaced(hook(self.module, at_input, self.at_output), at_input)
        self.at_output = None
        return tuple(at_input[place] for place in self.input_places)


def _places_with_gradient(values: tuple[Any, ...]) -> tuple[int, ...]:
    """The places of the Tensors that require gradients."""
    return tuple(i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad)


def _placed(passed: Gradients, places: tuple[int, ...], count: int) -> Gradients:
    """The gradients at their places, None at all others."""
    gradients: list[Tensor | None] = [None] * count
    for place, gradient in zip(places, passed, strict=True):
        gradients[place] = gradient
    return tuple(gradients)


def _through(watch: Watch, values: tuple[Any, ...], places: tuple[int, ...]) -> tuple[Any, ...]:
    """All values, of which those at these places have passed through the Function."""
    if not places:
        return values
    passed = watch.apply(*(values[i] for i in places))
    if not isinstance(passed, tuple):
        passed = (passed,)
    results = list(values)
    for place, tensor in zip(places, passed, strict=True):
        # The result shares the memory of the value. A change in place would not reach the graph of the other.
        view_of_several(values[place], tensor, _NO_CHANGE_IN_PLACE)
        results[place] = tensor
    return tuple(results)


_NO_CHANGE_IN_PLACE = (
    "an input or output of a module with backward hooks, which is a view of what the module got or gave; "
    "expected no change in place: clone() it"
)


class Watch(TakesHalves):
    """The Function y = x for each input, in the same memory; dx = replace(dy), for all inputs together."""

    def __init__(self, replace: Callable[[Gradients], Gradients]) -> None:
        self.replace = replace

    def forward(self, *arrays: Array) -> Array | tuple[Array, ...]:
        if len(arrays) > 1:
            return arrays
        return arrays[0]

    def backward(self, *gradients: Array | None) -> tuple[Any, ...]:
        tensors: list[Tensor | None] = []
        for gradient in gradients:
            tensors.append(None if gradient is None else tensor_of(gradient))
        with no_grad():
            replacements = self.replace(tuple(tensors))
        results: list[Any] = []
        for replacement in replacements:
            if isinstance(replacement, Tensor):
                results.append(kept(replacement))  # an array that stays valid after the hook
            else:
                results.append(replacement)
        return tuple(results)

    def release(self) -> None:
        """The tape calls it after backward, to drop saved arrays. It does nothing: there are none, and
        backward may run again."""


# The backward of `Watch` for gradients that are Tensors, where they are differentiated again.
@rule(Watch)
@of_program
def _on_tensors(node: Watch, *gradients: Tensor | None) -> Gradients:
    return node.replace(gradients)


def _hooks_property(event: str) -> Any:
    """The property of a module that is one dictionary of its `Hooks`, which programs may change, replace or
    clear. event: the name of the attribute of `Hooks`."""

    def get(module: HookRegistration) -> dict[int, Any]:
        return getattr(module._rv_own_hooks(), event)

    def set(module: HookRegistration, new: dict[int, Any]) -> None:
        setattr(module._rv_own_hooks(), event, new)

    return property(get, set)


class HookRegistration:
    """The base of Module that registers hooks.

    ``_rv_hooks`` is None until the module gets its first hook, so that a call without hooks costs one look.
    While there are hooks of all modules, the attribute of this class is `_of_all`.
    """

    _rv_hooks: Hooks | None = None
    # PyTorch's names of the dictionaries.
    _forward_pre_hooks = _hooks_property("before")
    _forward_hooks = _hooks_property("after")
    _backward_hooks = _hooks_property("backward")
    _backward_pre_hooks = _hooks_property("before_backward")
    _forward_hooks_with_kwargs = _hooks_property("keywords")
    _forward_pre_hooks_with_kwargs = _hooks_property("keywords")
    _forward_hooks_always_called = _hooks_property("always")

    @property
    def _is_full_backward_hook(self) -> bool | None:
        own = self.__dict__.get("_rv_hooks")
        if own is not None and own.backward:
            return True
        return None

    def _get_backward_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """The hooks of backward, and PyTorch's older, not full ones, of which there are none."""
        hooks = list(_of_all.backward.values())
        own = self.__dict__.get("_rv_hooks")
        if own is not None:
            hooks += own.backward.values()
        return hooks, []

    def _get_backward_pre_hooks(self) -> list[Hook]:
        hooks = list(_of_all.before_backward.values())
        own = self.__dict__.get("_rv_hooks")
        if own is not None:
            hooks += own.before_backward.values()
        return hooks

    def _rv_own_hooks(self) -> Hooks:
        """The hooks of this module, without those of all modules; made at the first call."""
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
        marks = [hooks.keywords] if with_kwargs else []
        return add_hook(hooks.before, hook, prepend, marks)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after each forward, until ``remove()`` of the returned handle.

        What the hook returns, if not None, replaces the output. with_kwargs: calls ``hook(module, args,
        kwargs, output)``. prepend: the hook comes before the hooks registered so far. always_call: the hook
        is called also if forward or an earlier hook raises. output is then the output so far, or None.
        """
        hooks = self._rv_own_hooks()
        return add_hook(hooks.after, hook, prepend, _marks(hooks, with_kwargs, always_call))

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are complete.

        Both are tuples, with None where there is no gradient. A tuple that the hook returns replaces
        grad_input. Where no input requires a gradient the hook is called when grad_output is complete.
        """
        return add_hook(self._rv_own_hooks().backward, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` before backward enters the module. A tuple that the hook
        returns replaces grad_output."""
        return add_hook(self._rv_own_hooks().before_backward, hook, prepend)


def _marks(hooks: Hooks, with_kwargs: bool, always_call: bool) -> list[dict[int, bool]]:
    """The sets of numbers that a hook after forward belongs to."""
    marks = []
    if with_kwargs:
        marks.append(hooks.keywords)
    if always_call:
        marks.append(hooks.always)
    return marks


# --- hooks of all modules: PyTorch's names
def _add_to_all_modules(event: str, hook: Hook, marks: Sequence[dict[int, bool]] = ()) -> RemovableHandle:
    """Adds a hook of all modules. event: the attribute of `Hooks`. marks: as of `add_hook`.

    From now on each module without hooks of its own calls `_of_all`, until the last hook is removed.
    """
    HookRegistration._rv_hooks = _of_all
    hooks: dict[int, Any] = getattr(_of_all, event)
    return add_hook(hooks, hook, prepend=False, marks=marks)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, args)`` before each forward of any module; see
    :meth:`Module.register_forward_pre_hook`."""
    return _add_to_all_modules("before", hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after each forward of any module; see
    :meth:`Module.register_forward_hook`."""
    return _add_to_all_modules("after", hook, _marks(_of_all, with_kwargs, always_call))


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` in the backward of any module."""
    return _add_to_all_modules("backward", hook)


register_module_backward_hook = register_module_full_backward_hook


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` before backward enters any module."""
    return _add_to_all_modules("before_backward", hook)


# --- hooks that are called where any module registers a value:
# {name of the registry: {number: hook(module, name, value)}}
_registrations: dict[str, dict[int, Hook]] = {PARAMETERS: {}, BUFFERS: {}, MODULES: {}}


def apply_registration_hooks(registry: str, module: ModuleLike, name: str, value: Any) -> Any:
    """Calls the hooks for a value that a module is about to register; returns the value, or what the last
    hook with a result has returned in its place. registry: PARAMETERS, BUFFERS or MODULES."""
    for hook in list(_registrations[registry].values()):
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


def tables_of_all() -> list[dict[int, Any]]:
    """All dictionaries of hooks of all modules, which the guards of captured steps compare."""
    return [*vars(_of_all).values(), *_registrations.values()]


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, name, parameter)`` where a module gets a parameter."""
    return add_hook(_registrations[PARAMETERS], hook, prepend=False)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` where a module gets a buffer."""
    return add_hook(_registrations[BUFFERS], hook, prepend=False)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, name, submodule)`` where a module gets a module."""
    return add_hook(_registrations[MODULES], hook, prepend=False)


def add_hook(
    hooks: dict[int, Any], hook: Hook, prepend: bool, marks: Sequence[dict[int, bool]] = ()
) -> RemovableHandle:
    """Puts a hook into a dictionary of hooks: last, or with prepend first. marks: sets of numbers that the
    hook's number belongs to, until it is removed."""
    handle = RemovableHandle(hooks, hook, extra_dict=list(marks))
    for mark in marks:
        mark[handle.id] = True
    if prepend:
        others = [key for key in hooks if key != handle.id]
        for key in others:  # A dict lists its keys in the order in which they were added.
            hooks[key] = hooks.pop(key)
    return handle
