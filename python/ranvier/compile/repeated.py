"""A Sequential of the library's layers that is called again and again without gradients is replayed.

Its calls are those of a compiled model (`compiled_model.py`), which it keeps in its ``__dict__``. No code of
the user's runs in such a call, so the guards are enough: what it reads, does and returns is known.
"""

from __future__ import annotations

from typing import Any

from ranvier.compile.compiled_model import ModelCall
from ranvier.nn import Module, Parameter

KEY = "_replay"
_MOST = 1 << 26  # bytes of parameters: a program has packed copies of them


class RepeatedCall(ModelCall):
    """The call of such a Sequential, until it serves no more: then the Sequential runs as it is written."""

    def __init__(self, function: Any) -> None:
        self._kind, self._model = type(function), lambda: None
        super().__init__(function)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if not self._lock.acquire(blocking=False):  # several threads predict side by side
            return self._eager(args, kwargs)
        try:
            return super()._call(*args, **kwargs)
        finally:
            self._lock.release()

    def _record(self, *args: Any, **kwargs: Any) -> Any:
        if not is_replayed(self._function):  # a hook was added, or a layer of the user's
            return self._end(*args[1:3])
        return super()._record(*args, **kwargs)

    def _warn(self, why: str) -> None:
        self._end()

    def _end(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        self._function.__dict__[KEY] = None
        return self._eager(args, kwargs or {}) if args else None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(None), ()  # copies of the Sequential begin without programs


def is_replayed(module: Any) -> bool:
    """Whether only code of the library runs in the module, and its result is never its argument's memory."""
    if not all(_is_plain(m) for m in Module.modules(module)):
        return False
    parameters = list(Module.parameters(module))
    size = sum(p.nbytes for p in parameters)
    return size <= _MOST and any(type(p) is Parameter and p.ndim > 1 for p in parameters)


def _is_plain(module: Any) -> bool:
    kind, own = type(module), module.__dict__
    return kind.__module__.startswith("ranvier.nn.") and module._hooks is None and "forward" not in own


def begin(module: Any) -> Any:
    """The call of a Sequential from now on; None: it stays as it is."""
    call = module.__dict__[KEY] = RepeatedCall(module) if is_replayed(module) else None
    return call
