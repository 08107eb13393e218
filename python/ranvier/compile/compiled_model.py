"""CompiledModel: what `rv.compile` returns for a module."""

from __future__ import annotations

import functools
from _thread import _count as other_threads
from _thread import get_ident
from collections.abc import Iterator
from sys import maxsize
from types import MethodType
from typing import Any

from ranvier.autograd.mode import mode, no_grad
from ranvier.autograd.recording import current, recordings
from ranvier.autograd.tensor import Tensor
from ranvier.compile.compiled import CompiledFunction
from ranvier.compile.locks import running
from ranvier.nn import Module


class CompiledModel(CompiledFunction):
    """A module whose forward pass is replayed; its other attributes are the module's.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(3, 2).eval()
    >>> fast = rv.compile(model)
    >>> x = np.ones((4, 3), np.float32)
    >>> for _ in range(3): y = fast(x)
    >>> bool((y == model(x)).all()), fast.in_features
    (True, 3)
    """

    _function: Any
    _forward_only = True

    def _code(self) -> int:
        return hash(tuple([type(m) for m in Module.modules(self._function)]))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self  # a model in the body of a class is no method: instance is not bound

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        # a program of a model has no tape: the model itself runs where gradients may be needed
        in_step = get_ident() in running or (recordings and current() is not None)
        taped = mode.enabled and (
            self._function.training or any(map(_requires_grad, (*args, *kwargs.values())))
        )
        if in_step or taped:
            return self._function(*args, **kwargs)
        if other_threads():
            with self._lock:
                return self._replay_latest(args, kwargs)
        return self._replay_latest(args, kwargs)

    def _replay_latest(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The latest program is tried before everything else, as most calls fit it."""
        program, results = self._latest, None
        self._disarm()
        if program is not None and not kwargs:
            results = program.call(args)
            if type(results) is tuple:
                program.arm(self, maxsize, self._function)
                return program.result(results)
        if mode.enabled:  # what is recorded or runs eagerly below makes no tape either
            with no_grad():
                return self._finish(program, results, args, kwargs)
        return self._finish(program, results, args, kwargs)

    def _finish(self, program: Any, results: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """results: None where the program does not fit the call, else the check in it that failed."""
        if results is None:
            return super()._call(*args, **kwargs)
        return self._replayed(program, results, args, kwargs)

    # To others it is the Module: as an attribute of a model, a part of Sequential, saved, averaged.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._function)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self._function.__dict__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _unpickled, (self.__getstate__(),)

    def __repr__(self) -> str:
        return f"compiled {self._function!r}"

    def __bool__(self) -> bool:
        return bool(self._function)

    def __len__(self) -> int:
        return len(self._function)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._function)

    def __getitem__(self, index: Any) -> Any:
        return self._function[index]

    def __setattr__(self, name: str, value: Any) -> None:
        """A setting of the module, as in ``fast.scale = 2.0``."""
        if name in self._own or name.startswith("__") or not hasattr(self._own.get("_function"), name):
            super().__setattr__(name, value)
        else:
            setattr(self._function, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_function" not in self._own:  # before __init__ or __setstate__
            raise AttributeError(name)
        value = getattr(self._function, name)
        if type(value) is MethodType and value.__self__ is self._function:
            return functools.partial(self._of_module, value)
        return value

    def _of_module(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """A method of the module; one that returns the module, as eval() does, returns this."""
        result = method(*args, **kwargs)
        return self if result is self._function else result


def _unpickled(state: dict[str, Any]) -> CompiledModel:
    model = CompiledModel.__new__(CompiledModel)
    model.__setstate__(state)
    return model


def _requires_grad(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad
