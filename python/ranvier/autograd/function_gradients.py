"""``rv.grad`` and ``rv.value_and_grad``: gradients of functions of numbers, arrays and Tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.differentiated_call import (
    DifferentiatedCall,
    argument_numbers,
    in_differentiated_call,
    replace_arguments,
)
from ranvier.autograd.trees import list_values, map_tree, replace_values
from ranvier.tensors.tensor import Tensor, wrap


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the value and the gradients with respect to ``args[argnums]``.

    An argument may be a number (then the gradient is a float, computed in float64), an array, a Tensor, or a
    list, tuple or dict of these. Calls may be nested: the gradients inside are then on the tape of the outer
    call. Raises RuntimeError if the function does not return one number.

    >>> import ranvier as rv
    >>> rv.value_and_grad(lambda x: x.clone())(3.0)
    (3.0, 1.0)
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        numbers = argument_numbers("grad", argnums, len(args))
        originals = tuple(args[i] for i in numbers)
        inputs = map_tree(_as_tensor, originals)
        # A differentiated call around this one may differentiate the results: then they keep a history if
        # recording was on (None). Else they keep none.
        keep_history = None if in_differentiated_call() else False
        with DifferentiatedCall("grad", inputs, keep_history) as call:
            arguments = replace_arguments(args, numbers, call.inputs)
            output = function(*arguments, **kwargs)
            call.take_outputs(_require_one_element(output))
            value = call.release_outputs()
            slopes = call.gradients_of_number()

        gradients = []
        for slope, original in zip(slopes, list_values(originals), strict=True):
            if isinstance(original, (int, float)):
                gradients.append(_as_number(slope))
            else:
                gradients.append(slope)
        of_arguments = replace_values(originals, gradients)
        if any(isinstance(x, (int, float)) for x in originals):
            value = _as_number(value)
        if isinstance(argnums, int):
            return value, of_arguments[0]
        return value, of_arguments

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
        _, gradients = both(*args, **kwargs)
        return gradients

    return wrapper


def _as_tensor(value: Any) -> Tensor:
    """A number, array or Tensor as a Tensor; numbers of Python as float64."""
    if isinstance(value, Tensor):
        return value
    dtype = np.float64 if isinstance(value, (int, float)) else None
    return wrap(np.asarray(value, dtype))


def _as_number(x: Tensor) -> Any:
    """The number in a Tensor; the Tensor itself if it has a history, which the number would lose."""
    if x.requires_grad:
        return x
    return x.item()


def _require_one_element(output: object) -> Tensor:
    """What a function has returned. Raises RuntimeError unless it is a Tensor of one element."""
    if not isinstance(output, Tensor):
        raise RuntimeError(
            f"[grad] the function returned {type(output).__name__}; expected a Tensor of one element"
        )
    if output.numel() != 1:
        raise RuntimeError(
            f"[grad] the function returned shape {output.shape}; expected a Tensor of one element"
        )
    return output
