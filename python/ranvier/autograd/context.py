"""Functions with static methods and a context, PyTorch's form of :class:`ranvier.autograd.Function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.memory import filled, like
from ranvier.autograd.mode import mode, no_grad
from ranvier.autograd.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])


class Context:
    """``ctx``: what forward keeps for backward, as attributes or with ``save_for_backward``."""

    needs_input_grad: tuple[bool, ...]

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: tuple[Any, ...] = ()
        self._changes: tuple[int, ...] = ()
        self._plain: tuple[Any, ...] = ()
        self._filled = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors; a change of one before backward is an error."""
        if any(not (x is None or isinstance(x, Tensor)) for x in tensors):
            raise TypeError("[save_for_backward] got a value that is no Tensor; expected Tensors or None")
        self._saved = tensors
        self._changes = tuple(0 if x is None else x._version for x in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        for x, count in zip(self._saved, self._changes, strict=True):
            if x is not None and x._version != count:
                raise RuntimeError(
                    "[saved_tensors] a variable needed for gradient computation has been modified by an "
                    f"inplace operation: a tensor of shape {x.shape} is at version {x._version}; "
                    f"expected {count}"
                )
        return self._saved

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """These outputs need no gradient."""
        self._plain = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Raises RuntimeError: forward must return new tensors."""
        raise RuntimeError(
            "[mark_dirty] got an input changed in place; expected forward to return new tensors"
        )

    def set_materialize_grads(self, value: bool) -> None:
        """False: backward gets None, not zeros, for outputs that were not used."""
        self._filled = bool(value)


class _Node(Function):
    """The node of the tape for one call of ``apply``."""

    def __init__(self, kind: Any, context: Context, outputs: tuple[Any, ...], slots: list[int]) -> None:
        self.kind, self.context, self.slots = kind, context, slots
        self.made, self.several = outputs, len(outputs) > 1

    def forward(self, *arrays: Any) -> Any:
        made, self.made = self.made, ()
        self.shapes = [array.shape for array in arrays]
        results = tuple(
            like(y, y) if any(np.may_share_memory(y, x) for x in arrays) else y
            for y in (m._array for m in made)
        )
        self.results = [(y.shape, y.dtype) for y in results]
        return results if self.several else results[0]

    def backward(self, *gradients: Any) -> Any:
        name, context = self.kind.__name__, self.context
        given = [
            filled(0, *about) if dy is None and context._filled else dy
            for dy, about in zip(gradients, self.results, strict=True)
        ]
        with no_grad():
            found = self.kind.backward(context, *(None if dy is None else wrap(dy) for dy in given))
        found = found if isinstance(found, tuple) else (found,)
        count = len(context.needs_input_grad)
        if len(found) < count or any(x is not None for x in found[count:]):
            raise RuntimeError(
                f"[{name}.backward] returned {len(found)} gradients; expected {count}, one for each argument "
                "of forward"
            )
        return tuple(
            self._array(name, found[i], shape) for i, shape in zip(self.slots, self.shapes, strict=True)
        )

    def _array(self, name: str, dx: Any, shape: tuple[int, ...]) -> Any:
        if dx is None:
            return None
        array = np.asarray(getattr(dx, "_array", dx))
        if array.shape != shape:
            raise RuntimeError(
                f"[{name}.backward] returned a gradient of shape {array.shape}; expected {shape}"
            )
        return array


def applied(kind: Any, *args: Any) -> Any:
    """Runs ``kind.forward(ctx, *args)`` and records it; gradients come from ``kind.backward(ctx, ...)``."""
    needs = tuple(isinstance(x, Tensor) and x.requires_grad and mode.enabled for x in args)
    context = Context(needs)
    with no_grad():
        if "setup_context" in dir(kind):
            made = kind.forward(*args)
            kind.setup_context(context, args, made)
        else:
            made = kind.forward(context, *args)
    outputs = made if isinstance(made, tuple) else (made,)
    slots = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
    if not any(needs) or not all(isinstance(y, Tensor) for y in outputs):
        return made
    node = type(kind.__name__, (_Node,), {})(kind, context, outputs, slots)
    results = node.apply(*(args[i] for i in slots))
    results = results if isinstance(results, tuple) else (results,)
    for y, old in zip(results, outputs, strict=True):
        if any(old is plain for plain in context._plain):
            y._requires_grad, y._grad_fn = False, None
    return results if isinstance(made, tuple) else results[0]


def once_differentiable(function: F) -> F:
    """A decorator for ``backward``; the function itself, since gradients are computed once here.

    >>> once_differentiable(abs) is abs
    True
    """
    return function


def _recognise(cls: Any, /, **settings: Any) -> None:
    """A subclass with a static ``forward`` has PyTorch's form: its ``apply`` is called on the class."""
    if isinstance(cls.__dict__.get("forward"), staticmethod):
        cls.apply = classmethod(applied)


Function.__init_subclass__ = classmethod(_recognise)  # type: ignore[assignment]
