"""The switch of each thread that decides whether operations are recorded on the tape: no_grad, enable_grad
..."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import ranvier._core as _core

F = TypeVar("F", bound=Callable[..., Any])

mode = _core._GradMode()  # mode.enabled: of this thread


def is_grad_enabled() -> bool:
    """True where operations on tensors that require gradients are recorded.

    >>> import ranvier as rv
    >>> rv.is_grad_enabled()
    True
    """
    return mode.enabled


def is_inference_mode_enabled() -> bool:
    """True inside of :class:`inference_mode`.

    >>> import ranvier as rv
    >>> rv.is_inference_mode_enabled()
    False
    """
    return mode.inference


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
        self._wanted, self._before = bool(mode), is_grad_enabled()
        self.__enter__()

    def __enter__(self) -> None:
        mode.enabled = self._wanted

    def __exit__(self, *error: object) -> None:
        mode.enabled = self._before

    def __call__(self, function: F) -> F:
        mode.enabled = self._before  # as a decorator it acts inside the function only
        return (enable_grad if self._wanted else no_grad)._decorated(function)


class _Block(_core._GradBlock):
    """A ``with`` block or decorator, usable with and without parentheses, nested and re-entered."""

    # Flags: 1: recording is on inside; 4: the block sets inference mode, too; 2: inference mode is on inside.
    wanted: int

    __slots__ = ()

    if TYPE_CHECKING:  # a call gives a block that is a typed decorator

        def __init__(self, function: Callable[..., Any] | None = None) -> None: ...

    @classmethod
    def _decorated(cls, function: F) -> F:
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & _ASYNCHRONOUS:
            raise TypeError(
                f"[no_grad] got the asynchronous function {function.__name__}, which runs in parts; "
                "expected an ordinary one: put a `with` block around its parts"
            )
        if flags & _GENERATOR:
            return _decorate_generator(function, cls)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with cls():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def __call__(self, function: F) -> F:
        return self._decorated(function)


class no_grad(_Block):
    """Nothing is recorded inside: a ``with`` block or a decorator, as in PyTorch.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.no_grad():
    ...     y = x.clone()
    >>> y.requires_grad
    False
    """

    __slots__ = ()

    wanted = 0


class enable_grad(_Block):
    """Records again inside a :class:`no_grad` block.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.no_grad(), rv.enable_grad():
    ...     y = x.clone()
    >>> y.requires_grad
    True
    """

    __slots__ = ()

    wanted = 1


class inference_mode(no_grad):
    """As :class:`no_grad`; ``inference_mode(False)`` as :class:`enable_grad`.

    >>> import ranvier as rv
    >>> x = rv.ones(2, requires_grad=True)
    >>> with rv.inference_mode():
    ...     y = x.clone()
    >>> y.requires_grad, y.is_inference()
    (False, True)
    """

    __slots__ = ()

    wanted = 4 + 2

    def __new__(cls, mode: Any = True) -> Any:
        if mode is False:
            return _Ordinary()
        if mode is True or mode is None:
            return super().__new__(cls)
        return cls._decorated(mode)


_Ordinary: Any = type("_Ordinary", (enable_grad,), {"__slots__": (), "wanted": 4 + 1})

# flags of inspect, which takes milliseconds to import
_GENERATOR = 0x20
_ASYNCHRONOUS = 0x80 | 0x200


def _decorate_generator(function: F, block: type[_Block]) -> F:
    """A generator function whose parts between two `yield`s each run in a new `block`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        resume = generator.send
        value = None
        while True:
            try:
                with block():
                    yielded = resume(value)
            except StopIteration as stop:
                return stop.value
            try:
                resume, value = generator.send, (yield yielded)
            except BaseException as error:  # GeneratorExit, too: the generator's own `finally` runs
                resume = generator.throw
                value = error

    return wrapper  # type: ignore[return-value]
