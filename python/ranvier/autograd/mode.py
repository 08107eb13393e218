"""Whether operations are recorded on the tape: a switch for each thread."""

from __future__ import annotations

import functools
from _thread import _local as local  # threading.local, without the millisecond that importing threading takes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(local):
    enabled = True  # the value of a thread that has not switched


mode = _Mode()

_new = object.__new__

# One entry for each thread that does not record now, or did not when it ended. While it is empty, the mode of
# this thread need not be looked up, which is a noticeable part of a small op.
switched_off: list[None] = []


def _switch(enabled: bool) -> None:
    if enabled and not mode.enabled:
        mode.enabled = True
        switched_off.pop()
    elif mode.enabled and not enabled:
        switched_off.append(None)  # first: an interrupt between the two lines leaves one entry too many
        mode.enabled = False


def is_grad_enabled() -> bool:
    """True where operations on tensors that require gradients are recorded. | rv.is_grad_enabled() -> True"""
    return mode.enabled


class set_grad_enabled:
    """Switches recording on or off in this thread: as a call, ``with`` block or decorator.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.set_grad_enabled(False):
    ...     y = x.clone()
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        self._wanted = bool(mode)
        self._before = is_grad_enabled()
        _switch(self._wanted)

    def __enter__(self) -> None:
        _switch(self._wanted)

    def __exit__(self, *error: object) -> None:
        _switch(self._before)

    def __call__(self, function: F) -> F:
        _switch(self._before)  # as a decorator it acts inside the function only
        return _decorate(function, self._wanted)


class _Block:
    """A ``with`` block or decorator, usable with and without parentheses, nested and re-entered."""

    wanted: bool

    _before: Any = None  # (the mode before the block was entered, the same of the entry before it)

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return _new(cls) if function is None else _decorate(function, cls.wanted)

    if TYPE_CHECKING:  # a call gives a block that is a typed decorator

        def __init__(self, function: Callable[..., Any] | None = None) -> None: ...

    def __enter__(self) -> None:
        before = mode.enabled
        self._before = before, self._before
        if before and not self.wanted:  # as _switch() does, without the call
            switched_off.append(None)
            mode.enabled = False
        elif self.wanted:
            _switch(True)

    def __exit__(self, *error: object) -> None:
        before, self._before = self._before
        if not before:
            _switch(False)
        elif not mode.enabled:
            mode.enabled = True
            switched_off.pop()

    def __call__(self, function: F) -> F:
        return _decorate(function, self.wanted)


class no_grad(_Block):
    """Nothing is recorded inside: a ``with`` block or a decorator, as in PyTorch.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.no_grad():
    ...     y = x.clone()
    >>> y.requires_grad
    False
    """

    wanted = False


class enable_grad(_Block):
    """Records again inside a :class:`no_grad` block.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.no_grad(), rv.enable_grad():
    ...     y = x.clone()
    >>> y.requires_grad
    True
    """

    wanted = True


class inference_mode(no_grad):
    """As :class:`no_grad`; ``inference_mode(False)`` as :class:`enable_grad`.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.inference_mode():
    ...     y = x.clone()
    >>> y.requires_grad
    False
    """

    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return super().__new__(cls) if mode else enable_grad()
        return super().__new__(cls, mode)


_GENERATOR, _ASYNCHRONOUS = 0x20, 0x80 | 0x200  # of inspect, which takes milliseconds to import


def _decorate(function: F, wanted: bool) -> F:
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & _ASYNCHRONOUS:
        raise TypeError(
            f"[no_grad] got the asynchronous function {function.__name__}, which runs in parts; "
            "expected an ordinary one: put a `with` block around its parts"
        )
    if flags & _GENERATOR:
        return _decorate_generator(function, wanted)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        before = mode.enabled
        _switch(wanted)
        try:
            return function(*args, **kwargs)
        finally:
            _switch(before)

    return wrapper  # type: ignore[return-value]


def _decorate_generator(function: F, wanted: bool) -> F:
    """Switches while a part of the generator runs, and back between the parts."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        resume, value = generator.send, None
        while True:
            before = mode.enabled
            _switch(wanted)
            try:
                yielded = resume(value)
            except StopIteration as stop:
                return stop.value
            finally:
                _switch(before)
            try:
                resume, value = generator.send, (yield yielded)
            except BaseException as error:  # GeneratorExit, too: the generator's own `finally` runs
                resume, value = generator.throw, error

    return wrapper  # type: ignore[return-value]
