"""Tools that look into the tape: the tensors that its nodes make (`outputs_kept`, `outputs_alive`), and the
search for the first NaN in the gradients (`set_detect_anomaly`). `rv.plot` uses the first two
(plot/graphs.py); `backpropagation.run` reads `anomaly` and calls `checked`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.observe import Observer, place
from ranvier.settings import Settings
from ranvier.tape.deferred import Deferred
from ranvier.tape.function import Function
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.tape.deferred import Gradient
    from ranvier.tensors.types import TensorLike

__all__ = ["outputs_alive", "outputs_kept"]


class outputs_kept(Observer):
    """Keeps, by node, the tensor that each node of the tape makes inside the block.

    >>> import ranvier as rv
    >>> x = rv.tensor(3.0, requires_grad=True)
    >>> with outputs_kept() as outputs:
    ...     y = (x * x).exp()
    >>> [round(out.item(), 1) for out in outputs.values()]
    [9.0, 8103.1]
    """

    def __enter__(self) -> Any:
        self.kept: dict[Any, Tensor] = {}
        super().__enter__()
        return self.kept

    def apply(self, run: Callable[..., Any], function: Function, *inputs: TensorLike | None) -> Any:
        result = run(*inputs)
        outputs = result if isinstance(result, tuple) else (result,)
        for tensor in outputs:
            if tensor._grad_fn is not None:
                self.kept[tensor._grad_fn] = tensor
        return result


def outputs_alive(nodes: Iterable[Any]) -> dict[Any, Tensor]:
    """The tensors made by these nodes that are still alive, by node."""
    wanted = set(nodes)
    tensors = [t for t in gc.get_referrers(*wanted) if isinstance(t, Tensor)]
    return {t._grad_fn: t for t in tensors if t._grad_fn in wanted}


# The state of `set_detect_anomaly`: on: whether calls store their line; searches: whether backward looks for
# NaN (check_nan).
anomaly = Settings(on=False, searches=False)


class _Places(Observer):
    """Stores in each Function the line of the program that called it, for the error about a NaN."""

    everywhere = True

    def apply(self, run: Callable[..., Any], function: Function, *inputs: TensorLike | None) -> Any:
        result = run(*inputs)
        vars(function)["called_at"] = place()
        return result


_places = _Places()


def checked(gradients_of: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function by which backward gets the gradients of a node: they are searched for NaN."""

    def run(node: Function, dy: Gradient) -> Any:
        # Read before the call, because `gradients_of` may release the node's attributes.
        place = getattr(node, "called_at", "an unknown line")
        gradients = gradients_of(node, dy)
        listed = gradients if type(gradients) is tuple else (gradients,)
        for number, (edge, gradient) in enumerate(zip(node.edges, listed, strict=False)):
            if edge is not None and _has_nan(gradient):
                raise RuntimeError(
                    f"[backward] Function '{type(node).__name__}' returned nan values in its {number}th "
                    f"output; it was called in {place}"
                )
        return gradients

    return run


def _has_nan(gradient: Gradient | None) -> bool:
    if gradient is None:
        return False
    if isinstance(gradient, Deferred):
        array = gradient.array()
    elif isinstance(gradient, Tensor):
        array = gradient._array
    else:
        array = gradient
    return bool(np.isnan(array).any())


class set_detect_anomaly:
    """Switches the search for NaN in gradients on or off in all threads: a call or a ``with`` block.

    While it is on, backward raises RuntimeError at the first gradient with a NaN, with the Function and the
    line that called it. Compiled steps run eagerly then.

    >>> import ranvier as rv
    >>> x = rv.zeros(1, requires_grad=True)
    >>> with rv.autograd.set_detect_anomaly(True):
    ...     try:
    ...         (x.sqrt() * 0).sum().backward()
    ...     except RuntimeError as error:
    ...         print(str(error).partition(";")[0])
    [backward] Function 'Sqrt' returned nan values in its 0th output
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (anomaly.on, anomaly.searches)
        self._wanted = (bool(mode), bool(check_nan))
        self.__enter__()

    def __enter__(self) -> None:
        was_on = anomaly.on
        anomaly.on, anomaly.searches = self._wanted
        if anomaly.on and not was_on:
            _places.__enter__()
        elif was_on and not anomaly.on:
            _places.__exit__()

    def __exit__(self, *error: object) -> None:
        self._wanted = self._before  # leaving is entering with the state from before
        set_detect_anomaly.__enter__(self)


class detect_anomaly(set_detect_anomaly):
    """A ``with`` block of :class:`set_detect_anomaly`.

    >>> import ranvier as rv
    >>> x = rv.ones(1, requires_grad=True)
    >>> with rv.autograd.detect_anomaly():
    ...     x.sqrt().backward()
    """

    def __init__(self, check_nan: bool = True) -> None:
        # As the base class, but without entering the block.
        self._before = (anomaly.on, anomaly.searches)
        self._wanted = (True, bool(check_nan))
