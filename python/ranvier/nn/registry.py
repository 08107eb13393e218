"""`_parameters`, `_buffers` and `_modules` of a Module, which PyTorch's programs read and change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_MISSING = object()


def attribute(module: Any, name: str) -> Any:
    """``module.__getattr__(name)``: PyTorch's programs look up layers with it."""
    if name not in module.__dict__:
        raise AttributeError(f"{type(module).__name__!r} object has no attribute {name!r}")
    return module.__dict__[name]


class Registry(dict[str, Any]):
    """The values of one kind by name. What is set or deleted here changes the module."""

    __slots__ = ("_module", "_register")

    def __init__(self, module: Any, names: Iterable[str], register: Callable[..., None]) -> None:
        super().__init__({name: module.__dict__[name] for name in names})
        self._module, self._register = module, register

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self:
            setattr(self._module, name, value)
        else:
            self._register(name, value)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        delattr(self._module, name)

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        if name not in self and default is not _MISSING:
            return default
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *given: Any, **named: Any) -> None:
        for name, value in dict(*given, **named).items():
            self[name] = value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    __copy__ = copy
