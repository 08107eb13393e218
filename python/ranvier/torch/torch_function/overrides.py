"""torch.overrides: functions of the protocol `__torch_function__` (`dispatch.py`), and modes.

A mode (TorchFunctionMode) is a block in which one object is asked about all calls of torch's functions.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import ranvier._core as _core
import ranvier.torch.torch_function.dispatch as dispatch
from ranvier import Tensor, is_tensor
from ranvier.torch.devices.no_effect import NoEffect
from ranvier.torch.torch_function.activation import activate

__all__ = [
    "BaseTorchFunctionMode", "TorchFunctionMode", "enable_reentrant_dispatch",
    "get_default_nowrap_functions", "get_ignored_functions", "get_overridable_functions",
    "handle_torch_function", "has_torch_function", "is_tensor_like", "is_tensor_method_or_property",
    "resolve_name", "wrap_torch_function",
]  # fmt: skip

get_default_nowrap_functions = dispatch.nowrap


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """True if a mode, or one of the arguments, may take over a call."""
    return _core._modes_are_asked() or any(_core._has_hook(x) for x in relevant_args)


def has_torch_function_variadic(*args: Any) -> bool:
    return has_torch_function(args)


has_torch_function_unary = has_torch_function_variadic


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """Asks a mode and the classes of the arguments for the result of a call.

    Raises TypeError without an answer.
    """
    relevant_args = tuple(relevant_args)
    found = _core._overriding(relevant_args, 0)
    kinds = [type(x) for x in found]
    kinds += [Tensor] * any(type(x) is Tensor for x in relevant_args)
    return dispatch.ask(public_api, tuple(kinds), found, args, kwargs)


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[..., Any]:
    """A decorator that makes a function ask the classes of the arguments that dispatcher(*args) returns."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def asking(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(asking, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return asking

    return decorate


def is_tensor_like(value: Any) -> bool:
    """True for a Tensor or an object with a `__torch_function__`."""
    return is_tensor(value) or hasattr(value, "__torch_function__")


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """True if a function that `__torch_function__` gets is a method or attribute of Tensor."""
    kinds = (_core.PublicMethod, _core.PublicAttribute)
    return isinstance(func, kinds) or type(getattr(func, "__self__", None)) in kinds


def resolve_name(func: Any) -> str | None:
    """The path of a function: `torch.add`, `torch.Tensor.shape.__get__`."""
    owner: Any = getattr(func, "__self__", None)
    if type(owner) is _core.PublicAttribute:
        return f"{resolve_name(owner)}.{func.__name__}"
    if isinstance(func, str) or getattr(func, "__module__", None) is None:
        return None
    return f"{func.__module__}.{func.__qualname__}"


@functools.cache
def _functions(modes_only: bool) -> dict[Any, list[Any]]:
    """The functions that ask modes only, or else the functions and methods that also ask classes.

    They are listed by the module or class that has them.
    """
    activate()
    found: dict[Any, list[Any]] = {}
    for path in ("", "functional", "nn.functional", "linalg", "special", "nn.init"):
        module = importlib.import_module(f"torch.{path}".rstrip("."))
        for name in dir(module):
            value = None if name[0] == "_" else getattr(module, name, None)
            if type(value) is _core.PublicFunction and value.modes_only is modes_only:
                found.setdefault(module, []).append(value)
    if not modes_only:
        found[Tensor] = [x for x in vars(Tensor).values() if type(x) is _core.PublicMethod]
        attributes: Any = [x for x in vars(Tensor).values() if type(x) is _core.PublicAttribute]
        found[Tensor] += [x.__get__ for x in attributes]
    return found


def get_overridable_functions() -> dict[Any, list[Any]]:
    """The functions and methods that ask their arguments, by the module or class that has them."""
    return _functions(False)


def get_ignored_functions() -> set[Any]:
    """The functions that ask modes alone."""
    return {value for values in _functions(True).values() for value in values}


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

    def __enter__(self) -> Any:
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


# The first has no effect, because functions always ask. In blocks of the second no class is asked, in blocks
# of the third neither classes nor modes.
enable_reentrant_dispatch = NoEffect
DisableTorchFunctionSubclass = functools.partial(dispatch.switched_off, 1)
DisableTorchFunction = functools.partial(dispatch.switched_off, 2)


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
