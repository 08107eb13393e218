"""Jacobians, Hessians and their products with vectors, with the arguments of ``torch.autograd.functional``.

``func`` gets the inputs, a Tensor or a tuple of Tensors, and returns a Tensor or a tuple of them. If inputs
or outputs are a tuple, so is the result. The results are off the tape unless ``create_graph`` is set.
``strict``: outputs and gradients that do not depend on an input raise RuntimeError; else they are 0.
:mod:`ranvier.func` has the same as functions of functions.
"""

from __future__ import annotations

from typing import Any

from ranvier.autograd.level import Level
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import wrap

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


class _Called(Level):
    """A level in which func has been called."""

    keeps_class = True

    def __init__(self, name: str, func: Any, inputs: Any, create_graph: bool, strict: bool) -> None:
        super().__init__(name, tuple(inputs) if isinstance(inputs, list) else inputs, create_graph, strict)
        self.func = func

    def __enter__(self) -> _Called:
        super().__enter__()
        try:
            self.call(self.func, self.inputs if isinstance(self.inputs, tuple) else (self.inputs,))
        except BaseException:
            self.__exit__()
            raise
        return self


def vjp(func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(func(inputs), v J) for the Jacobian J; v: like the outputs, not needed for one number.

    >>> import ranvier as rv
    >>> rv.autograd.functional.vjp(lambda x: x**2, rv.tensor([1.0, 2.0]), rv.tensor([3.0, 1.0]))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    with _Called("vjp", func, inputs, create_graph, strict) as level:
        slopes = level.gradients(level.ys, level.xs, level.vectors(v, None, level.ys, "the outputs"))
        return level.results(), level._tree(slopes)


def jvp(func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(func(inputs), J v) for the Jacobian J; v: like the inputs, not needed for one number.

    u J is linear in u: J v is its gradient by u.

    >>> import ranvier as rv
    >>> rv.autograd.functional.jvp(lambda x: x**2, rv.tensor([1.0, 2.0]), rv.tensor([3.0, 1.0]))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    with _Called("jvp", func, inputs, create_graph, strict) as level:
        return level.results(), level.pushed(level.vectors(v, None, level.xs, "the inputs"))


def hvp(func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(func(inputs), H v) for the Hessian H of a function with one number as result; v: like the inputs.

    >>> import ranvier as rv
    >>> rv.autograd.functional.hvp(lambda x: (x**3).sum(), rv.tensor([1.0, 2.0]), rv.tensor([1.0, 0.5]))
    (tensor(9.), tensor([6., 6.]))
    """
    with _Called("hvp", func, inputs, create_graph, strict) as level:
        y = level.number()
        slopes = level.gradients((y,), level.xs, (wrap(filled_like(1, y._array)),), True)
        products = level.gradients(slopes, level.xs, level.vectors(v, None, level.xs, "the inputs"))
        return level.results(), level._tree(products)


vhp = hvp  # H is symmetric


def jacobian(
    func: Any,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """J[..., ...], the derivative of each output by each input: (*shape of output, *shape of input).

    If the outputs are a tuple, the result is a tuple over them; if the inputs are a tuple, each of its items
    is a tuple over the inputs. It costs one backward for each element of the outputs: vectorize changes
    nothing. Raises ValueError for another strategy.

    >>> import ranvier as rv
    >>> rv.autograd.functional.jacobian(lambda x: x**2, rv.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy != "reverse-mode":
        raise OpError(f"[jacobian] got strategy {strategy!r}; expected 'reverse-mode'")
    with _Called("jacobian", func, inputs, create_graph, strict) as level:
        return level.jacobians(columns=not strict)


def hessian(
    func: Any,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """H[..., ...], the second derivatives of a function with one number as result, for each two inputs:
    (*shape of the first, *shape of the second). Settings as of :func:`jacobian`.

    >>> import ranvier as rv
    >>> rv.autograd.functional.hessian(lambda x: x[0] ** 2 * x[1], rv.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    if outer_jacobian_strategy != "reverse-mode":
        raise OpError(
            f"[hessian] got outer_jacobian_strategy {outer_jacobian_strategy!r}; expected 'reverse-mode'"
        )
    with _Called("hessian", func, inputs, create_graph, strict) as level:
        level.number()
        return level.hessians()
