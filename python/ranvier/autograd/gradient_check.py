"""The check of gradients against central differences in float64: `gradcheck` and `gradgradcheck`.

A function with several outputs is checked once, by the gradient of ``sum(weights * outputs)`` with random
weights, which needs all its derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ranvier.autograd.gradients import gradients
from ranvier.grad_mode import enable_grad
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap

_Inputs: TypeAlias = Tensor | Array | Sequence[Any]
"""The inputs of a function that is checked: Tensors and arrays, and any objects that it gets as they are."""

_Outputs: TypeAlias = Tensor | tuple[Tensor, ...] | list[Tensor]


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
    arrays = [np.array(a, order="C") for a in arrays]  # copies, which are changed in place
    if chosen is None:
        chosen = [True] * len(arrays)

    def weighted_sum() -> float:
        y = function(*arrays)
        ys = y if isinstance(y, (tuple, list)) else (y,)
        products = [np.sum(np.asarray(a, np.float64) * b) for a, b in zip(ys, dy, strict=True)]
        return float(sum(products))

    slopes = []
    for x, is_chosen in zip(arrays, chosen, strict=True):
        slope = np.full(x.shape, np.nan)
        if is_chosen and x.dtype.kind == "f":
            _fill_differences(slope, x, weighted_sum, entries, eps)
        slopes.append(slope)
    return slopes


def _fill_differences(
    slope: Array, x: Array, f: Callable[[], float], entries: int | None, eps: float | None
) -> None:
    """Writes the central differences of f into `slope`, for `entries` elements of x or all.

    f reads x, which is changed at one element at a time and then restored.
    """
    flat_x = x.reshape(-1)  # views, as both arrays are contiguous
    flat_slope = slope.reshape(-1)
    count = x.size if entries is None else min(entries, x.size)
    for i in np.linspace(0, x.size - 1, count).astype(int).tolist():
        centre = float(flat_x[i])
        h = eps or 1e-3 * max(1.0, abs(centre))
        values = []
        for steps in (-2, -1, 1, 2):
            flat_x[i] = centre + steps * h
            values.append(f())
        flat_x[i] = centre
        far_below, below, above, far_above = values
        flat_slope[i] = (8 * (above - below) - (far_above - far_below)) / (12 * h)
        if not np.isfinite(flat_slope[i]):
            raise GradcheckError(f"[gradcheck] the function is not finite near element {i}: {centre:g}")


def gradcheck(
    func: Callable[..., Any],
    inputs: _Inputs,
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
    _refuse_unknown("gradcheck", others)
    if atol is None:
        atol = 1e-5 if eps else 0.0
    if rtol is None:
        rtol = 1e-3 if eps else 1e-6
    if fast_mode and entries is None:
        entries = 16
    func, inputs = _without_other_objects(func, inputs)
    arrays = _float64_arrays(inputs)
    chosen = _choose_inputs(inputs)

    leaves = _leaves(arrays, chosen)
    with enable_grad():
        ys = _floating_outputs(func(*leaves))
    rng = np.random.default_rng(seed)
    weights = [_random_weights(rng, y) for y in ys]
    wanted = [x for x in leaves if x.requires_grad]
    analytic = iter(_weighted_gradients(ys, weights, wanted))

    def on_arrays(*raw: Array) -> list[Array]:
        tensors = [wrap(array) for array in raw]
        return [y._array for y in _floating_outputs(func(*tensors))]

    numeric = numeric_gradients(on_arrays, arrays, weights, entries, eps, chosen)
    for index, (leaf, expected) in enumerate(zip(leaves, numeric, strict=True)):
        if not leaf.requires_grad:
            continue
        slope = next(analytic)
        error = _describe_error(index, slope, expected, atol, rtol)
        if error is None:
            continue
        if not raise_exception:
            return False
        raise GradcheckError(error)
    return True


def _weighted_gradients(
    ys: Sequence[Tensor], weights: Sequence[Array], xs: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """The gradient of ``sum(weights * ys)`` by each x; None for an x on which no y depends."""
    recorded = [(y, weight) for y, weight in zip(ys, weights, strict=True) if y.requires_grad]
    if not recorded:
        return [None] * len(xs)
    outputs = [y for y, _ in recorded]
    weights_of_outputs = [weight for _, weight in recorded]
    slopes: tuple[Tensor | None, ...] = gradients(outputs, xs, weights_of_outputs, allow_unused=True)
    return slopes


def _describe_error(
    index: int, slope: Tensor | None, expected: Array, atol: float, rtol: float
) -> str | None:
    """The text of the error if the gradient of input `index` is too far from the central differences, which
    are NaN where they were not computed; None if it is right."""
    checked = ~np.isnan(expected)
    if not checked.any():
        return None
    analytic = np.zeros(expected.shape) if slope is None else slope._array
    analytic = analytic[checked]
    expected = expected[checked]
    error = float(np.max(np.abs(analytic - expected)))
    scale = max(1.0, float(np.max(np.abs(expected))))
    if error <= atol + rtol * scale:  # False if the error is NaN
        return None
    return (
        f"[gradcheck] the gradient of input {index} is off by {error:.3g}, more than {rtol:g} of "
        f"{scale:.3g};\nnumeric: {expected}\nanalytic: {analytic}"
    )


def gradgradcheck(
    function: Callable[..., Any],
    inputs: _Inputs,
    grad_outputs: _Inputs | None = None,
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
    _refuse_unknown("gradgradcheck", others)
    function, inputs = _without_other_objects(function, inputs)
    arrays = _float64_arrays(inputs)
    count = len(arrays)

    def first_gradients(*tensors: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by the inputs. tensors: the inputs, then the gradients of the outputs."""
        is_differentiated = any(x.requires_grad for x in tensors)
        arguments = [_requiring_gradient(x) for x in tensors]
        xs = arguments[:count]
        with enable_grad():
            ys = _floating_outputs(function(*xs))
        outputs = []
        weights = []
        for y, weight in zip(ys, arguments[count:], strict=True):
            if y.requires_grad:
                outputs.append(y)
                weights.append(weight)
        wanted = [x for x in xs if x.requires_grad]
        first: tuple[Tensor | None, ...] = gradients(
            outputs, wanted, weights, create_graph=is_differentiated, materialize_grads=True
        )
        return first

    ys = _floating_outputs(function(*map(wrap, arrays)))
    rng = np.random.default_rng(seed + 1)
    if grad_outputs is None:
        weights = [_random_weights(rng, y) for y in ys]
    else:
        weights = _float64_arrays(grad_outputs)
    chosen = [*_choose_inputs(inputs), *[True] * len(weights)]
    return gradcheck(
        first_gradients,
        _leaves([*arrays, *weights], chosen),
        raise_exception=raise_exception,
        eps=eps,
        atol=atol,
        rtol=rtol,
        seed=seed,
        entries=entries,
    )


def _requiring_gradient(x: Tensor) -> Tensor:
    """x, or if it requires no gradient, but has floats, a leaf on its memory that does."""
    if x.requires_grad or x.dtype.kind != "f":
        return x
    return x.detach().requires_grad_()


_WITHOUT_EFFECT = {
    "check_backward_ad", "check_batched_forward_grad", "check_batched_grad", "check_forward_ad",
    "check_fwd_over_rev", "check_grad_dtypes", "check_rev_over_rev", "check_sparse_nnz",
    "check_undefined_grad", "fast_mode", "gen_non_contig_grad_outputs", "masked", "nondet_tol",
}  # PyTorch's other arguments  # fmt: skip


def _refuse_unknown(name: str, others: Iterable[str]) -> None:
    """Raises TypeError for an argument that PyTorch does not have."""
    unknown = sorted(set(others) - _WITHOUT_EFFECT)
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")


def _without_other_objects(
    func: Callable[..., Any], inputs: _Inputs
) -> tuple[Callable[..., Any], list[Tensor | Array]]:
    """A function of the inputs that are Tensors or arrays alone, and these inputs. The function passes the
    other inputs to func as they are."""
    inputs = list(_as_sequence(inputs))
    is_numeric = [isinstance(x, (Tensor, np.ndarray)) for x in inputs]
    if all(is_numeric):
        return func, inputs

    def function(*tensors: Tensor) -> Any:
        remaining = iter(tensors)
        arguments = []
        for x, is_tensor in zip(inputs, is_numeric, strict=True):
            argument = next(remaining) if is_tensor else x
            arguments.append(argument)
        return func(*arguments)

    return function, [x for x in inputs if isinstance(x, (Tensor, np.ndarray))]


def _as_sequence(inputs: _Inputs) -> Sequence[Any]:
    if isinstance(inputs, (Tensor, np.ndarray)):
        return (inputs,)
    return inputs


def _float64_arrays(inputs: _Inputs) -> list[Array]:
    """Copies of the inputs as arrays; floats become float64."""
    arrays = []
    for x in _as_sequence(inputs):
        values = x._array if isinstance(x, Tensor) else x
        array = np.array(values)
        if array.dtype.kind == "f":
            array = array.astype(np.float64)
        arrays.append(array)
    return arrays


def _choose_inputs(inputs: _Inputs) -> list[bool]:
    """For each input whether it is checked: those that require a gradient, or if none does, all."""
    requires = [bool(getattr(x, "requires_grad", False)) for x in _as_sequence(inputs)]
    if any(requires):
        return requires
    return [True] * len(requires)


def _leaves(arrays: Sequence[Array], chosen: Sequence[bool]) -> list[Tensor]:
    """Tensors on copies of the arrays; those that are chosen, and have floats, require a gradient."""
    leaves = []
    for array, is_chosen in zip(arrays, chosen, strict=True):
        requires_grad = is_chosen and array.dtype.kind == "f"
        leaves.append(wrap(array.copy(), requires_grad=requires_grad))
    return leaves


def _floating_outputs(outputs: _Outputs) -> list[Tensor]:
    """The outputs, one or several, that have floats, and so may have gradients."""
    several = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [y for y in several if y.dtype.kind == "f"]


def _random_weights(rng: np.random.Generator, y: Tensor) -> Array:
    """A random gradient of an output y, with elements of size 0.5 to 1.5 and either sign."""
    sizes = rng.uniform(0.5, 1.5, y.shape)
    return sizes * rng.choice([-1.0, 1.0], y.shape)
