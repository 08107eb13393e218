"""CompiledModel: what `rv.compile` returns for a module."""

from __future__ import annotations

from _thread import _count as other_threads
from _thread import get_ident
from typing import Any

from ranvier.autograd.mode import mode, no_grad
from ranvier.autograd.recording import current, recordings
from ranvier.autograd.tensor import Tensor
from ranvier.nn import Module
from ranvier.program.cache import Account, account_of
from ranvier.program.compiled import CompiledFunction
from ranvier.program.locks import running


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

    def _account(self) -> Account:
        form = hash(tuple([id(type(m)) for m in Module.modules(self._function)]))
        return account_of(type(self._function).forward).part(form)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inside = get_ident() in running or (
            recordings and current() is not None
        )  # of a step, which may need gradients
        taped = mode.enabled and (
            self._function.training or any(map(_requires_grad, (*args, *kwargs.values())))
        )
        if inside or taped:
            return self._function(*args, **kwargs)
        if other_threads():
            with self._lock:
                return self._at_once(args, kwargs)
        return self._at_once(args, kwargs)

    def _at_once(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        program, results = self._latest, None
        if program is not None and program.checks_left and not kwargs:
            results = program.call(args)
            if type(results) is tuple:
                program.checks_left -= 1
                return program.result(results)
        if mode.enabled:
            with no_grad():
                return self._otherwise(program, results, args, kwargs)
        return self._otherwise(program, results, args, kwargs)

    def _otherwise(self, program: Any, results: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """results: None where the program does not fit the call."""
        if results is None:
            return super().__call__(*args, **kwargs)
        return self._replayed(program, results, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        """A setting of the module, as in ``fast.scale = 2.0``."""
        if name in vars(self) or name.startswith("__") or not hasattr(vars(self).get("_function"), name):
            super().__setattr__(name, value)
        else:
            setattr(self._function, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_function" not in vars(self):  # not there yet
            raise AttributeError(name)
        return getattr(self._function, name)


def _requires_grad(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad
