"""Gradients, Jacobians and Hessians of functions, as functions.

Inputs and outputs may be nested tuples, lists and dicts of Tensors. The results can be differentiated again
where that is wanted: inside another of these functions, or where something that requires gradients leads to
them and recording is on outside. ``no_grad`` inside the function holds; around the call it only keeps the
results off the tape. No ``.grad`` and no ``requires_grad`` of an input changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ranvier.autograd.failures import OpError
from ranvier.autograd.level import Level, level_of, like
from ranvier.autograd.mode import mode
from ranvier.func.jets import first_derivatives, jacobian_columns
from ranvier.ops.rows import examples

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "vjp"]

_Argnums = int | tuple[int, ...]
_Function = Callable[..., Any]


def grad_and_value(func: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> _Function:
    """A function that returns (the gradients, the value) of func, whose result is one number.

    argnums: the argument, or a tuple of arguments, to differentiate by; the gradients have its structure.
    has_aux: func returns (output, aux), and the result is (gradients, (output, aux)).

    Raises TypeError for inputs and outputs that are no floating Tensors, ValueError for an argnum that is no
    place, RuntimeError for an output of several elements.
    | rv.func.grad_and_value(lambda p: (p["a"] ** 2).sum())({"a": rv.tensor([1.0, 2.0])})
    -> ({'a': tensor([2., 4.])}, tensor(5.))"""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("grad", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            gradients, value = like(level.inputs, level.slopes()), level.results()
        return gradients, (value, aux) if has_aux else value

    return wrapper


def grad(func: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> _Function:
    """A function that returns the gradients of func, or (gradients, aux): see :func:`grad_and_value`.
    | rv.func.grad(rv.func.grad(rv.sin))(rv.tensor(1.0)) == -rv.sin(rv.tensor(1.0)) -> tensor(True)"""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return wrapper


def vjp(func: _Function, *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), f) with f(v) = v J for the Jacobian J there: a tuple with one part for each primal.

    v has the structure of the output. With has_aux: (output, f, aux). f can be called again, unless it was
    called with retain_graph=False. Raises RuntimeError for a v of another structure or shape.

    >>> import ranvier as rv
    >>> y, pull = rv.func.vjp(lambda x: (x**2, x.sum()), rv.tensor([1.0, 2.0]))
    >>> pull((rv.tensor([3.0, 1.0]), rv.tensor(1.0)))
    (tensor([7., 5.]),)
    """
    level = Level("vjp", primals)
    with level:
        aux = level.call(func, level.inputs, None, has_aux)
        value = level.results()

    def f(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        vs = level.vectors(cotangents, level.outputs, level.ys, "the outputs")
        history = mode.enabled and level.weighted(vs) if create_graph is None else create_graph
        gradients = level.gradients(level.ys, level.xs, vs, history, retain_graph)
        return like(level.inputs, [level.result(g) if history else g.detach() for g in gradients])

    return (value, f, aux) if has_aux else (value, f)


def jvp(func: _Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """(func(*primals), J v) for the Jacobian J and the tangents v, a tuple like the primals.

    Computed forward, along the tape of one call. Where an op has no forward rule (docs/physics.md), in
    reverse: u J is linear in u, and J v is its gradient by u; then every op must have second derivatives
    (else NotImplementedError), and the cost is that of two gradients. With has_aux: (output, J v, aux).
    strict: an output that does not depend on the primals raises RuntimeError.
    | rv.func.jvp(lambda x: x**2, (rv.tensor([1.0, 2.0]),), (rv.tensor([3.0, 1.0]),))
    -> (tensor([1., 4.]), tensor([6., 4.]))"""
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple):
            raise TypeError(f"[jvp] got {name} of type {type(value).__name__}; expected a tuple")
    if not primals:
        raise OpError("[jvp] got no primals; expected at least one")
    with Level("jvp", primals, strict=strict) as level:
        vs = level.vectors(tangents, level.inputs, level.xs, "the primals")
        aux = level.call(func, level.inputs, None, has_aux)
        level.strict = False  # of outputs alone: a primal may be without use
        try:
            tangents = first_derivatives(level, vs)
        except NotImplementedError:  # an op without a forward rule
            tangents = level.pushed(vs)
        results = level.results(), tangents
    return (*results, aux) if has_aux else results


def jacrev(
    func: _Function, argnums: _Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> _Function:
    """A function that returns the Jacobians of func, (*shape of output, *shape of input): in the structure of
    the output, for each Tensor there in the structure of the input.

    It costs one forward and one backward for each element of the outputs; where the inputs have less than
    half as many elements, two for each of these, if all ops have second derivatives. chunk_size, of PyTorch's
    batches of rows, changes nothing. argnums, has_aux: as of :func:`grad_and_value`.
    | rv.func.jacrev(lambda x, w: x**2 * w)(rv.tensor([1.0, 2.0]), 3.0) -> tensor([[ 6.,  0.], [ 0., 12.]])"""
    if chunk_size is not None and not (isinstance(chunk_size, int) and chunk_size > 0):
        raise OpError(f"[jacrev] got chunk_size {chunk_size!r}; expected a positive int or None")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("jacobian", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            jacobians = level.jacobians()
        return (jacobians, aux) if has_aux else jacobians

    return wrapper


def jacfwd(
    func: _Function, argnums: _Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> _Function:
    """The same as :func:`jacrev`, forward: one pass along the tape of one call for each input, with all its
    elements together. As jacrev where the outputs have less than half as many elements as the inputs, and
    where an op has no forward rule (docs/physics.md). randomness, of PyTorch's vmap, changes nothing.
    | rv.func.jacfwd(lambda x: x**2)(rv.tensor([1.0, 2.0])) -> tensor([[2., 0.], [0., 4.]])"""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("jacobian", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            counts, of_outputs = [x.numel() for x in level.xs], sum(y.numel() for y in level.ys)
            forward = min(counts, default=0) > 0 and sum(counts) <= 2 * of_outputs
            try:
                jacobians = jacobian_columns(level) if forward else level.jacobians()
            except NotImplementedError:  # an op without a forward rule
                jacobians = level.jacobians()
        return (jacobians, aux) if has_aux else jacobians

    return wrapper


def hessian(func: _Function, argnums: _Argnums = 0) -> _Function:
    """A function that returns the second derivatives of func, as jacfwd(jacrev(func, argnums), argnums) does.

    For one number as output it costs a gradient, and one backward on its tape for each element of the inputs.
    | rv.func.hessian(lambda x: x[0] ** 2 * x[1])(rv.tensor([1.0, 2.0])) -> tensor([[4., 2.], [2., 0.]])"""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("hessian", argnums, args)
        with level:
            level.call(func, inside(), kwargs)
            return level.hessians()

    return wrapper


examples(globals())
