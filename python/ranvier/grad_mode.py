"""The mode of each thread that decides whether operations are recorded on the tape: `no_grad`, `enable_grad`,
`set_grad_enabled` and `inference_mode`. The core has the mode (bindings/tensors/grad_mode.cpp); its state is
read as ``mode.enabled`` and ``mode.inference``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import ranvier._core as _core

F = TypeVar("F", bound=Callable[..., Any])

mode = _core._GradMode()  # its attributes are those of the thread that reads them

# Bits of the attribute `wanted` of a block, which the core reads.
_RECORDS = 1  # recording is on inside
_INFERENCE = 2  # inference mode is on inside
_SETS_INFERENCE = 4  # without this bit the block leaves inference mode as it is

# Bits of `co_flags` of a function's code. They are those of inspect, which takes milliseconds to import.
_GENERATOR = 0x20
_ASYNCHRONOUS = 0x80 | 0x200


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
        self._wanted = bool(mode)
        self._before = is_grad_enabled()
        self.__enter__()  # a call without `with` acts at once

    def __enter__(self) -> None:
        mode.enabled = self._wanted

    def __exit__(self, *error: object) -> None:
        mode.enabled = self._before

    def __call__(self, function: F) -> F:
        mode.enabled = self._before  # as a decorator it acts inside the function only
        if self._wanted:
            return enable_grad._decorated(function)
        return no_grad._decorated(function)


class _Block(_core._GradBlock):
    """A ``with`` block or decorator, usable with and without parentheses, nested and re-entered.

    The base class, of the core, enters and leaves the mode that the class attribute `wanted` says.
    """

    wanted: int  # bits: _RECORDS and the others above

    __slots__ = ()

    if TYPE_CHECKING:  # a call gives a block that is a typed decorator

        def __init__(self, function: Callable[..., Any] | None = None) -> None: ...

    @classmethod
    def _decorated(cls, function: F) -> F:
        """The function, each call of which runs in a block of this class."""
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

    wanted = _RECORDS


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

    wanted = _SETS_INFERENCE | _INFERENCE

    def __new__(cls, mode: bool | Callable[..., Any] | None = True) -> Any:
        if mode is False:
            return _NoInferenceMode()
        if mode is True or mode is None:
            return super().__new__(cls)
        return cls._decorated(mode)  # used as a decorator without parentheses


class _NoInferenceMode(enable_grad):
    """What ``inference_mode(False)`` gives: records, also inside of inference mode."""

    __slots__ = ()

    wanted = _SETS_INFERENCE | _RECORDS


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
                value = yield yielded
                resume = generator.send
            except BaseException as error:  # GeneratorExit, too: the generator's own `finally` runs
                resume = generator.throw
                value = error

    return wrapper  # type: ignore[return-value]
