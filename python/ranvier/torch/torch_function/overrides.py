"""torch.overrides: functions of the protocol `__torch_function__` (`dispatch.py`), and modes.

A mode (TorchFunctionMode) is a block in which one object is asked about all calls of torch's functions.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import ranvier._core as _core
import ranvier.torch.torch_function.dispatch as dispatch
from ranvier import Tensor, is_tensor
from ranvier.torch.devices.no_effect import NoEffect
from ranvier.torch.torch_function.activation import activate

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "BaseTorchFunctionMode", "TorchFunctionMode", "enable_reentrant_dispatch",
    "get_default_nowrap_functions", "get_ignored_functions", "get_overridable_functions",
    "handle_torch_function", "has_torch_function", "is_tensor_like", "is_tensor_method_or_property",
    "resolve_name", "wrap_torch_function",
]  # fmt: skip

get_default_nowrap_functions = dispatch.nowrap


def has_torch_function(relevant_args: Iterable[object]) -> bool:
    """True if a mode, or one of the arguments, may take over a call."""
    return _core._modes_are_asked() or any(_core._has_hook(x) for x in relevant_args)


def has_torch_function_variadic(*args: object) -> bool:
    return has_torch_function(args)


has_torch_function_unary = has_torch_function_variadic


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """Ask a mode and the classes of the arguments for the result of a call.

    Raises TypeError without an answer.
    """
    relevant_args = tuple(relevant_args)
    overriding = _core._overriding(relevant_args, 0)  # the arguments whose classes are asked
    classes = [type(x) for x in overriding]
    if any(type(x) is Tensor for x in relevant_args):
        classes.append(Tensor)
    return dispatch.ask(public_api, tuple(classes), overriding, args, kwargs)


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[..., Any]:
    """A decorator that makes a function ask the classes of the arguments that dispatcher(*args) returns."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def ask_first(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(ask_first, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return ask_first

    return decorate


def is_tensor_like(value: object) -> bool:
    """True for a Tensor or an object with a `__torch_function__`."""
    return is_tensor(value) or hasattr(value, "__torch_function__")


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """True if a function that `__torch_function__` gets is a method or attribute of Tensor."""
    classes = (_core.PublicMethod, _core.PublicAttribute)  # of Tensor's methods and attributes that ask
    return isinstance(func, classes) or type(getattr(func, "__self__", None)) in classes


def resolve_name(func: Any) -> str | None:
    """The path of a function: `torch.add`, `torch.Tensor.shape.__get__`."""
    owner: Any = getattr(func, "__self__", None)
    if type(owner) is _core.PublicAttribute:
        return f"{resolve_name(owner)}.{func.__name__}"
    if isinstance(func, str) or getattr(func, "__module__", None) is None:
        return None
    return f"{func.__module__}.{func.__qualname__}"


@functools.cache
def _list_functions(modes_only: bool) -> dict[ModuleType, list[Any]]:
    """The functions that ask, by the module that has them: those that ask modes only, or all others."""
    activate()
    functions: dict[ModuleType, list[Any]] = {}
    for path in (
        "torch",
        "torch.functional",
        "torch.nn.functional",
        "torch.linalg",
        "torch.special",
        "torch.nn.init",
    ):
        module = importlib.import_module(path)
        for name in dir(module):
            if name.startswith("_"):
                continue
            value = getattr(module, name, None)
            if type(value) is _core.PublicFunction and value.modes_only is modes_only:
                functions.setdefault(module, []).append(value)
    return functions


@functools.cache
def get_overridable_functions() -> dict[Any, list[Any]]:
    """The functions and methods that ask their arguments, by the module or class that has them."""
    functions: dict[Any, list[Any]] = {**_list_functions(modes_only=False)}
    values: list[Any] = list(vars(Tensor).values())
    methods = [value for value in values if type(value) is _core.PublicMethod]
    attributes: list[Any] = [value for value in values if type(value) is _core.PublicAttribute]
    functions[Tensor] = methods + [attribute.__get__ for attribute in attributes]
    return functions


def get_ignored_functions() -> set[Any]:
    """The functions that ask modes alone."""
    ignored: set[Any] = set()
    for functions in _list_functions(modes_only=True).values():
        ignored.update(functions)
    return ignored


class TorchFunctionMode:
    """A block in which its `__torch_function__` is asked about all calls of torch's functions."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Self:
        activate()
        dispatch.push(self)
        return self

    def __exit__(self, *error: object) -> None:
        dispatch.pop()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that calls the functions."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return func(*args, **(kwargs or {}))


enable_reentrant_dispatch = NoEffect  # functions always ask
# Blocks in which no class is asked, and in which neither classes nor modes are.
DisableTorchFunctionSubclass = functools.partial(dispatch.switched_off, 1)
DisableTorchFunction = functools.partial(dispatch.switched_off, 2)


# Those below are names of torch._C and torch.overrides: `installation/paths.json` has their paths.
def is_enabled() -> bool:
    """`torch._C._is_torch_function_enabled`"""
    return _core._dispatch_state(None, None, None)[0] == 0


def len_modes() -> int:
    return len(dispatch.state.modes)


def _get_current_function_mode() -> Any:
    modes = dispatch.state.modes
    if modes:
        return modes[-1]
    return None


def _get_current_function_mode_stack() -> list[Any]:
    return list(dispatch.state.modes)
