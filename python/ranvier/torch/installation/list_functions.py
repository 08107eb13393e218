"""``torch._foreach_add`` and the other functions of this kind, which apply an op to each tensor of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ranvier import Tensor


def foreach(name: str) -> Callable[..., Any]:
    """The function of this name: it calls a method of Tensor for each tensor of a list.

    Other arguments that are lists have an entry for each tensor. A function in place returns None.

    >>> import ranvier as rv
    >>> foreach("_foreach_add")([rv.ones(1), rv.ones(2)], [1.0, 2.0])
    [tensor([2.]), tensor([3., 3.])]
    """
    plain = name.removeprefix("_foreach_")
    method = getattr(Tensor, plain, None) or _in_place(getattr(Tensor, plain.removesuffix("_")))
    if plain.rstrip("_") in ("addcdiv", "addcmul"):  # the last argument may be a factor
        method = partial(_with_factor, method)

    def call(tensors: Sequence[Tensor], *others: Any, **settings: Any) -> Any:
        if plain == "norm" and "ord" in settings:
            settings["p"] = settings.pop("ord")
        columns = [_for_each(tensors, other) for other in others]
        results = [method(*arguments, **settings) for arguments in zip(tensors, *columns, strict=True)]
        if name.endswith("_"):
            return None
        return results

    return call


def _in_place(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Tensor, *others: Any, **settings: Any) -> Tensor:
        return x.copy_(method(x, *others, **settings))

    return call


def _for_each(tensors: Sequence[Tensor], other: Any) -> Sequence[Any]:
    """An argument as one entry for each tensor."""
    if isinstance(other, (list, tuple)):
        return other
    return [other] * len(tensors)


def _with_factor(method: Callable[..., Any], x: Tensor, *others: Any, **settings: Any) -> Any:
    if len(others) > 2:
        settings["value"] = others[2]
    return method(x, *others[:2], **settings)
