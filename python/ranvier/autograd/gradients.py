"""Gradients as values: PyTorch's ``autograd.grad`` (here `gradients`) and ``autograd.backward``; and the
check of gradients against central differences in float64: `gradcheck` and `gradgradcheck`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ranvier.grad_mode import enable_grad
from ranvier.tape.backpropagation import root_gradient, run, targets
from ranvier.tape.higher_order import Rows, separate
from ranvier.tape.nodes import GradientEdge
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import Array, copied, filled_like, in_dtype
from ranvier.tensors.tensor import Tensor, wrap


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] | dict[Any, Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of the outputs (weighted by grad_outputs, summed) with respect to each input: a tuple, or
    for a dict of inputs a dict with its keys.

    Public as ``ranvier.autograd.grad``. No ``.grad`` is changed, and no gradient of other leaves is computed.

    retain_graph: keeps what forward saved, so that grad can be called again; None: as create_graph.
    create_graph: records the computation, so that the gradients can be differentiated again. Raises
        NotImplementedError where an op cannot be differentiated twice.
    allow_unused: the gradient of an input that was not used is None; else RuntimeError.
    materialize_grads: zeros in place of that None.
    is_grads_batched: grad_outputs have one more dimension, the first, and so have the results; one backward
        runs for each index of this dimension. only_inputs: True; False raises ValueError.

    >>> import ranvier as rv
    >>> x = rv.tensor(2.0, requires_grad=True)
    >>> (slope,) = rv.autograd.grad(x**3, x, create_graph=True)
    >>> slope.item(), rv.autograd.grad(slope, x)
    (12.0, (tensor(12.),))
    """
    if not only_inputs:
        raise OpError("[grad] got only_inputs=False; expected True: call backward() for other gradients")
    if materialize_grads and allow_unused is False:
        raise OpError("[grad] got allow_unused=False with materialize_grads=True; expected True or None")
    if isinstance(inputs, dict):
        settings = (retain_graph, create_graph, True, allow_unused, is_grads_batched, materialize_grads)
        found = gradients(outputs, list(inputs.values()), grad_outputs, *settings)
        return dict(zip(inputs, found, strict=True))
    if isinstance(outputs, Tensor):
        outputs = [outputs]
    else:
        outputs = _listed("grad", "outputs", outputs)
    is_one = isinstance(inputs, (Tensor, GradientEdge))
    inputs = [inputs] if is_one else _listed("grad", "inputs", inputs)  # type: ignore[list-item]
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, np.ndarray)):
        grad_outputs = [grad_outputs] * len(outputs)
    if is_grads_batched:
        others = (create_graph, True, allow_unused, False, materialize_grads)
        return _batched(outputs, inputs, grad_outputs, retain_graph, *others)
    for x in inputs:
        if not x._requires_grad:
            raise RuntimeError("[grad] one of the inputs does not require grad")
    weighted = zip(outputs, grad_outputs, strict=True)
    roots = [(y, root_gradient("grad", y, dy, create_graph)) for y, dy in weighted]
    nodes = [x if x._grad_fn is None else x._grad_fn for x in inputs]
    gradient_at: dict[Any, Any] = dict.fromkeys(nodes)  # run() fills it in place of the `.grad` of leaves
    run(roots, retain_graph, gradient_at, create_graph=create_graph)
    results: list[Tensor | None] = []
    for index, node in enumerate(nodes):
        gradient = gradient_at[node]
        if gradient is None and materialize_grads:
            gradient = filled_like(0, inputs[index]._array)
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                f"[grad] the differentiated Tensor at index {index} appears to not have been used in the "
                "graph; set allow_unused=True if this is the desired behavior"
            )
        if gradient is not None and not isinstance(gradient, Tensor):
            gradient = wrap(_fitting(gradient, inputs[index]))
        results.append(gradient)
    return tuple(separate(results, [seed for _, seed in roots]) if create_graph else results)


def _fitting(gradient: Array, of: Any) -> Array:
    """A copy of the gradient in the dtype of the input. A copy, because the array may also belong to another
    gradient or to the caller."""
    own = getattr(of, "_array", gradient)
    if np.shape(gradient) != own.shape:
        raise RuntimeError(f"[grad] got a gradient of shape {np.shape(gradient)} for an input of {own.shape}")
    return in_dtype(copied(gradient), own.dtype)


def _batched(
    outputs: Any, inputs: Any, weights: Any, retain_graph: Any, *settings: Any
) -> tuple[Tensor | None, ...]:
    """The gradients for each index of the first dimension of the weights, one backward after another,
    stacked."""
    counts = {len(w) for w in weights if w is not None}
    if len(counts) != 1 or 0 in counts:
        raise RuntimeError(
            f"[grad] got is_grads_batched=True and grad_outputs of lengths {sorted(counts)}; expected one"
        )
    (count,) = counts
    rows = []
    for i in range(count):
        parts = [None if w is None else w[i] for w in weights]
        rows.append(gradients(outputs, inputs, parts, True if i < count - 1 else retain_graph, *settings))
    stacked: Any = zip(*rows, strict=True)
    return tuple(None if of_input[0] is None else Rows().apply(*of_input) for of_input in stacked)


def _listed(name: str, key: str, values: Any) -> list[Any]:
    if isinstance(values, Iterable):
        return list(values)
    raise TypeError(f"[{name}] got {key} {values!r}; expected a Tensor or a list of Tensors")


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
    if isinstance(tensors, Tensor):
        roots = [tensors]
    else:
        roots = _listed("backward", "tensors", tensors)
    dys = grad_variables if grad_tensors is None else grad_tensors
    if dys is None or isinstance(dys, (Tensor, np.ndarray)):
        dys = [dys] * len(roots)
    else:
        dys = list(dys)
    if len(dys) != len(roots):
        raise RuntimeError(f"[backward] got {len(roots)} tensors and {len(dys)} gradients; expected as many")
    seeds = [root_gradient("backward", y, dy, create_graph) for y, dy in zip(roots, dys, strict=True)]
    only = None if inputs is None else targets(inputs)
    run(list(zip(roots, seeds, strict=True)), retain_graph, only=only, create_graph=create_graph)


class GradcheckError(RuntimeError):
    """A gradient differs from its central difference."""


def numeric_gradients(
    function: Callable[..., Any],
    arrays: Sequence[Array],
    dy: Sequence[Array],
    entries: int | None = None,
    eps: float | None = None,
    chosen: Sequence[bool] | None = None,
) -> list[Array]:
    """Central differences of ``sum(dy * function(*arrays))`` with respect to each floating array.

    Fourth order, (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h, with h = 1e-3 max(1, |x|): the error is
    of order h^4, and eps / h from rounding, so that about 11 digits are right.

    entries: the number of elements of each array to differentiate by, spread evenly; the others are NaN.
    eps: another h. chosen: by which arrays to differentiate; the others are NaN.
    """

    def weighted() -> float:
        y = function(*arrays)
        ys = y if isinstance(y, (tuple, list)) else (y,)
        return float(sum(np.sum(np.asarray(a, np.float64) * b) for a, b in zip(ys, dy, strict=True)))

    arrays = [np.array(a, order="C") for a in arrays]
    slopes = []
    for x, yes in zip(arrays, chosen or [True] * len(arrays), strict=True):
        dx = np.full(x.shape, np.nan)
        if x.dtype.kind == "f" and yes:
            flat = x.reshape(-1)
            dflat = dx.reshape(-1)
            count = x.size if entries is None else min(entries, x.size)
            for i in np.linspace(0, x.size - 1, count).astype(int).tolist():
                centre = float(flat[i])
                h = eps or 1e-3 * max(1.0, abs(centre))
                values = []
                for step in (-2, -1, 1, 2):
                    flat[i] = centre + step * h
                    values.append(weighted())
                flat[i] = centre
                dflat[i] = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * h)
                if not np.isfinite(dflat[i]):
                    raise GradcheckError(
                        f"[gradcheck] the function is not finite near element {i}: {centre:g}"
                    )
        slopes.append(dx)
    return slopes


def _of_tensors(func: Callable[..., Any], inputs: Any) -> tuple[Callable[..., Any], list[Any]]:
    """(A function of those inputs that are Tensors or arrays, these inputs). The function passes the other
    inputs to func as they are."""
    if isinstance(inputs, (Tensor, np.ndarray)):
        inputs = [inputs]
    else:
        inputs = list(inputs)
    moving = [isinstance(x, (Tensor, np.ndarray)) for x in inputs]
    if all(moving):
        return func, inputs

    def function(*tensors: Tensor) -> Any:
        given = iter(tensors)
        return func(*(next(given) if yes else x for x, yes in zip(inputs, moving, strict=True)))

    return function, [x for x, yes in zip(inputs, moving, strict=True) if yes]


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    seed: int = 0,
    entries: int | None = None,
    nondet_tol: float = 0.0,
    fast_mode: bool = False,
    **others: Any,
) -> bool:
    """True if the gradients of a function agree with central differences in float64.

    eps: the step of the differences; None: 1e-3 max(1, abs(x)). atol, 0 by default, is added to the
    difference that is allowed; rtol is 1e-6 by default. With an eps they are 1e-5 and 1e-3, as PyTorch's.
    fast_mode: 16 elements of each input are checked, if entries is None. PyTorch's other arguments have no
    effect.

    inputs: Tensors or arrays, converted to float64, and other objects, which func gets as they are. Those
    that require a gradient are checked; if none does, all floating ones. They must be more than two steps
    away from kinks.
    entries: the number of elements of each input to check; None means all.
    Raises GradcheckError (or returns False) if the largest difference is more than rtol times the largest
    gradient, or rtol where that is below 1.

    >>> import ranvier as rv
    >>> rv.autograd.gradcheck(lambda x: x.clone(), rv.tensor([0.5, -1.0]))
    True
    """
    _require_known("gradcheck", others)
    if atol is None:
        atol = 1e-5 if eps else 0.0
    else:
        atol = atol
    if rtol is None:
        rtol = 1e-3 if eps else 1e-6
    else:
        rtol = rtol
    func, inputs = _of_tensors(func, inputs)
    arrays, chosen = _in_float64(inputs), _chosen(inputs)
    pairs = zip(arrays, chosen, strict=True)
    leaves = [wrap(a.copy(), requires_grad=a.dtype.kind == "f" and yes) for a, yes in pairs]
    with enable_grad():
        y = func(*leaves)
    ys = _floating(y)
    rng = np.random.default_rng(seed)
    dy = [_weights(rng, t) for t in ys]
    recorded = [(t, d) for t, d in zip(ys, dy, strict=True) if t.requires_grad]
    wanted = [x for x in leaves if x.requires_grad]
    outputs = [t for t, _ in recorded]
    weights = [d for _, d in recorded]
    if recorded:
        slopes = gradients(outputs, wanted, weights, allow_unused=True)
    else:
        slopes = [None] * len(wanted)
    analytic = iter(slopes)

    def on_arrays(*raw: Array) -> Any:
        return [t._array for t in _floating(func(*(wrap(a) for a in raw)))]

    if fast_mode and entries is None:
        entries = 16
    numeric = numeric_gradients(on_arrays, arrays, dy, entries, eps, chosen)
    for index, (leaf, expected) in enumerate(zip(leaves, numeric, strict=True)):
        if not leaf.requires_grad:
            continue
        slope = next(analytic)
        checked = ~np.isnan(expected)
        if not checked.any():
            continue
        got = (np.zeros(expected.shape) if slope is None else slope._array)[checked]
        expected = expected[checked]
        error = float(np.max(np.abs(got - expected)))
        scale = max(1.0, float(np.max(np.abs(expected))))
        if not error <= atol + rtol * scale:
            if not raise_exception:
                return False
            raise GradcheckError(
                f"[gradcheck] the gradient of input {index} is off by {error:.3g}, more than {rtol:g} of "
                f"{scale:.3g};\nnumeric: {expected}\nanalytic: {got}"
            )
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    rtol: float | None = None,
    raise_exception: bool = True,
    seed: int = 0,
    entries: int | None = None,
    eps: float | None = None,
    atol: float | None = None,
    **others: Any,
) -> bool:
    """True if second gradients agree with central differences of the first ones, in float64.

    Arguments and errors as of :func:`gradcheck`. The first gradients are functions of the inputs and of the
    gradients of the outputs, and are differentiated by both.

    >>> import ranvier as rv
    >>> rv.autograd.gradgradcheck(lambda x: x**3, rv.tensor([0.5, -1.0]))
    True
    """
    _require_known("gradgradcheck", others)
    function, inputs = _of_tensors(function, inputs)
    arrays = _in_float64(inputs)

    def first(*tensors: Tensor) -> tuple[Tensor | None, ...]:
        differentiated = any(x.requires_grad for x in tensors)
        xs = [x if x.requires_grad or x.dtype.kind != "f" else x.detach().requires_grad_() for x in tensors]
        with enable_grad():
            y = function(*xs[: len(arrays)])
        ys = _floating(y)
        pairs = [(t, d) for t, d in zip(ys, xs[len(arrays) :], strict=True) if t.requires_grad]
        wanted = [x for x in xs[: len(arrays)] if x.requires_grad]
        outputs = [t for t, _ in pairs]
        weights = [d for _, d in pairs]
        return gradients(outputs, wanted, weights, create_graph=differentiated, materialize_grads=True)

    y = function(*(wrap(a) for a in arrays))
    ys = _floating(y)
    rng = np.random.default_rng(seed + 1)
    if grad_outputs is None:
        dy = [_weights(rng, t) for t in ys]
    else:
        dy = _in_float64(grad_outputs)
    chosen = [*_chosen(inputs), *[True] * len(dy)]
    pairs = zip((*arrays, *dy), chosen, strict=True)
    leaves = [wrap(a, requires_grad=a.dtype.kind == "f" and yes) for a, yes in pairs]
    settings: Any = {"eps": eps, "atol": atol, "rtol": rtol, "seed": seed, "entries": entries}
    return gradcheck(first, leaves, raise_exception=raise_exception, **settings)


def _in_float64(inputs: Any) -> list[Array]:
    """Copies of the inputs as arrays; floats become float64."""
    if isinstance(inputs, (Tensor, np.ndarray)):
        inputs = (inputs,)
    arrays = [np.array(x._array if isinstance(x, Tensor) else x) for x in inputs]
    return [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]


_NO_EFFECT = """
    check_backward_ad check_batched_forward_grad check_batched_grad check_forward_ad check_fwd_over_rev
    check_grad_dtypes check_rev_over_rev check_sparse_nnz check_undefined_grad fast_mode
    gen_non_contig_grad_outputs masked nondet_tol
"""


def _require_known(name: str, settings: Any) -> None:
    """Raises TypeError for an argument that PyTorch does not have."""
    if unknown := sorted(set(settings) - set(_NO_EFFECT.split())):
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")


def _chosen(inputs: Any) -> list[bool]:
    """A flag for each input: True if it is checked."""
    if isinstance(inputs, (Tensor, np.ndarray)):
        inputs = (inputs,)
    wanted = [bool(getattr(x, "requires_grad", False)) for x in inputs]
    if any(wanted):
        return wanted
    return [True] * len(wanted)


def _floating(outputs: Any) -> list[Tensor]:
    """The outputs, one or several, that have floats, and so may have gradients."""
    return [t for t in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)) if t.dtype.kind == "f"]


def _weights(rng: np.random.Generator, y: Tensor) -> Array:
    """A random gradient of an output y, with elements of size 0.5 to 1.5 and either sign."""
    return rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
