"""Module: a layer or network with its parameters, buffers and children, as in PyTorch.

Parameters, buffers and children are ordinary attributes, which is fast. Three registries have them by name
(nn/registry.py). Names that begin with ``_rv_`` are those of this library that PyTorch's Module lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.extension import belongs_to, provider
from ranvier.grad_mode import mode
from ranvier.nn.arguments import check_arguments, evaluate_annotations, settings_text
from ranvier.nn.call_counts import REPLAY, count_or_replay
from ranvier.nn.conversion import Conversions
from ranvier.nn.hooks import HookRegistration, apply_registration_hooks
from ranvier.nn.parameter import Buffer, Parameter
from ranvier.nn.registry import (
    AS_PARAMETER,
    BUFFERS,
    MODULES,
    PARAMETERS,
    REGISTRIES,
    TRANSIENT,
    CallSignature,
    Registry,
    Transient,
    check_registration,
    clear_value,
    distinct_values,
    enable_getattr,
    named_values,
    register_value,
    registry_property,
    set_submodule,
    submodule,
    value_at,
)
from ranvier.nn.state_dicts import StateDicts
from ranvier.observe import is_replaced, observed, observers
from ranvier.tensors.tensor import Tensor

__all__ = ["Buffer", "Module", "Parameter"]

Self = TypeVar("Self", bound="Module")
# Common types of values that are never in a registry. `__setattr__` looks at the types of the new and the
# present value first, which is fast, because most assignments concern no registry.
_PLAIN = frozenset({bool, int, float, str, tuple, list, dict})
# A new value of these types adds no name to a registry: None and a Tensor only replace what has the name.
_ADDS_NO_NAME = _PLAIN | {type(None), Tensor}
ndarray = np.ndarray


# The bases have the hooks and `_rv_hooks`, saving and loading, and casts with `_rv_cast`.
class Module(HookRegistration, StateDicts, Conversions):
    """Base class of layers and networks: subclass it, assign layers in ``__init__``, define ``forward``.

    >>> import ranvier as rv, ranvier.nn as nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(rv.tensor([2.0]))
    ...     def forward(self, x):
    ...         return self.factor.clone()
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training: bool = True
    call_super_init: bool = False  # PyTorch's setting of a class: read by programs, without effect
    dump_patches: bool = False  # likewise
    _non_persistent_buffers_set: set[str]  # the names of buffers that are no part of the state dict
    # The settings that repr shows: "name", "*name" without the name, "name?" unless it is the default.
    _shown: tuple[str, ...] = ()
    # {argument of the constructor: attribute that has its value}, where the names differ: files of models
    # store the arguments. None: the layer cannot be made from a file.
    _paths: ClassVar[dict[str, str] | None] = {}
    __signature__ = CallSignature()
    # True if nn/call_counts.py counts the calls, to replay them: for a program's classes that define forward.
    _rv_may_repeat: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if belongs_to(cls.__module__, "ranvier.nn"):
            check_arguments(cls)
            evaluate_annotations(cls)
        elif "forward" in vars(cls):
            cls._rv_may_repeat = not belongs_to(cls.__module__, "ranvier.")
        if "_call_impl" in vars(cls) and "__call__" not in vars(cls):
            cls.__call__ = _call_by_impl  # type: ignore[method-assign]
        # ``super().__getattr__(name)`` needs a base that has it. Others do without: it makes lookups slow.
        for value in vars(cls).values():
            code = getattr(value, "__code__", None)
            if code is not None and "__getattr__" in code.co_names:
                enable_getattr(cls)
                break

    def __init__(self) -> None:
        attributes = self.__dict__
        if MODULES not in attributes:  # A second call, by another base, keeps what there is.
            for registry in REGISTRIES:
                attributes[registry] = Registry(self, registry)
            attributes[TRANSIENT] = Transient()
        self.training = True

    # --- calling
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] forward is not defined")

    # The last line of this file puts a method of the core here, which calls this one for arrays and hooks.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for arg in args:
            if isinstance(arg, ndarray):
                args = self._rv_cast(args)
                break
        if kwargs and any(isinstance(arg, ndarray) for arg in kwargs.values()):
            # args are cast, too, because a Tensor among them may give the dtype; zip leaves them out again.
            cast = self._rv_cast((*kwargs.values(), *args))
            kwargs = dict(zip(kwargs, cast, strict=False))
        try:
            if self._rv_hooks is not None:
                return self._rv_hooks.call(self, args, kwargs)
            if self._rv_may_repeat and not (kwargs or mode.enabled):
                return count_or_replay(self, *args)  # This counts the call, or replays a recording of it.
            return self.forward(*args, **kwargs)
        except Exception as error:
            self._rv_locate(error)
            raise

    # PyTorch's names of the steps of a call, which programs override or call.
    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return Module.__call__(self, *args, **kwargs)

    def _wrapped_call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self._call_impl(*args, **kwargs)

    def _slow_forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def _rv_some_parameters(self) -> Iterator[Any]:
        """The parameters one by one, for `_rv_float_dtype` of nn/conversion.py: the first one of floats is
        found without a look at all modules. A parameter may come twice, or be None."""
        cls = type(self)
        methods = (cls.parameters, cls.named_parameters, cls.named_modules)
        if methods != (Module.parameters, Module.named_parameters, Module.named_modules):
            yield from self.parameters()
            return
        stack: list[Any] = [self]
        while stack:
            attributes = stack.pop().__dict__
            yield from [attributes[name] for name in attributes[PARAMETERS]]
            children = [attributes[name] for name in attributes[MODULES]]
            stack += [child for child in reversed(children) if child is not None]

    def _rv_locate(self, error: Exception) -> None:
        """Adds the path of the layer that raised an error to its message.

        Each module through which the error passes calls this, from the inside out, so the path grows at its
        front. The error remembers the last of these modules, the path so far and its first message. The core
        calls this, too. tensors/failures.py reads `_message`, train/hints.py `_layer`.
        """
        trail = error.__dict__
        raised_in = trail.get("_layer")
        path = trail.get("_path", "")
        if raised_in is not None and raised_in is not self:
            name = ""
            for child_name, child in self.named_modules():
                if child is raised_in:
                    name = child_name
                    break
            if name and path:
                path = f"{name}.{path}"
            else:
                path = name or path
            if path and len(error.args) == 1 and isinstance(error.args[0], str):
                trail.setdefault("_message", error.args[0])
                error.args = (f'{trail["_message"]} (in layer "{path}")',)
        trail["_layer"] = self
        trail["_path"] = path

    def _example(self) -> tuple[Any, ...] | None:
        """Inputs without elements. A new layer of this package is called with them once, so that its op
        refuses wrong settings at once (`check_arguments` in nn/arguments.py). None: no such call."""
        return None

    # --- registration
    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        if type(value) not in _ADDS_NO_NAME:
            if isinstance(value, (Module, Parameter)):
                if MODULES not in attributes:
                    noun = "module" if isinstance(value, Module) else "parameters"
                    raise AttributeError(f"cannot assign {noun} before Module.__init__() call")
                if isinstance(value, Module):
                    value = apply_registration_hooks(MODULES, self, name, value)
                    return register_value(self, MODULES, name, value)
                if type(self).register_parameter is _register_parameter:
                    value = apply_registration_hooks(PARAMETERS, self, name, value)
                    return register_value(self, PARAMETERS, name, value)
                if name in attributes and name not in attributes[PARAMETERS]:
                    Module.__delattr__(self, name)  # register_parameter takes only names that are free.
                return self.register_parameter(name, value)
            if isinstance(value, Buffer):
                attributes.pop(name, None)
                return self.register_buffer(name, value, value.persistent)
        # An attribute that is new counts as an int (the default 0), because its name is in no registry.
        if type(attributes.get(name, 0)) not in _PLAIN and BUFFERS in attributes:
            buffers = attributes[BUFFERS]
            is_tensor = isinstance(value, Tensor) or hasattr(value, AS_PARAMETER)
            if name in buffers and (value is None or is_tensor):
                dict.__setitem__(buffers, name, value)
                attributes[name] = value  # also for the name of a property, as in `register_value`
                return
            if name in attributes[PARAMETERS] or name in attributes[MODULES] or name in buffers:
                clear_value(self, name, value)
                attributes[name] = value
                return
        object.__setattr__(self, name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_forward_hooks" in state:
            state = provider("files of PyTorch").state_from_torch(self, state)
        attributes = self.__dict__
        attributes.update(state)  # Without this method, pickle would ask ``__getattr__`` for it.
        for registry in REGISTRIES:
            names = Registry(self, registry, attributes.get(registry, ()))
            attributes[registry] = names
            if any(isinstance(getattr(type(self), name, None), property) for name in names):
                enable_getattr(type(self))  # `register_value` does the same where it adds a name.
        attributes[TRANSIENT] = Transient(attributes.get(TRANSIENT, ()))

    def __delattr__(self, name: str) -> None:
        attributes = self.__dict__
        for names in (PARAMETERS, BUFFERS, MODULES):
            if name in attributes[names]:
                dict.pop(attributes[names], name)
                del attributes[name]
                attributes[TRANSIENT].discard(name)
                return
        object.__delattr__(self, name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under a name; None keeps the name without a parameter."""
        check_registration(self, "parameter", name, self.__dict__[PARAMETERS], param, Parameter)
        if param is not None:
            param = apply_registration_hooks(PARAMETERS, self, name, param)
        register_value(self, PARAMETERS, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a Tensor that is part of the state but not trained, such as a running mean."""
        check_registration(self, "buffer", name, self.__dict__[BUFFERS], tensor, Tensor)
        register_value(self, BUFFERS, name, apply_registration_hooks(BUFFERS, self, name, tensor))
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child under a name; None keeps the name without a module."""
        check_registration(self, "module", name, self.__dict__[MODULES], module, Module)
        register_value(self, MODULES, name, apply_registration_hooks(MODULES, self, name, module))

    def register_module(self, name: str, module: Module | None) -> None:
        self.add_module(name, module)

    _parameters: dict[str, Parameter | None] = registry_property(PARAMETERS)
    _buffers: dict[str, Tensor | None] = registry_property(BUFFERS)
    _modules: dict[str, Any] = registry_property(MODULES)

    # --- walking
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside, each module once."""
        names: dict[Module, str] = {}
        for name, module in named_values(MODULES, self):
            if module is not None:
                names.setdefault(module, name)
        return ((name, module) for module, name in names.items())

    def children(self) -> Iterator[Module]:
        if type(self).named_children is not Module.named_children:
            return (module for _, module in self.named_children())
        return distinct_values([self], MODULES)

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (path '') and everything inside it.

        remove_duplicate: a module that is at several places is listed once, at the first.
        """
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        attributes = self.__dict__
        dot = f"{prefix}." if prefix else ""
        for name in list(attributes[MODULES]):
            child = attributes[name]
            if child is None:
                continue
            if child.__dict__[MODULES] or type(child).named_modules is not Module.named_modules:
                yield from child.named_modules(memo, dot + name, remove_duplicate)
            elif child not in memo:
                if remove_duplicate:
                    memo.add(child)
                yield dot + name, child

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and everything inside it, each once, in the order of :meth:`named_modules`."""
        if remove_duplicate and type(self).named_modules is Module.named_modules:
            return iter(list(self._rv_tree()))
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def _rv_tree(self) -> Iterator[Module]:
        """As `modules`, and quicker, but only for classes that do not override :meth:`named_modules`."""
        seen: set[Any] = {None}
        stack: list[Any] = [self]
        while stack:
            module = stack.pop()
            if module not in seen:
                seen.add(module)
                yield module
                attributes = module.__dict__
                stack += [attributes[name] for name in reversed(attributes[MODULES])]

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """(path, value) for all (name, value) pairs that get_members_fn gives for each module."""
        seen: set[int] = set()
        modules: Iterable[tuple[str, Module]] = [(prefix, self)]
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in modules:
            dot = f"{path}." if path else ""
            for name, value in get_members_fn(module):
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield dot + name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of every parameter, a shared one once unless remove_duplicate is False."""
        return self._named_members(partial(named_values, PARAMETERS), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter, a shared one once, in the order of :meth:`named_parameters`."""
        cls = type(self)
        if cls.named_parameters is Module.named_parameters and cls.named_modules is Module.named_modules:
            modules = self._rv_tree() if recurse else [self]
            return distinct_values(modules, PARAMETERS)
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of every buffer, a shared one once unless remove_duplicate is False."""
        return self._named_members(partial(named_values, BUFFERS), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer, a shared one once, in the order of :meth:`named_buffers`."""
        cls = type(self)
        if cls.named_buffers is Module.named_buffers and cls.named_modules is Module.named_modules:
            modules = self._rv_tree() if recurse else [self]
            return distinct_values(modules, BUFFERS)
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``features.3``."""
        return submodule(self, target)

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a path such as ``features.3``. strict: the path must already have a module."""
        set_submodule(self, target, module, strict, Module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``features.3.weight``."""
        return value_at(self, PARAMETERS, target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as ``features.1.running_mean``."""
        return value_at(self, BUFFERS, target)

    # --- modes and conversions
    def train(self: Self, mode: bool = True) -> Self:
        """Training mode, for this module and all inside: dropout and batch statistics are on."""
        if not isinstance(mode, (bool, int)) or mode not in (0, 1):
            raise ValueError(f"[train] got mode {mode!r}; expected True or False")
        stack: list[Any] = [self]
        while stack:
            module = stack.pop()
            attributes = module.__dict__
            if attributes.get("training") is not bool(mode):
                module.training = bool(mode)
            for name in reversed(attributes[MODULES]):
                child = attributes[name]
                if child is None:
                    continue
                if type(child).train is Module.train:
                    stack.append(child)
                else:  # The class of a program overrides `train`.
                    child.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode: dropout is off, and batch norms use their running statistics."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        # An export of a training step records this call and does not execute it (export/capture.py).
        if observers and is_replaced("zero_grad", self):
            return
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Calls fn on every module inside, then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # --- text
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """The text between the parentheses of repr: the settings that the class lists in ``_shown``."""
        return settings_text(self, type(self)._shown)

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        if not children:
            return f"{self._get_name()}({extra})"
        lines = [*extra.split("\n"), *children] if extra else children
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


# `__init_subclass__` does the same for the subclasses alone. The last class of the list is `object`.
for _base in Module.__mro__[:-1]:
    evaluate_annotations(_base)


def _call_by_impl(self: Module, *args: Any, **kwargs: Any) -> Any:
    """``__call__`` of a class that overrides ``_call_impl``."""
    return self._call_impl(*args, **kwargs)


# `__setattr__` compares with it, to find out whether a program has replaced `register_parameter`.
_register_parameter = Module.register_parameter
# From here on `Module.__call__` is a method of the core (cpp/bindings/replay/module_call.cpp). It calls
# `count_or_replay` without gradients if the class has `_rv_may_repeat`; REPLAY names the attribute of a
# recorded call; the last function, the method above, gets the calls with hooks or arrays, and all while an
# observer follows.
_core._set_module_class(Module, count_or_replay, REPLAY, observed("call", Module.__call__))
