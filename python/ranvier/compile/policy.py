"""The differences between kinds of compiled functions: methods that `CompiledFunction` calls.

A plain function has a `Policy`, which changes nothing. A subclass overrides the methods of the points where
its kind differs; their names say when they are called. A policy holds no reference to the function.
Subclasses are OfMethod here, OfModel (`compiled_model.py`), OfRepeated (`repeated.py`) and OfTrainer
(`train/program_policy.py`). The parameter `call` is the CompiledFunction.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any
from weakref import ref

from ranvier.compile.guarding.walk import Walk
from ranvier.nn import Module
from ranvier.observe import callers_level
from ranvier.tensors.recording import Recording


class Policy:
    """The policy of a plain function.

    Attributes:
        forward_only: whether the function is a model's forward pass, recorded without a tape.
        as_tensors: whether arrays of NumPy among the arguments are passed to the function as Tensors.
        clones: whether a model that returns an argument gets a copy of it as the result instead.
        waits: whether a signature is recorded only at its second call.
        shares_after: after how many checks other steps may use a program (`shared_programs.py`); 0: never.
        is_kept: whether the compiled function is stored with an object, and is not copied or pickled with it.
    """

    forward_only = as_tensors = waits = is_kept = False
    clones = True
    shares_after = 3

    def code_of(self, function: Callable[..., Any]) -> int:
        """A number that is the same for functions of the same code, such as those that another function makes
        anew in each call. The cache counts their recordings together (`program_cache.py`). Of a function that
        wraps others, as `rv.func.vmap` makes it, the codes of all count."""
        codes = []
        wrapped: Any = function
        while wrapped is not None:
            codes.append(self._code_of_one(wrapped))
            wrapped = getattr(wrapped, "__wrapped__", None)
        if len(codes) == 1:
            return codes[0]
        return hash(tuple(codes))

    def _code_of_one(self, function: Callable[..., Any]) -> int:
        """As `code_of`, without the functions that it wraps."""
        while isinstance(function, functools.partial):
            function = function.func
        if isinstance(function, Module):
            return hash(tuple([id(type(m)) for m in Module.modules(function)]))
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if isinstance(code, CodeType):
            return hash(code)
        return id(type(function))

    def in_copies(self, function: Callable[..., Any]) -> Any:
        """The function that a copy of the compiled function, or what a pickle of it loads, compiles."""
        return function

    def around_call(self, call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes a call that the core leaves to Python."""
        return call._answer(args, kwargs)

    def before_run(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of the function, from those of `step.run`."""
        return args

    def known_guards(self, function: Callable[..., Any]) -> Walk | None:
        """The guards of a step that is to be recorded, if they are known without its code because no code of
        the user's runs in it; or None."""
        return None

    def before_recording(self, call: Any, args: tuple[Any, ...], is_check: bool) -> bool:
        """True if a run is recorded; else it is eager."""
        return True

    def after_recording(self, recording: Recording, result: object) -> str:
        """The reason why a recorded run must not be replayed, although it could; or ""."""
        return ""

    def when_shared(self) -> None:
        """Called when other steps may use a program from now on."""

    def when_refused(self, call: Any, why: str) -> None:
        """Called at the first call that runs eagerly, with the reason."""
        name = getattr(call, "__qualname__", type(call._function).__qualname__)
        warnings.warn(f"[compile] {name} runs eagerly: {why}", stacklevel=callers_level())

    def when_resting(self, call: Any, calls: int) -> None:
        """Called when the next `calls` calls run eagerly, without a check of their signature."""


class OfMethod(Policy):
    """The policy of the compiled method of one object."""

    is_kept = True

    def __init__(self, owner: object) -> None:
        self._owner = ref(owner)

    def before_run(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._owner(), *args
