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
        rows = [other if isinstance(other, (list, tuple)) else [other] * len(tensors) for other in others]
        results = [method(x, *row, **settings) for x, *row in zip(tensors, *rows, strict=True)]
        if name.endswith("_"):
            return None
        return results

    return call


def _in_place(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *others, **settings: x.copy_(method(x, *others, **settings))


def _with_factor(method: Callable[..., Any], x: Tensor, *others: Any, **settings: Any) -> Any:
    names = ("value",) if len(others) > 2 else ()
    return method(x, *others[:2], **dict(zip(names, others[2:], strict=True)), **settings)
