"""Module: a layer or network with its parameters, buffers and children, as PyTorch's.

Parameters, buffers and children are ordinary attributes, which makes ``self.weight`` fast. Three registries
keep their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from ranvier.autograd.data import as_dtype, refuse_torch
from ranvier.autograd.memory import in_float
from ranvier.autograd.recording import current, recordings
from ranvier.autograd.tensor import Tensor, borrowed
from ranvier.extension import belongs_to
from ranvier.nn.hooks import HookRegistration
from ranvier.nn.parameter import Parameter
from ranvier.nn.registry import (
    LoadResult,
    Registry,
    arguments_of,
    attribute,
    check,
    load_into,
    record_arguments,
    set_submodule,
    settings_text,
    submodule,
    value_at,
)

__all__ = ["Module", "Parameter"]

Self = TypeVar("Self", bound="Module")
ndarray = np.ndarray


class Module(HookRegistration):
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
    _parameter_names: dict[str, None]
    _buffer_names: dict[str, bool]  # name -> whether it is part of the state dict
    _module_names: dict[str, None]
    _shown: tuple[str, ...] = ()  # see `settings_text`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if belongs_to(cls.__module__, "ranvier.nn"):
            record_arguments(cls)
        codes = [getattr(value, "__code__", None) for value in vars(cls).values()]
        if not hasattr(cls, "__getattr__") and any(code and "__getattr__" in code.co_names for code in codes):
            # only where it is called: each lookup is slower with it
            cls.__getattr__ = attribute  # type: ignore[attr-defined]

    def __init__(self) -> None:
        for name in ("_parameter_names", "_buffer_names", "_module_names"):
            self.__dict__.setdefault(name, {})
        self.training = True

    # --- calling
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] forward is not defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recordings and (recording := current()) is not None:
            recording.modules[id(self)] = self
        for arg in args:
            if isinstance(arg, ndarray):
                args = self._cast(args)
                break
        if kwargs and any(isinstance(arg, ndarray) for arg in kwargs.values()):
            kwargs = dict(zip(kwargs, self._cast((*kwargs.values(), *args)), strict=False))
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            return self._hooks.call(self, args, kwargs)
        except Exception as error:
            self._locate(error)
            raise

    def _cast(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Floating arrays as Tensors in the dtype of the first parameter, or else Tensor argument."""
        floating = [t for t in (*self.parameters(), *args) if isinstance(t, Tensor) and t.dtype.kind == "f"]
        wanted = floating[0].dtype if floating else None
        return tuple(borrowed(in_float(arg, wanted)) if isinstance(arg, ndarray) else arg for arg in args)

    def _locate(self, error: Exception) -> None:
        """Adds the path of the layer that raised an error to its message."""
        trail = error.__dict__
        raised_in, path = trail.get("_layer"), trail.get("_path", "")
        if raised_in is not None and raised_in is not self:
            name = next((name for name, child in self.named_modules() if child is raised_in), "")
            path = ".".join(part for part in (name, path) if part)
            if path and len(error.args) == 1 and isinstance(error.args[0], str):
                trail.setdefault("_message", error.args[0])
                error.args = (f'{trail["_message"]} (in layer "{path}")',)
        trail["_layer"], trail["_path"] = self, path

    def _example(self) -> tuple[Any, ...] | None:
        """Empty inputs, on which a layer of this package is tried when made; the op refuses settings."""
        return None

    # --- registration
    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        if isinstance(value, (Parameter, Module)):
            if "_module_names" not in attributes:
                kind = "parameters" if isinstance(value, Parameter) else "module"
                raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
            own, other = ("_parameter_names", "_module_names")
            if isinstance(value, Module):
                own, other = other, own
            attributes[own].setdefault(name)
            attributes[other].pop(name, None)
            attributes["_buffer_names"].pop(name, None)
        elif value is not None and name in attributes.get("_parameter_names", ()):
            refuse_torch(type(self).__name__, f"parameter {name!r}", value)
            raise TypeError(
                f"cannot assign {type(value).__name__} as parameter {name!r}; expected a Parameter or None"
            )
        elif value is not None and name in attributes.get("_module_names", ()):
            refuse_torch(type(self).__name__, f"module {name!r}", value)
            raise TypeError(
                f"cannot assign {type(value).__name__} as module {name!r}; expected a Module or None"
            )
        elif name in attributes.get("_buffer_names", ()) and not (value is None or isinstance(value, Tensor)):
            refuse_torch(type(self).__name__, f"buffer {name!r}", value)
            raise TypeError(
                f"cannot assign {type(value).__name__} as buffer {name!r}; expected a Tensor or None"
            )
        object.__setattr__(self, name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # defined here, so that no ``__getattr__`` of a subclass is asked for it

    def __delattr__(self, name: str) -> None:
        for names in ("_parameter_names", "_buffer_names", "_module_names"):
            self.__dict__[names].pop(name, None)
        object.__delattr__(self, name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under a name; None keeps the name without a parameter."""
        check(self, "parameter", name, self._parameter_names, param, Parameter)
        self._parameter_names[name] = None
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a Tensor that is part of the state but not trained, such as a running mean."""
        check(self, "buffer", name, self._buffer_names, tensor, Tensor)
        self._buffer_names[name] = persistent
        object.__setattr__(self, name, tensor)  # a Parameter, too: Module's would train it

    def register_module(self, name: str, module: Module | None) -> None:
        check(self, "module", name, self._module_names, module, Module)
        setattr(self, name, module)

    add_module = register_module

    @property
    def _parameters(self) -> dict[str, Parameter | None]:
        return Registry(self, self._parameter_names, self.register_parameter)

    @property
    def _buffers(self) -> dict[str, Tensor | None]:
        return Registry(self, self._buffer_names, self.register_buffer)

    @property
    def _modules(self) -> dict[str, Module]:
        present = [name for name in self._module_names if self.__dict__[name] is not None]
        return Registry(self, present, self.register_module)

    # --- walking
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside, each module once."""
        names: dict[Module, str] = {}
        for name, module in self._modules.items():
            names.setdefault(module, name)
        return ((name, module) for module, name in names.items())

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (path '') and everything inside it.

        remove_duplicate: a module that is at several places is listed once, at the first.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            path = f"{prefix}.{name}" if prefix else name
            yield from child.named_modules(memo, path, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and everything inside it, each once, in the order of :meth:`named_modules`."""
        if not remove_duplicate:
            return (module for _, module in self.named_modules(remove_duplicate=False))
        return iter(self._tree())

    def _tree(self) -> list[Module]:
        modules: dict[Module, None] = {}
        stack: list[Any] = [self]
        while stack:
            module = stack.pop()
            if module is not None and module not in modules:
                modules[module] = None
                attributes = module.__dict__
                stack += [attributes[name] for name in reversed(module._module_names)]
        return list(modules)

    def _named(self, kind: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        places = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else [(prefix, self)]
        for path, module in places:
            for name, value in getattr(module, kind).items():
                if value is not None and not (once and id(value) in seen):
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of every parameter, a shared one once unless remove_duplicate is False."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter, a shared one once, in the order of :meth:`named_parameters`."""
        parameters: dict[Any, None] = {}
        for module in self._tree() if recurse else [self]:
            attributes = module.__dict__
            for name in module._parameter_names:
                parameters[attributes[name]] = None
        parameters.pop(None, None)  # of a layer without bias
        return iter(parameters)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``features.3``."""
        return submodule(self, target)

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a path such as ``features.3``; strict: in the place of one that is there."""
        set_submodule(self, target, module, strict, Module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``features.3.weight``."""
        return value_at(self, "_parameter_names", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as ``features.1.running_mean``."""
        return value_at(self, "_buffer_names", target)

    # --- modes and conversions
    def train(self: Self, mode: bool = True) -> Self:
        """Training mode, for this module and all inside: dropout and batch statistics are on."""
        if not isinstance(mode, (bool, int)) or mode not in (0, 1):
            raise ValueError(f"[train] got mode {mode!r}; expected True or False")
        for module in self.modules():
            if module.__dict__.get("training") is not bool(mode):
                module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
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

    def to(self: Self, *args: Any, memory_format: Any = None, **kwargs: Any) -> Self:
        """Casts floating parameters and buffers, as :meth:`Tensor.to`; channels_last: if of 4 dimensions."""
        for tensor in (*self.parameters(), *self.buffers()):
            laid_out = memory_format != "channels_last" or tensor.ndim == 4
            cast = tensor.detach().to(*args, memory_format=memory_format if laid_out else None, **kwargs)
            if tensor.dtype.kind == "f" and cast.dtype.kind == "f":
                if tensor.dtype != cast.dtype == np.float16:
                    raise TypeError("[to] got float16; expected float32 or float64, in which layers compute")
                tensor._array = cast._array
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.to(cast.dtype)
        return self

    def float(self: Self) -> Self:
        return self.to(np.float32)

    def double(self: Self) -> Self:
        return self.to(np.float64)

    def half(self: Self) -> Self:
        return self.to(np.float16)  # which raises

    def type(self: Self, dst_type: Any) -> Self:
        return self.to(as_dtype("type", dst_type))

    def cpu(self: Self) -> Self:
        return self

    def cuda(self: Self, device: Any = None) -> Self:
        """Raises RuntimeError: this library computes on the CPU."""
        raise RuntimeError("[cuda] expected .cpu(), or cuda.is_available() before: only the CPU computes")

    # --- state
    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Every parameter and persistent buffer by path, in its own memory; a shared one at each of its
        paths.

        destination: a dict to add to. keep_vars: the parameters themselves rather than detached Tensors.
        """
        state: dict[str, Tensor] = {} if destination is None else destination
        for path, module in self.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False):
            kept = [name for name, persistent in module._buffer_names.items() if persistent]
            for name in (*module._parameter_names, *kept):
                value = module.__dict__[name]
                if value is not None:
                    state[f"{path}.{name}" if path else name] = value if keep_vars else value.detach()
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> LoadResult:
        """Copies values by path into the memory of the parameters and buffers.

        state_dict: a mapping to Tensors, NumPy arrays or torch tensors, cast to the dtype here.
        strict: raise RuntimeError for missing or unexpected names; a wrong shape always raises.
        assign: False; True, PyTorch's change of the memory itself, raises ValueError.
        No value is changed where it raises; lazy layers have their sizes then. Returns ``(missing_keys,
        unexpected_keys)``.
        """
        if assign:
            raise ValueError("[load_state_dict] got assign=True; expected False: values are copied")
        for path, module in self.named_modules():  # lazy layers take the size of their weight
            name = f"{path}.weight" if path else "weight"
            if hasattr(module, "_materialise_from") and name in state_dict:
                module._materialise_from(state_dict[name])
        return load_into(type(self).__name__, self.state_dict(), state_dict, strict)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments for JSON: an equal layer can be made from them.

        Raises TypeError for a class from outside this package, or an argument that JSON cannot hold.
        """
        return arguments_of(self)

    # --- text
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """The text between the parentheses: the settings that the class lists in ``_shown``."""
        return settings_text(self, self._shown)

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = [*extra.split("\n"), *children] if extra else children
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"
