"""What libraries take from inside PyTorch: calls for lists of tensors, old arguments of losses."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from ranvier import Tensor

TEXTS = re.compile("[SaUO]")  # the dtypes of arrays that no batch can have


def foreach(name: str) -> Callable[..., Any]:
    """``torch._foreach_add`` and all others: a method of Tensor for each tensor of a list; further lists go
    along with it. One that changes its tensors gives None.

    >>> import ranvier as rv
    >>> foreach("_foreach_add")([rv.ones(1), rv.ones(2)], [1.0, 2.0])
    [tensor([2.]), tensor([3., 3.])]
    """
    plain = name.removeprefix("_foreach_")
    method = getattr(Tensor, plain, None) or _in_place(getattr(Tensor, plain.removesuffix("_")))
    if plain.rstrip("_") in ("addcdiv", "addcmul"):  # the last argument may be a factor
        method = partial(_with_factor, method)

    def call(tensors: Any, *others: Any, **settings: Any) -> Any:
        if plain == "norm" and "ord" in settings:
            settings["p"] = settings.pop("ord")
        rows = [other if isinstance(other, (list, tuple)) else [other] * len(tensors) for other in others]
        results = [method(x, *row, **settings) for x, *row in zip(tensors, *rows, strict=True)]
        return None if name.endswith("_") else results

    return call


def _in_place(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *others, **settings: x.copy_(method(x, *others, **settings))


def _with_factor(method: Callable[..., Any], x: Tensor, *others: Any, **settings: Any) -> Any:
    names = ("value",) if len(others) > 2 else ()
    return method(x, *others[:2], **dict(zip(names, others[2:], strict=True)), **settings)


def by_dtype(tensors: Any, with_indices: bool = False) -> dict[Any, tuple[list[list[Any]], list[int]]]:
    """Lists of tensors that belong together by their places, divided by device and dtype of the first list.

    >>> import ranvier as rv
    >>> list(by_dtype([[rv.ones(1), rv.ones(2)]], with_indices=True).values())
    [([[tensor([1.]), tensor([1., 1.])]], [0, 1])]
    """
    groups: dict[Any, tuple[list[list[Any]], list[int]]] = {}
    for place, row in enumerate(zip(*tensors, strict=True)):
        group = groups.setdefault((row[0].device, row[0].dtype), ([[] for _ in row], []))
        for held, tensor in zip(group[0], row, strict=True):
            held.append(tensor)
        if with_indices:
            group[1].append(place)
    return groups


def reduction(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> str:
    """The ``reduction`` that a loss's old arguments mean: "mean", "sum" or "none"."""
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"
