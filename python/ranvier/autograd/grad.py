"""Gradients as values: ``rv.grad(f)(x)``, ``rv.value_and_grad`` and PyTorch's ``autograd.grad``."""

from __future__ import annotations

import functools
from _thread import _local as local  # as in mode.py
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.backward import root_gradient, run, targets
from ranvier.autograd.graph import cut, separate
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
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs (weighted by grad_outputs, summed) with respect to each input.

    Public as ``ranvier.autograd.grad``. No ``.grad`` is changed.

    retain_graph: keeps what forward saved, so that grad can be called again; None: as create_graph.
    create_graph: records the computation, so that the gradients can be differentiated again. Raises
        NotImplementedError where an op cannot be differentiated twice.
    allow_unused: the gradient of an input that was not used is None; else RuntimeError.
    materialize_grads: zeros in place of that None.
    only_inputs, is_grads_batched: True and False; others raise ValueError.

    >>> import ranvier as rv
    >>> x = rv.tensor(2.0, requires_grad=True)
    >>> (slope,) = rv.autograd.grad(x**3, x, create_graph=True)
    >>> slope.item(), rv.autograd.grad(slope, x)
    (12.0, (tensor(12.),))
    """
    if not only_inputs:
        raise ValueError("[grad] got only_inputs=False; expected True: call backward() for other gradients")
    if is_grads_batched:
        raise ValueError(
            "[grad] got is_grads_batched=True; expected False: call grad for each of grad_outputs"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError("[grad] got allow_unused=False with materialize_grads=True; expected True or None")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, np.ndarray)):
        grad_outputs = [grad_outputs] * len(outputs)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("[grad] one of the inputs does not require grad")
    given = zip(outputs, grad_outputs, strict=True)
    roots = [(y, root_gradient("grad", y, dy, create_graph)) for y, dy in given]
    nodes = [x if x.grad_fn is None else x.grad_fn for x in inputs]
    captured: dict[Any, Any] = dict.fromkeys(nodes)
    run(roots, retain_graph, captured, create_graph=create_graph)
    found: list[Tensor | None] = []
    for index, node in enumerate(nodes):
        gradient = captured[node]
        if gradient is None and materialize_grads:
            gradient = filled_like(0, inputs[index]._array)
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                f"[grad] the differentiated Tensor at index {index} appears to not have been used in the "
                "graph; set allow_unused=True if this is the desired behavior"
            )
        own = gradient is None or isinstance(gradient, Tensor)
        found.append(gradient if own else wrap(copied(gradient)))
    return tuple(separate(found, [seed for _, seed in roots]) if create_graph else found)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """:meth:`Tensor.backward` of several tensors at once: their gradients are summed.

    grad_tensors: a gradient for each tensor, None for one of one element; grad_variables: its old name.

    >>> import ranvier as rv
    >>> x = rv.tensor(3.0, requires_grad=True)
    >>> rv.autograd.backward([x * 2, x.clone()], [rv.tensor(1.0), rv.tensor(10.0)])
    >>> x.grad
    tensor(12.)
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    given = grad_variables if grad_tensors is None else grad_tensors
    given = [given] * len(roots) if given is None or isinstance(given, (Tensor, np.ndarray)) else list(given)
    if len(given) != len(roots):
        raise RuntimeError(
            f"[backward] got {len(roots)} tensors and {len(given)} gradients; expected as many"
        )
    seeds = [root_gradient("backward", y, dy, create_graph) for y, dy in zip(roots, given, strict=True)]
    only = None if inputs is None else targets([inputs] if isinstance(inputs, Tensor) else list(inputs))
    run(list(zip(roots, seeds, strict=True)), retain_graph, only=only, create_graph=create_graph)


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the value and the gradients with respect to ``args[argnums]``.

    An argument may be a number (then the gradient is a float, computed in float64), an array, a Tensor, or a
    list, tuple or dict of these. Calls may be nested: the gradients inside are then on the tape of the outer
    call. Raises RuntimeError if the function does not return one number.

    >>> import ranvier as rv
    >>> rv.value_and_grad(lambda x: x.clone())(3.0)
    (3.0, 1.0)
    """
    several = not isinstance(argnums, int)
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Tensor] = []
        nested = _calls.depth > 0

        def watched(value: Any) -> Tensor:
            leaves.append(_leaf(value, nested))
            return leaves[-1]

        with enable_grad():
            inner = [_mapped(watched, arg) if i in wanted else arg for i, arg in enumerate(args)]
            _calls.depth += 1
            try:
                value = function(*inner, **kwargs)
            finally:
                _calls.depth -= 1
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise RuntimeError(f"[grad] the function returned {got}; expected a Tensor of one element")
        if value.requires_grad:
            found = list(gradients(value, leaves, create_graph=nested, allow_unused=True))
        else:
            found = [None] * len(leaves)
        results = (
            wrap(filled_like(0, x._array)) if g is None else g for g, x in zip(found, leaves, strict=True)
        )

        def result(value: Any) -> Any:
            g = next(results)
            return g.item() if isinstance(value, (int, float)) and not g.requires_grad else g

        grads = tuple(_mapped(result, arg) for i, arg in enumerate(args) if i in wanted)
        plain = any(isinstance(args[i], (int, float)) for i in wanted) and not nested
        value = value.item() if plain else value if nested else value.detach()
        return value, grads if several else grads[0]

    return wrapper


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the gradients with respect to ``args[argnums]``: see :func:`value_and_grad`.

    >>> import ranvier as rv
    >>> rv.grad(lambda x: x**3)(2.0), rv.grad(rv.grad(lambda x: x**3))(2.0)
    (12.0, 12.0)
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


class _Calls(local):
    depth = 0  # of calls of value_and_grad in this thread


_calls = _Calls()


def _leaf(arg: Any, nested: bool) -> Tensor:
    """The argument as a Tensor that requires a gradient; inside another call with its history."""
    array = arg._array if isinstance(arg, Tensor) else np.asarray(arg)
    if isinstance(arg, (int, float)):
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise TypeError(f"[grad] got an argument of dtype {array.dtype}; expected float32 or float64")
    return cut(arg) if nested and getattr(arg, "requires_grad", False) else wrap(array, requires_grad=True)
