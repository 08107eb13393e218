"""torch.library: operators that libraries define as they are imported; a call of one is refused by name."""

from __future__ import annotations

from typing import Any

from ranvier.torch.absent import why


class Operator:
    """An operator of another library, without what it computes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any, **settings: Any) -> Any:
        raise NotImplementedError(f"[torch.ops.{self._name}] ranvier leaves it out: {why('library')}")

    def register_fake(self, function: Any = None, *args: Any, **settings: Any) -> Any:
        """Keeps nothing; gives the function, as decorator too."""
        return function if callable(function) else lambda inner: inner

    register_autograd = register_kernel = register_vmap = register_autocast = register_fake


def custom_op(name: str, fn: Any = None, /, **settings: Any) -> Any:
    """An operator that refuses its calls, as decorator too.

    >>> custom_op("mine::twice", lambda x: 2 * x, mutates_args=())(1)    # doctest: +ELLIPSIS
    Traceback (most recent call last):
    NotImplementedError: [torch.ops.mine::twice] ranvier leaves it out: operators are those of torch; ...
    """
    return Operator(name) if fn is not None else lambda function: Operator(name)


def register_fake(op: Any, func: Any = None, *args: Any, **settings: Any) -> Any:
    """As the method of an operator."""
    return Operator(str(op)).register_fake(func)


register_autograd = register_kernel = register_vmap = register_autocast = register_fake
triton_op = custom_op


class Library:
    """The operators of a namespace, of which nothing is kept."""

    def __init__(self, *args: Any, **settings: Any) -> None: ...

    def define(self, *args: Any, **settings: Any) -> None: ...

    impl = define


def define(*args: Any, **settings: Any) -> None:
    """Keeps nothing: `torch.ops` refuses the operator by name."""


impl = register_fake
