"""Gives each new subclass of `Function` the ``apply`` for its form.

The modules of two forms are for programs with Functions of their own, so they load with the first of these:
PyTorch's, with static methods and a context (`context`), and classes whose forward or backward NumPy computes
(`host_nodes`).
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from ranvier.tape.function import Function


def _give_apply(cls: Any, /, **settings: Any) -> None:
    """Called for each new subclass of Function."""
    forward = next(vars(base)["forward"] for base in cls.__mro__ if "forward" in vars(base))
    # PyTorch takes a function without @staticmethod, too, if its first parameter is the context.
    takes_context = isinstance(forward, FunctionType) and forward.__code__.co_varnames[:1] == ("ctx",)
    if takes_context or isinstance(forward, (staticmethod, classmethod)):
        from ranvier.tape.context import give_form

        give_form(cls)
    elif cls.by_numpy or not cls.__module__.startswith("ranvier."):
        from ranvier.tape.host_nodes import noted

        noted(cls)


Function.__init_subclass__ = classmethod(_give_apply)  # type: ignore[assignment]
