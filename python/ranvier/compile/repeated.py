"""A Sequential of the library's layers that is called again and again without gradients is replayed.

Its calls are those of a compiled model (`compiled_model.py`), which it keeps in its ``__dict__``. No code of
the user's runs in such a call, so the guards are enough: what it reads, does and returns is known.
"""

from __future__ import annotations

from typing import Any

from ranvier.compile.compiled_model import ModelCall
from ranvier.compile.kinds import PACKAGE
from ranvier.nn import Module, Parameter, Sequential

KEY = "_replay"
# Bytes of parameters: a program has copies of them, and is freed by the garbage collector only.
_MOST = 1 << 22
_RECORDINGS = 8  # then it runs layer by layer for good: shapes or parameters change too often
# Files of layers. What looks rows up or loops over steps gains little, and its parameters are many.
_FILES = "activation", "conv", "dropout", "linear", "norm", "pooling", "resample", "reshape"
_HOMES = {f"ranvier.nn.{file}" for file in _FILES}


class Layers:
    """The layers of a Sequential one after the other, without what its forward or its call is wrapped in."""

    step_root = "sequential"

    def __init__(self, sequential: Any) -> None:
        self.sequential = sequential

    @property
    def training(self) -> Any:
        return self.sequential.training

    def __call__(self, input: Any) -> Any:
        return Sequential._each(self.sequential, input)


class RepeatedCall(ModelCall):
    """The call of such a Sequential, until it serves no more: then the Sequential runs as it is written."""

    def __init__(self, sequential: Any) -> None:
        self._kind, self._model = Layers, lambda: None
        self.owner = sequential
        self._recordings = 0
        super().__init__(Layers(sequential))

    def _code(self) -> int:
        return hash(tuple([id(type(m)) for m in Module.modules(self._function.sequential)]))

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        # Other threads predict side by side. A signal handler may come while this one records.
        if self._lock._is_owned() or not self._lock.acquire(blocking=False):  # type: ignore[attr-defined]
            return self._eager(args, kwargs)
        try:
            return super()._call(*args, **kwargs)
        finally:
            self._lock.release()

    def _record(
        self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any], checked: Any = None, walk: Any = None
    ) -> Any:
        self._recordings += checked is None
        if self._recordings > _RECORDINGS or not is_replayed(self._function.sequential):
            self._end()  # a hook was added, or a layer of the user's
            return self._eager(args, kwargs)
        return super()._record(key, args, kwargs, checked, walk)

    def _warn(self, why: str) -> None:
        self._end()

    def _let_rest(self, calls: int) -> None:
        super()._let_rest(calls)
        if calls and self._recordings:  # replays do not pay
            self._end()

    def _end(self) -> None:
        self._function.sequential.__dict__[KEY] = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(None), ()  # copies of the Sequential begin without programs


def is_replayed(sequential: Any) -> bool:
    """Whether only code of the library runs in it, and its result is never its argument's memory."""
    if not all(_is_plain(m) for m in Module.modules(sequential)):
        return False
    parameters = list(Module.parameters(sequential))
    size = sum(p.nbytes for p in parameters)
    return size <= _MOST and any(type(p) is Parameter and p.ndim > 1 for p in parameters)


def _is_plain(module: Any) -> bool:
    kind, own = type(module), module.__dict__
    known = kind is Sequential or kind.__module__ in _HOMES
    return known and module._hooks is None and "forward" not in own and all(map(_is_own, _methods(kind)))


def _methods(kind: Any) -> tuple[Any, ...]:
    return kind.__call__, kind.forward


def _is_own(method: Any) -> bool:
    """Whether a method is the library's: wrappers have their own code, whatever they call themselves."""
    return getattr(getattr(method, "__code__", None), "co_filename", "").startswith(PACKAGE)


def begin(sequential: Any) -> Any:
    """The call of a Sequential from now on; None: it stays as it is."""
    call = sequential.__dict__[KEY] = RepeatedCall(sequential) if is_replayed(sequential) else None
    return call
