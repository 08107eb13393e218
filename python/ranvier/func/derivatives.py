"""Functions that return derivatives of functions: gradients, Jacobians, Hessians, Taylor series, Laplacians.

Each calls the function once in a `Level` (autograd/level.py), a block with a tape of its own. Derivatives in
reverse come from backward on this tape; derivatives forward from a walk along it (`pushed` in
func/forward.py).

Inputs and outputs may be nested tuples, lists and dicts of Tensors. The results can be differentiated again
in two cases: inside another of these functions, and if they depend on something outside that requires
gradients and recording is on there. ``no_grad`` inside the function holds; around the call it only keeps the
results off the tape. No ``.grad`` and no ``requires_grad`` of an input changes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

import ranvier.func.forward_rules  # noqa: F401  # fills the table
from ranvier.autograd.level import Level, level_of, like
from ranvier.func.forward import Form, Laplacian, Rows, Tangents, Taylor, key, order, pushed
from ranvier.grad_mode import mode, no_grad
from ranvier.ops import stack, unbind
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import filled_like, keep
from ranvier.tensors.tensor import Tensor, wrap

_Argnums = int | tuple[int, ...]
_Function = Callable[..., Any]


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
        level, inside = level_of("grad", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            gradients = like(level.inputs, level.slopes())
            value = level.results()
        return gradients, (value, aux) if has_aux else value

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
            return (gradients, value[1])
        return gradients

    return wrapper


def vjp(func: _Function, *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), f). f(v) = v J, for the Jacobian J at the primals, is a tuple with a part for each
    primal.

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
        if create_graph is None:
            history = mode.enabled and level.weighted(vs)
        else:
            history = create_graph
        gradients = level.gradients(level.ys, level.xs, vs, history, retain_graph)
        return like(level.inputs, [level.result(g) if history else g.detach() for g in gradients])

    if has_aux:
        return (value, f, aux)
    return (value, f)


class _Forward(Level):
    keeps_class = True


def jvp(func: _Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
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
    with _Forward("jvp", primals, strict=strict) as level:
        vs = level.vectors(tangents, level.inputs, level.xs, "the primals")
        aux = level.call(func, level.inputs, None, has_aux)
        level.strict = False  # strict concerns outputs only (checked in `call`): a primal may be unused
        try:
            tangents = first_derivatives(level, vs)
        except NotImplementedError:  # an op without a forward rule
            if _only_forward(level):
                raise
            tangents = level.pushed(vs)
        results = level.results(), tangents
    if has_aux:
        return (*results, aux)
    return results


def _only_forward(level: Level) -> bool:
    """True if some node's backward is not the derivative of its forward, as of embeddings with padding_idx:
    then J v cannot be computed in reverse."""
    return any(getattr(node, "is_apart", False) for node in order(level.ys, map(key, level.xs)))


def jacrev(
    func: _Function, argnums: _Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> _Function:
    """A function that returns the Jacobians of func, (*shape of output, *shape of input): in the structure of
    the output, for each Tensor there in the structure of the input.

    It costs one forward, and one backward for each element of the outputs. If the inputs have less than half
    as many elements as the outputs, and all ops have second derivatives, it costs two backwards for each
    element of the inputs instead. chunk_size, of PyTorch's batches of rows, changes nothing. argnums,
    has_aux: as of :func:`grad_and_value`.

    >>> import ranvier as rv
    >>> rv.func.jacrev(lambda x, w: x**2 * w)(rv.tensor([1.0, 2.0]), 3.0)
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if chunk_size is not None and not (isinstance(chunk_size, int) and chunk_size > 0):
        raise OpError(f"[jacrev] got chunk_size {chunk_size!r}; expected a positive int or None")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("jacobian", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            jacobians = level.jacobians()
        if has_aux:
            return (jacobians, aux)
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
        level, inside = level_of("jacobian", argnums, args)
        level.keeps_class = True
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            counts = [x.numel() for x in level.xs]
            of_outputs = sum(y.numel() for y in level.ys)
            only = _only_forward(level)
            forward = min(counts, default=0) > 0 and (only or sum(counts) <= 2 * of_outputs)
            try:
                jacobians = jacobian_columns(level) if forward else level.jacobians()
            except NotImplementedError:  # an op without a forward rule
                if only:
                    raise
                jacobians = level.jacobians()
        if has_aux:
            return (jacobians, aux)
        return jacobians

    return wrapper


def hessian(func: _Function, argnums: _Argnums = 0) -> _Function:
    """A function that returns the second derivatives of func, as jacfwd(jacrev(func, argnums), argnums) does.

    For one number as output it costs a gradient, and one backward on its tape for each element of the inputs.

    >>> import ranvier as rv
    >>> rv.func.hessian(lambda x: x[0] ** 2 * x[1])(rv.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("hessian", argnums, args)
        with level:
            level.call(func, inside(), kwargs)
            return level.hessians()

    return wrapper


MAX_ORDER = 15  # the most derivatives of `jet`: kMaxJetOrder of the kernel (cpp/kernels/jet/jet.h)


def jet(func: Callable[..., Any], primals: Any, series: Any) -> Any:
    """(y, [y', y'', ...]): the derivatives of func along a curve x(s) through the primals, as
    ``jax.experimental.jet`` gives them.

    primals: a tuple of Tensors x(0), the arguments of func. series: a tuple with a sequence [x', x'', ...]
    for each, of the same length from 1 to 15: derivatives by s at 0 (not divided by factorials), Tensors of
    the shape of x or numbers. So jet(f, (x,), ((1.0, 0.0, 0.0),)) gives f', f'' and f''' of a function of
    each element. y has the structure that func returns, and so has the second result, with a list for each
    Tensor.

    The function runs once, and all orders go along its tape together: a Linear is one product of
    (order * n) rows. The results are differentiable by weights and arguments.

    Raises TypeError for other arguments, ValueError for other lengths and shapes, NotImplementedError for
    ops without a forward rule (docs/physics.md).

    Source: Griewank and Walther, "Evaluating Derivatives" (2008), chapter 13.

    >>> import ranvier as rv
    >>> rv.func.jet(lambda x: x**3, (rv.tensor([2.0]),), ((1.0, 0.0, 0.0),))
    (tensor([8.]), [tensor([12.]), tensor([12.]), tensor([6.])])
    """
    if not (isinstance(primals, tuple) and isinstance(series, tuple) and primals):
        got = type(primals).__name__, type(series).__name__
        raise TypeError(
            f"[jet] got primals and series of types {got[0]} and {got[1]}; expected tuples, with "
            "at least one primal"
        )
    orders = [len(s) if isinstance(s, (tuple, list)) else -1 for s in series]
    if len(series) != len(primals) or len({*orders}) != 1 or not 1 <= orders[0] <= MAX_ORDER:
        raise OpError(
            f"[jet] got {len(primals)} primals and series of lengths {orders}; expected for each a "
            f"list of as many derivatives, 1 to {MAX_ORDER}"
        )
    with Level("jet", primals) as level:
        pairs = zip(level.xs, series, strict=True)
        rows = [[_term(x, value, k) for k, value in enumerate(values, 1)] for x, values in pairs]
        level.call(func, level.inputs)
        form = Taylor(orders[0])
        vs = tuple(row for of_one in rows for row in of_one)
        ts = derived(level, form, vs, lambda: [stack(of_one) for of_one in rows])
        lists = []
        for y, t in zip(level.ys, ts, strict=True):
            parts = [wrap(filled_like(0, y._array))] * orders[0] if t is None else unbind(t)
            lists.append([level.result(_scaled(part, k)) for k, part in enumerate(parts, 1)])
        return level.results(), like(level.outputs, lists)


def _term(x: Tensor, value: Any, k: int) -> Tensor:
    """The Taylor coefficient of order k, value / k!, from the derivative `value` of order k of the curve
    x(s)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return wrap(filled_like(value / math.factorial(k), x._array))
    if not isinstance(value, Tensor):
        raise TypeError(f"[jet] got {type(value).__name__} in series; expected Tensors or numbers")
    if value.shape != x.shape or value.dtype != x.dtype:
        raise OpError(
            f"[jet] got a derivative of shape {tuple(value.shape)} and {value.dtype} of a primal of "
            f"{tuple(x.shape)} and {x.dtype}; expected the same"
        )
    if k == 1:
        return value
    return value / math.factorial(k)


def _scaled(t: Tensor, k: int) -> Tensor:
    if k == 1:
        return t
    return t * float(math.factorial(k))


def derived(
    level: Level, form: Form, vs: tuple[Tensor, ...], seeds: Callable[[], list[Tensor]]
) -> list[Rows]:
    """The rows (func/forward.py) of the outputs of a level. seeds: a function that gives the rows of its
    inputs.
    vs: the Tensors from which the seeds are computed; they decide whether the derivatives are recorded."""
    block: AbstractContextManager[Any] = nullcontext() if level.weighted(vs) else no_grad()
    with block:
        sources = {key(x): t for x, t in zip(level.xs, seeds(), strict=True)}
        return pushed(level.name, form, level.ys, sources)


def first_derivatives(level: Level, vs: tuple[Tensor, ...]) -> Any:
    """J v, computed forward, in the structure of the outputs. vs: v, one Tensor for each input."""
    ts = derived(level, Taylor(1), vs, lambda: [v.unsqueeze(0) for v in vs])
    rows = [filled_like(0, y._array) if t is None else t for y, t in zip(level.ys, ts, strict=True)]
    return like(level.outputs, [level.result(t[0]) if isinstance(t, Tensor) else wrap(t) for t in rows])


def jacobian_columns(level: Level) -> Any:
    """As `level.jacobians()`, computed forward: one pass for each input, with a row for each of its
    elements."""
    of_outputs: list[list[Tensor]] = [[] for _ in level.ys]
    with nullcontext() if level.history else no_grad():
        for x in level.xs:
            units = wrap(keep(np.eye(x.numel(), dtype=x.dtype).reshape(x.numel(), *x.shape)))
            ts = pushed(level.name, Tangents(), level.ys, {key(x): units})
            for slopes, y, t in zip(of_outputs, level.ys, ts, strict=True):
                if t is None:
                    t = wrap(keep(np.zeros((x.numel(), *y.shape), x.dtype)))
                else:
                    t = t.to(x.dtype)
                slopes.append(t.movedim(0, -1).reshape(*y.shape, *x.shape))
    return like(level.outputs, [like(level.inputs, map(level.result, slopes)) for slopes in of_outputs])


def laplacian(func: Callable[..., Any], weights: Sequence[float] | None = None) -> Callable[..., Any]:
    """A function of x that returns (value, gradient, Laplacian) of func at each point.

    x (..., d) are points, value (...) is what func returns for them: each element must depend on the point
    of its row alone, as in a network that is applied to a batch. gradient (d, ...): gradient[i] is the
    derivative by x[..., i], so that ``u_t, u_x = gradient``. Laplacian (...): the sum over i of
    weights[i] d^2 / dx_i^2, weights all 1 by default; (0, 1) gives u_xx of (t, x), (1, -1) the wave operator.
    Further arguments are passed on to func.

    Gradient and Laplacian go through the network together, as d + 1 rows for each point: y = s(z) has
    grad y = s'(z) grad z and lap y = s'(z) lap z + s''(z) |grad z|^2. The results are differentiable by the
    weights of func.

    Raises TypeError for arguments that are no floating Tensors, ValueError for x without a dimension, for
    weights of another number, and for results of another shape; NotImplementedError for ops without a forward
    rule (docs/physics.md).

    Source: Li et al., "A computational framework for neural network-based variational Monte Carlo with
    Forward Laplacian" (2024).

    >>> import ranvier as rv
    >>> u = lambda x: x[:, 0] ** 2 * x[:, 1]
    >>> rv.func.laplacian(u)(rv.tensor([[1.0, 2.0]]))
    (tensor([2.]), tensor([[4.],
            [1.]]), tensor([4.]))
    """

    @functools.wraps(func)
    def wrapper(x: Any, *args: Any, **kwargs: Any) -> Any:
        with Level("laplacian", x) as level:
            (x,) = level.xs
            if x.ndim == 0:
                raise OpError("[laplacian] got x of shape (); expected (..., d), d variables")
            d = x.shape[-1]
            given = np.ones(d) if weights is None else np.asarray(weights)
            if given.shape != (d,) or given.dtype.kind not in "biuf":
                raise OpError(f"[laplacian] got weights {weights}; expected {d} numbers, one a variable")
            seeds = np.zeros((d + 1, *x.shape), x.dtype)
            for i in range(d):
                seeds[i, ..., i] = 1
            level.call(func, (level.inputs, *args), kwargs)
            form = Laplacian(keep(given.astype(x.dtype)))
            if any(y.shape[: x.ndim - 1] != x.shape[:-1] for y in level.ys):
                shapes = [tuple(y.shape) for y in level.ys]
                raise OpError(
                    f"[laplacian] got results of shapes {shapes} for x of {tuple(x.shape)}; expected a "
                    "value, or several, for each point"
                )
            results = []
            for y, t in zip(level.ys, derived(level, form, (), lambda: [wrap(keep(seeds))]), strict=True):
                if t is None:
                    t = wrap(keep(np.zeros((d + 1, *y.shape), y.dtype)))
                results.append((level.result(t[:-1]), level.result(t[-1])))
            gradients, laplacians = zip(*results, strict=True)
            return level.results(), like(level.outputs, gradients), like(level.outputs, laplacians)

    return wrapper
