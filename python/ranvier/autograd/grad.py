"""Gradients as values: ``rv.grad(f)(x)``, ``rv.value_and_grad`` and PyTorch's ``autograd.grad``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.backward import refuse_create_graph, root_gradient, run
from ranvier.autograd.memory import copied, filled_like
from ranvier.autograd.mode import enable_grad
from ranvier.autograd.tensor import Tensor, wrap


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs (weighted by grad_outputs, summed) with respect to each input.

    Public as ``ranvier.autograd.grad``. No ``.grad`` is changed. Raises RuntimeError if an input was not
    used; with ``allow_unused`` its gradient is None. only_inputs: True, as in PyTorch.

    >>> import ranvier as rv
    >>> x = rv.tensor([1.0, 2.0], requires_grad=True)
    >>> rv.autograd.grad(x.clone(), x, rv.ones(2))
    (tensor([1., 1.]),)
    """
    refuse_create_graph("grad", create_graph)
    if not only_inputs:
        raise ValueError("[grad] got only_inputs=False; expected True: call backward() for other gradients")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, np.ndarray)):
        grad_outputs = [grad_outputs] * len(outputs)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("[grad] one of the inputs does not require grad")
    roots = [(y, root_gradient("grad", y, dy)) for y, dy in zip(outputs, grad_outputs, strict=True)]
    nodes = [x if x.grad_fn is None else x.grad_fn for x in inputs]
    captured: dict[Any, Any] = dict.fromkeys(nodes)
    run(roots, bool(retain_graph), captured)
    found = []
    for index, node in enumerate(nodes):
        array = captured[node]
        if array is None and not allow_unused:
            raise RuntimeError(
                f"[grad] the differentiated Tensor at index {index} appears to not have been used in the "
                "graph; set allow_unused=True if this is the desired behavior"
            )
        found.append(None if array is None else wrap(copied(array)))
    return tuple(found)


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the value and the gradients with respect to ``args[argnums]``.

    An argument may be a number (then the gradient is a float, computed in float64), an array, a Tensor, or a
    list, tuple or dict of these. Raises RuntimeError if the function does not return one number.

    >>> import ranvier as rv
    >>> rv.value_and_grad(lambda x: x.clone())(3.0)
    (3.0, 1.0)
    """
    several = not isinstance(argnums, int)
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Tensor] = []

        def watched(value: Any) -> Tensor:
            leaves.append(_leaf(value))
            return leaves[-1]

        inner = [_mapped(watched, arg) if i in wanted else arg for i, arg in enumerate(args)]
        with enable_grad():
            value = function(*inner, **kwargs)
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise RuntimeError(f"[grad] the function returned {got}; expected a Tensor of one element")
        if value.requires_grad:
            found = list(gradients(value, leaves, allow_unused=True))
        else:
            found = [None] * len(leaves)
        results = (
            wrap(filled_like(0, x._array)) if g is None else g for g, x in zip(found, leaves, strict=True)
        )

        def result(value: Any) -> Any:
            return next(results).item() if isinstance(value, (int, float)) else next(results)

        grads = tuple(_mapped(result, arg) for i, arg in enumerate(args) if i in wanted)
        plain = any(isinstance(args[i], (int, float)) for i in wanted)
        return value.item() if plain else value.detach(), grads if several else grads[0]

    return wrapper


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the gradients with respect to ``args[argnums]``: see :func:`value_and_grad`.

    >>> import ranvier as rv
    >>> rv.grad(lambda x: x.clone())(2.0)
    1.0
    """
    both = value_and_grad(function, argnums)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapper


def _mapped(function: Callable[[Any], Any], arg: Any) -> Any:
    """The argument with each number, array or Tensor in it replaced by the function of it."""
    if isinstance(arg, dict):
        return {key: _mapped(function, value) for key, value in arg.items()}
    if isinstance(arg, (list, tuple)):
        return type(arg)(_mapped(function, value) for value in arg)
    return function(arg)


def _leaf(arg: Any) -> Tensor:
    array = arg._array if isinstance(arg, Tensor) else np.asarray(arg)
    if isinstance(arg, (int, float)):
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise TypeError(f"[grad] got an argument of dtype {array.dtype}; expected float32 or float64")
    return wrap(array, requires_grad=True)
