"""Jacobians, Hessians and their products with vectors, with the arguments of ``torch.autograd.functional``.

``func`` gets the inputs, a Tensor or a tuple of Tensors, and returns a Tensor or a tuple of them. If inputs
or outputs are a tuple, so is the result. The results are off the tape unless ``create_graph`` is set.
``strict``: outputs and gradients that do not depend on an input raise RuntimeError; else they are 0.
:mod:`ranvier.func` has the same as functions of functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ranvier.autograd.differentiated_call import DifferentiatedCall
from ranvier.autograd.trees import Tensors
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor, wrap

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_Function: TypeAlias = Callable[..., Tensor | Tensors]
_Inputs: TypeAlias = Tensor | Tensors


class _FinishedCall(DifferentiatedCall):
    """A differentiated call which calls the function as its block begins."""

    keeps_class = True

    def __init__(self, name: str, func: _Function, inputs: _Inputs, create_graph: bool, strict: bool) -> None:
        if isinstance(inputs, list):
            inputs = tuple(inputs)
        super().__init__(name, inputs, keep_history=create_graph, strict=strict)
        self.func = func

    def __enter__(self) -> Self:
        super().__enter__()
        arguments = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        try:
            self.run(self.func, arguments)
        except BaseException:
            self.__exit__()
            raise
        return self


def vjp(
    func: _Function,
    inputs: _Inputs,
    v: Tensor | Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """(func(inputs), v J) for the Jacobian J; v: like the outputs, not needed for one number.

    >>> import ranvier as rv
    >>> rv.autograd.functional.vjp(lambda x: x**2, rv.tensor([1.0, 2.0]), rv.tensor([3.0, 1.0]))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    with _FinishedCall("vjp", func, inputs, create_graph, strict) as call:
        vs = call.require_vectors(v, call.ys, "the outputs")
        products = call.gradients(call.ys, call.xs, vs)
        return call.release_outputs(), call.release_derivatives(products)


def jvp(
    func: _Function,
    inputs: _Inputs,
    v: Tensor | Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """(func(inputs), J v) for the Jacobian J; v: like the inputs, not needed for one number.

    u J is linear in u: J v is its gradient by u.

    >>> import ranvier as rv
    >>> rv.autograd.functional.jvp(lambda x: x**2, rv.tensor([1.0, 2.0]), rv.tensor([3.0, 1.0]))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    with _FinishedCall("jvp", func, inputs, create_graph, strict) as call:
        outputs = call.release_outputs()
        vs = call.require_vectors(v, call.xs, "the inputs")
        return outputs, call.jacobian_vector_product(vs)


def hvp(
    func: _Function,
    inputs: _Inputs,
    v: Tensor | Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """(func(inputs), H v) for the Hessian H of a function with one number as result; v: like the inputs.

    >>> import ranvier as rv
    >>> rv.autograd.functional.hvp(lambda x: (x**3).sum(), rv.tensor([1.0, 2.0]), rv.tensor([1.0, 0.5]))
    (tensor(9.), tensor([6., 6.]))
    """
    with _FinishedCall("hvp", func, inputs, create_graph, strict) as call:
        y = call.require_one_number()
        one = wrap(filled_like(1, y._array))
        slopes = call.gradients((y,), call.xs, (one,), records=True)
        vs = call.require_vectors(v, call.xs, "the inputs")
        products = call.gradients(slopes, call.xs, vs)
        return call.release_outputs(), call.release_derivatives(products)


vhp = hvp  # H is symmetric


def jacobian(
    func: _Function,
    inputs: _Inputs,
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
    with _FinishedCall("jacobian", func, inputs, create_graph, strict) as call:
        # Only rows show which input an output does not depend on.
        return call.jacobian_tree(columns=not strict)


def hessian(
    func: _Function,
    inputs: _Inputs,
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
    with _FinishedCall("hessian", func, inputs, create_graph, strict) as call:
        call.require_one_number()
        return call.hessian_tree()
