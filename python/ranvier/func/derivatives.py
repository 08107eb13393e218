"""Functions that return derivatives of functions: gradients, products with Jacobians, Jacobians, Hessians.

Each calls the function once in a `DifferentiatedCall` (autograd/differentiated_call.py), a block with a
separate tape. Derivatives in reverse come from backward on this tape; derivatives forward from a walk along
it (forward_call.py).

Inputs and outputs may be nested tuples, lists and dicts of Tensors. The results can be differentiated again
in two cases: inside another of these functions, and if they depend on something outside that requires
gradients and recording is on there. ``no_grad`` inside the function holds; around the call it only keeps the
results off the tape. No ``.grad`` and no ``requires_grad`` of an input changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from ranvier.autograd.differentiated_call import CallByArgnums, DifferentiatedCall
from ranvier.autograd.trees import Tensors, TensorTree, replace_values
from ranvier.func.forward import node_or_leaf, sort_nodes
from ranvier.func.forward_call import jacobian_by_columns, jacobian_vector_product
from ranvier.func.reverse_rows import jacobian_by_rows
from ranvier.grad_mode import mode
from ranvier.tensors.batched import SlicesError
from ranvier.tensors.failures import OpError

_Argnums: TypeAlias = int | tuple[int, ...]
_Function: TypeAlias = Callable[..., Any]

_LEAST_ROWS = 8  # of all outputs; with fewer, one backward for each takes less time


def grad_and_value(func: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> _Function:
    """A function that returns (the gradients, the value) of func, whose result is one number.

    argnums: the number of the argument to differentiate by, or a tuple of numbers; the gradients have the
    structure of these arguments.
    has_aux: func returns (output, aux), and the result is (gradients, (output, aux)).

    Raises TypeError for inputs and outputs that are no floating Tensors, ValueError for an argnum that is no
    place, RuntimeError for an output of several elements.

    >>> import ranvier as rv
    >>> rv.func.grad_and_value(lambda p: (p["a"] ** 2).sum())({"a": rv.tensor([1.0, 2.0])})
    ({'a': tensor([2., 4.])}, tensor(5.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with CallByArgnums("grad", args, argnums) as call:
            aux = call.run(func, call.arguments(), kwargs, has_aux)
            gradients = replace_values(call.inputs, call.gradients_of_number())
            value = call.release_outputs()
        if has_aux:
            return gradients, (value, aux)
        return gradients, value

    return wrapper


def grad(func: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> _Function:
    """A function that returns the gradients of func, or (gradients, aux): see :func:`grad_and_value`.

    >>> import ranvier as rv
    >>> rv.func.grad(rv.func.grad(rv.sin))(rv.tensor(1.0)) == -rv.sin(rv.tensor(1.0))
    tensor(True)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        if has_aux:
            _, aux = value
            return gradients, aux
        return gradients

    return wrapper


def vjp(func: _Function, *primals: TensorTree, has_aux: bool = False) -> Any:
    """(func(*primals), f). f(v) = v J, for the Jacobian J at the primals, is a tuple with a part for each
    primal.

    v has the structure of the output. With has_aux: (output, f, aux). f can be called again, unless it was
    called with retain_graph=False. Raises RuntimeError for a v of another structure or shape.

    >>> import ranvier as rv
    >>> y, pull = rv.func.vjp(lambda x: (x**2, x.sum()), rv.tensor([1.0, 2.0]))
    >>> pull((rv.tensor([3.0, 1.0]), rv.tensor(1.0)))
    (tensor([7., 5.]),)
    """
    with DifferentiatedCall("vjp", primals) as call:
        aux = call.run(func, call.inputs, None, has_aux)
        value = call.release_outputs()

    # f runs after the block of `call`, whose tape is still there; recording is then as the caller has set it.
    def f(cotangents: TensorTree, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        vs = call.require_vectors(cotangents, call.ys, "the outputs", call.outputs)
        if create_graph is None:
            records = mode.enabled and call.records_weighted(vs)
        else:
            records = create_graph
        products = call.gradients(call.ys, call.xs, vs, records, retain_graph)
        if records:
            return replace_values(call.inputs, map(call.release, products))
        return replace_values(call.inputs, [product.detach() for product in products])

    if has_aux:
        return value, f, aux
    return value, f


class _ForwardCall(DifferentiatedCall):
    keeps_class = True  # as PyTorch's function: see DifferentiatedCall


def jvp(
    func: _Function,
    primals: tuple[TensorTree, ...],
    tangents: tuple[TensorTree, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """(func(*primals), J v) for the Jacobian J and the tangents v, a tuple like the primals.

    Computed forward, along the tape of one call. If an op has no forward rule (docs/physics.md), computed in
    reverse: u J is linear in u, and J v is the gradient of u J by u. Then every op must have second
    derivatives (else NotImplementedError), and the cost is that of two gradients. With has_aux: (output, J v,
    aux).
    strict: an output that does not depend on the primals raises RuntimeError.

    >>> import ranvier as rv
    >>> rv.func.jvp(lambda x: x**2, (rv.tensor([1.0, 2.0]),), (rv.tensor([3.0, 1.0]),))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple):
            raise TypeError(f"[jvp] got {name} of type {type(value).__name__}; expected a tuple")
    if not primals:
        raise OpError("[jvp] got no primals; expected at least one")
    with _ForwardCall("jvp", primals, strict=strict) as call:
        vs = call.require_vectors(tangents, call.xs, "the primals", call.inputs)
        aux = call.run(func, call.inputs, None, has_aux)
        call.strict = False  # strict concerns outputs only (checked in `run`): a primal may be unused
        try:
            product = jacobian_vector_product(call, vs)
        except NotImplementedError:  # an op without a forward rule
            if _must_go_forward(call, call.ys):
                raise
            product = call.jacobian_vector_product(vs)
        value = call.release_outputs()
    if has_aux:
        return value, product, aux
    return value, product


def _must_go_forward(call: DifferentiatedCall, ys: Tensors) -> bool:
    """True if some node's backward is not the derivative of its forward, as of embeddings with padding_idx:
    then J v cannot be computed in reverse."""
    sources = [node_or_leaf(x) for x in call.xs]
    return any(getattr(node, "is_apart", False) for node in sort_nodes(ys, sources))


def jacrev(
    func: _Function, argnums: _Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> _Function:
    """A function that returns the Jacobians of func, (*shape of output, *shape of input): in the structure of
    the output, for each Tensor there in the structure of the input.

    It costs one forward and, for each output, one backward for all its elements; one for each element if the
    outputs have fewer than eight, or an op has no batching rule. If the inputs have no more elements than the
    outputs, the derivatives by all of them are carried forward instead, where every op has a forward rule
    (docs/physics.md) and no hook is to get a gradient. chunk_size, of PyTorch's batches of rows, changes
    nothing. argnums, has_aux: as of :func:`grad_and_value`.

    >>> import ranvier as rv
    >>> rv.func.jacrev(lambda x, w: x**2 * w)(rv.tensor([1.0, 2.0]), 3.0)
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if chunk_size is not None and not (isinstance(chunk_size, int) and chunk_size > 0):
        raise OpError(f"[jacrev] got chunk_size {chunk_size!r}; expected a positive int or None")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with CallByArgnums("jacobian", args, argnums) as call:
            aux = call.run(func, call.arguments(), kwargs, has_aux)
            derivatives = _jacobian(call, call.ys, call.records_derivatives, prefers_forward=False)
            jacobians = call.tree_of_jacobian(derivatives)
        if has_aux:
            return jacobians, aux
        return jacobians

    return wrapper


def jacfwd(
    func: _Function, argnums: _Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> _Function:
    """The same result as :func:`jacrev`, computed forward: func is called once, and for each input
    derivatives by all its elements together are carried along the tape. Computed as by jacrev if the outputs
    have less than half as many elements as the inputs, or if an op has no forward rule (docs/physics.md).
    randomness, of PyTorch's vmap, changes nothing.

    >>> import ranvier as rv
    >>> rv.func.jacfwd(lambda x: x**2)(rv.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = CallByArgnums("jacobian", args, argnums)
        call.keeps_class = True
        with call:
            aux = call.run(func, call.arguments(), kwargs, has_aux)
            derivatives = _jacobian(call, call.ys, call.records_derivatives, prefers_forward=True)
            jacobians = call.tree_of_jacobian(derivatives)
        if has_aux:
            return jacobians, aux
        return jacobians

    return wrapper


def _jacobian(call: DifferentiatedCall, ys: Tensors, records: bool, prefers_forward: bool) -> list[Tensors]:
    """The derivatives of ys by the inputs of a call: forward or in reverse, whichever takes fewer passes.

    prefers_forward: computed forward, unless ys have less than half as many elements as the inputs, and where
    reverse gives other values (`_must_go_forward`). Else it is computed forward if ys have at least as many
    elements as the inputs, and reverse gives the same.
    """
    must_go_forward = _must_go_forward(call, ys)
    counts_of_inputs = [x.numel() for x in call.xs]
    count_of_outputs = sum(y.numel() for y in ys)
    has_empty_input = 0 in counts_of_inputs or not counts_of_inputs
    if prefers_forward:
        goes_forward = must_go_forward or sum(counts_of_inputs) <= 2 * count_of_outputs
    else:
        goes_forward = sum(counts_of_inputs) <= count_of_outputs
        goes_forward = goes_forward and not must_go_forward and not _has_hooks(call, ys)
    if has_empty_input:
        return call.jacobian(ys, records)
    if goes_forward:
        try:
            return jacobian_by_columns(call, ys, records)
        except NotImplementedError:  # an op without a forward rule
            if prefers_forward and must_go_forward:
                raise
    if count_of_outputs >= _LEAST_ROWS and not _has_hooks(call, ys):
        try:
            return jacobian_by_rows(call, ys, records)
        except (NotImplementedError, SlicesError):
            pass  # an op without a rule of create_graph or of batching: one backward for each row is faster
    return call.jacobian(ys, records)


def _has_hooks(call: DifferentiatedCall, ys: Tensors) -> bool:
    """True if a hook would get a gradient in reverse."""
    sources = [node_or_leaf(x) for x in call.xs]
    return any(node.hooks for node in sort_nodes(ys, sources))


class _CallOfHessian(CallByArgnums):
    def jacobian_of_slopes(self, slopes: Tensors) -> list[Tensors]:
        return _jacobian(self, slopes, self.records_derivatives, prefers_forward=False)


def hessian(func: _Function, argnums: _Argnums = 0) -> _Function:
    """A function that returns the second derivatives of func, as jacfwd(jacrev(func, argnums), argnums) does.

    For one number as output it costs a gradient, and a pass along its tape that carries the derivatives by
    all elements of the inputs forward, where every op has a forward rule.

    >>> import ranvier as rv
    >>> rv.func.hessian(lambda x: x[0] ** 2 * x[1])(rv.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _CallOfHessian("hessian", args, argnums) as call:
            call.run(func, call.arguments(), kwargs)
            return call.hessian_tree()

    return wrapper
