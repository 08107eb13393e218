"""``torch._foreach_add`` and the other functions of this kind, which apply an op to each tensor of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ranvier import Tensor


def foreach(name: str) -> Callable[..., Any]:
    """The function of this name: it calls a method of Tensor for each tensor of a list.

    `value_of` of `finder.py` calls it for names that begin with "_foreach_".

    Other arguments that are lists have an entry for each tensor. A function in place returns None.

    >>> import ranvier as rv
    >>> foreach("_foreach_add")([rv.ones(1), rv.ones(2)], [1.0, 2.0])
    [tensor([2.]), tensor([3., 3.])]
    """
    method_name = name.removeprefix("_foreach_")
    method: Callable[..., Any] | None = getattr(Tensor, method_name, None)
    if method is None:  # a method in place that Tensor lacks
        method = _in_place(getattr(Tensor, method_name.removesuffix("_")))
    if method_name.rstrip("_") in ("addcdiv", "addcmul"):
        method = partial(_with_factor, method)

    def call(tensors: Sequence[Tensor], *others: Any, **settings: Any) -> Any:
        if method_name == "norm" and "ord" in settings:
            settings["p"] = settings.pop("ord")
        columns = [_repeat(other, len(tensors)) for other in others]
        results = [method(*arguments, **settings) for arguments in zip(tensors, *columns, strict=True)]
        if name.endswith("_"):
            return None
        return results

    return call


def _in_place(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that writes the result of another one to its tensor."""

    def call(x: Tensor, *others: Any, **settings: Any) -> Tensor:
        return x.copy_(method(x, *others, **settings))

    return call


def _repeat(argument: Any, count: int) -> Sequence[Any]:
    """An argument as one entry for each of `count` tensors."""
    if isinstance(argument, (list, tuple)):
        return argument
    return [argument] * count


def _with_factor(method: Callable[..., Any], x: Tensor, *others: Any, **settings: Any) -> Any:
    """addcdiv or addcmul, whose factor, an argument by name, may be the third of the others here."""
    if len(others) > 2:
        settings["value"] = others[2]
    return method(x, *others[:2], **settings)
