"""Gradients as values: PyTorch's ``torch.autograd.grad``, here `gradients`, and ``torch.autograd.backward``.

Both start backward at several tensors at once. `gradients` returns the gradients of chosen inputs and changes
no ``.grad``; `backward` adds to the ``.grad`` of leaves. The walk along the tape is `run` in
tape/backpropagation.py; its nodes are the Functions that made results, and leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from ranvier.grad_mode import no_grad
from ranvier.tape.backpropagation import root_gradient, run, targets
from ranvier.tape.higher_order import Rows, separate
from ranvier.tape.nodes import GradientEdge
from ranvier.tensors.batched import Level, batched, innermost, level_of, root_of_slices, value_at
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import SOLE, Array, copied, filled_like, in_dtype
from ranvier.tensors.tensor import Tensor, wrap

_Input: TypeAlias = Tensor | GradientEdge
_Weight: TypeAlias = Tensor | Array | None
"""The gradient of one output, by which backward starts there. None: 1, for an output of one element."""

_Weights: TypeAlias = _Weight | Sequence[_Weight]


class _Settings(NamedTuple):
    """Arguments of `gradients` that it passes on."""

    retain_graph: bool | None
    create_graph: bool
    allow_unused: bool | None
    materialize_grads: bool


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: _Input | Sequence[_Input] | dict[Any, Tensor],
    grad_outputs: _Weights = None,
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
        of_values = gradients(
            outputs,
            list(inputs.values()),
            grad_outputs,
            retain_graph,
            create_graph,
            allow_unused=allow_unused,
            is_grads_batched=is_grads_batched,
            materialize_grads=materialize_grads,
        )
        return dict(zip(inputs, of_values, strict=True))

    if isinstance(outputs, Tensor):
        outputs = [outputs]
    else:
        outputs = _as_list("grad", "outputs", outputs)
    if isinstance(inputs, (Tensor, GradientEdge)):
        inputs = [inputs]
    else:
        inputs = _as_list("grad", "inputs", inputs)
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, np.ndarray)):
        grad_outputs = [grad_outputs] * len(outputs)
    settings = _Settings(retain_graph, create_graph, allow_unused, materialize_grads)
    if is_grads_batched:
        return _batched_gradients(outputs, inputs, grad_outputs, settings)

    level = innermost([*outputs, *inputs, *grad_outputs])
    if level is not None:
        is_recorded_within = any(level_of(y) is level for y in outputs)
        of_level = _gradients_of_slices if is_recorded_within else _gradients_by_sliced_weights
        return of_level(level, outputs, inputs, grad_outputs, settings)

    nodes = _nodes_of(inputs)
    roots = []
    for y, weight in zip(outputs, grad_outputs, strict=True):
        seed = root_gradient("grad", y, weight, create_graph)
        roots.append((y, seed))
    gradient_at: dict[Any, Any] = dict.fromkeys(nodes)
    run(roots, retain_graph, captured=gradient_at, create_graph=create_graph)  # fills in the gradients

    results: list[Tensor | None] = []
    for index, (x, node) in enumerate(zip(inputs, nodes, strict=True)):
        holder = [gradient_at[node]]
        gradient: Tensor | None = None
        if isinstance(holder[0], Tensor):
            gradient = holder[0]
        elif holder[0] is not None:
            gradient_at[node] = None  # then the list alone refers to the array, unless something else does
            gradient = wrap(_own_array(holder, x))
            gradient_at[node] = gradient._array  # for another input of the same node, which gets a copy
        elif materialize_grads:
            gradient = wrap(filled_like(0, x._array))
        elif not allow_unused:
            _refuse_unused(index)
        results.append(gradient)
    if create_graph:
        seeds = [seed for _, seed in roots]
        results = separate(results, seeds)
    return tuple(results)


def _nodes_of(inputs: Sequence[_Input]) -> list[Any]:
    """The nodes at which the gradients of the inputs arrive: a leaf is its own node."""
    nodes: list[Any] = []
    for x in inputs:
        if not x._requires_grad:
            raise RuntimeError("[grad] one of the inputs does not require grad")
        nodes.append(x if x._grad_fn is None else x._grad_fn)
    return nodes


def _refuse_unused(index: int) -> NoReturn:
    raise RuntimeError(
        f"[grad] the differentiated Tensor at index {index} appears to not have been used in the "
        "graph; set allow_unused=True if this is the desired behavior"
    )


def _gradients_of_slices(
    level: Level,
    outputs: Sequence[Tensor],
    inputs: Sequence[_Input],
    weights: Sequence[_Weight],
    settings: _Settings,
) -> tuple[Tensor | None, ...]:
    """The gradients within a call of vmap: those of the Tensors of all slices, which do not depend on each
    other, in one backward."""
    values = []
    weights_of_values: list[_Weight] = []
    for y, weight in zip(outputs, weights, strict=True):
        values.append(value_at(y, level))
        weights_of_values.append(value_at(_as_weight(weight, y), level))
    sources = _sources_of_slices(inputs, level)
    results = gradients(values, sources, weights_of_values, **settings._asdict())
    return tuple([None if result is None else batched(result, level) for result in results])


def _as_weight(weight: _Weight, y: Tensor) -> Tensor:
    """The weight of an output as a Tensor."""
    if isinstance(weight, Tensor):
        return weight
    if weight is not None:
        return wrap(weight)
    if y.numel() != 1:
        raise RuntimeError("grad can be implicitly created only for scalar outputs")
    return wrap(filled_like(1, y._array))


def _sources_of_slices(inputs: Sequence[_Input], level: Level) -> list[Any]:
    """The Tensors of all slices of the inputs."""
    sources: list[Any] = []
    for x in inputs:
        if not isinstance(x, Tensor):
            sources.append(x)
        elif level_of(x) is level:
            sources.append(value_at(x, level))
        else:
            raise RuntimeError(
                "[grad] got an input that all slices of vmap share; expected one that is sliced: "
                "rv.func.grad gives the gradients of each slice by what they share"
            )
    return sources


def _gradients_by_sliced_weights(
    level: Level,
    outputs: Sequence[Tensor],
    inputs: Sequence[_Input],
    weights: Sequence[_Weight],
    settings: _Settings,
) -> tuple[Tensor | None, ...]:
    """The gradients within a call of vmap, of outputs that were computed outside of it and that all slices
    share: those for the weights of all slices, in one backward on batched gradients."""
    outer = innermost([*outputs, *inputs])
    if outer is not None:
        values = []
        weights_of_values = []
        for y, weight in zip(outputs, weights, strict=True):
            values.append(value_at(y, outer))
            of_level = value_at(_as_weight(weight, y), level)
            of_both = value_at(of_level, outer)  # (slices of outer, slices of level, *shape)
            weights_of_values.append(batched(of_both.movedim(1, 0), level))
        sources = _sources_of_slices(inputs, outer)
        of_values = _gradients_by_sliced_weights(level, values, sources, weights_of_values, settings)
        results: list[Tensor | None] = []
        for result in of_values:
            if result is not None:
                of_both = value_at(result, level).movedim(1, 0)
                result = batched(batched(of_both, outer), level)
            results.append(result)
        return tuple(results)

    nodes = _nodes_of(inputs)
    roots = []
    for y, weight in zip(outputs, weights, strict=True):
        seed = root_gradient("grad", y, weight, settings.create_graph)
        roots.append((y, seed if isinstance(seed, Tensor) else wrap(seed)))
    gradient_at: dict[Any, Any] = dict.fromkeys(nodes)
    with nullcontext() if settings.create_graph else no_grad():
        run(
            roots,
            settings.retain_graph,
            gradient_at,
            create_graph=settings.create_graph,
            on_tensors=True,
        )
    results = []
    for index, (x, node) in enumerate(zip(inputs, nodes, strict=True)):
        gradient = gradient_at[node]
        if gradient is None and settings.materialize_grads and isinstance(x, Tensor):
            gradient = wrap(filled_like(0, x._array))
        if gradient is None and not settings.allow_unused:
            _refuse_unused(index)
        results.append(gradient)
    if settings.create_graph:
        results = separate(results, [seed for _, seed in roots])
    return tuple(results)


def _own_array(holder: list[Any], x: _Input) -> Array:
    """The gradient in the dtype of the input x, in memory of its own: a copy if the array may also belong to
    another gradient or to the caller. A GradientEdge has no array: its gradient stays as it is.

    holder: a list of the gradient, so that the caller holds no other reference to it (`SOLE` in
    tensors/memory.py).
    """
    gradient = holder[0]
    is_free = sys.getrefcount(gradient) <= SOLE and type(gradient.base) is not np.ndarray
    expected = getattr(x, "_array", gradient)
    if np.shape(gradient) != expected.shape:
        raise RuntimeError(
            f"[grad] got a gradient of shape {np.shape(gradient)} for an input of {expected.shape}"
        )
    if not is_free:
        gradient = copied(gradient)
    return in_dtype(gradient, expected.dtype)


def _batched_gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[_Input],
    weights: Sequence[_Weight],
    settings: _Settings,
) -> tuple[Tensor | None, ...]:
    """The gradients for each index of the first dimension of the weights, one backward after another,
    stacked."""
    counts = {len(weight) for weight in weights if weight is not None}
    if len(counts) != 1 or 0 in counts:
        raise RuntimeError(
            f"[grad] got is_grads_batched=True and grad_outputs of lengths {sorted(counts)}; expected one"
        )
    (count,) = counts
    rows = []
    for i in range(count):
        weights_of_row = [_row(weight, i) for weight in weights]
        is_last = i == count - 1
        of_row = settings
        if not is_last:  # the next row needs the tape once more
            of_row = settings._replace(retain_graph=True)
        row = gradients(outputs, inputs, weights_of_row, **of_row._asdict())
        rows.append(row)
    stacked: list[Tensor | None] = []
    for gradients_of_input in zip(*rows, strict=True):
        is_unused = gradients_of_input[0] is None
        if is_unused:
            stacked.append(None)
        else:
            stacked.append(Rows().apply(*gradients_of_input))
    return tuple(stacked)


def _row(weight: _Weight, i: int) -> _Weight:
    if weight is None:
        return None
    return weight[i]


def _as_list(name: str, argument: str, values: object) -> list[Any]:
    """The values as a list. Raises TypeError, with the names of the function and its argument, if they cannot
    be iterated."""
    if isinstance(values, Iterable):
        return list(values)
    raise TypeError(f"[{name}] got {argument} {values!r}; expected a Tensor or a list of Tensors")


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: _Weights = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: _Weights = None,
    inputs: Tensor | Sequence[Tensor] | None = None,
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
        tensors = [tensors]
    else:
        tensors = _as_list("backward", "tensors", tensors)
    weights = grad_variables if grad_tensors is None else grad_tensors
    if weights is None or isinstance(weights, (Tensor, np.ndarray)):
        weights = [weights] * len(tensors)
    else:
        weights = list(weights)
    if len(weights) != len(tensors):
        raise RuntimeError(
            f"[backward] got {len(tensors)} tensors and {len(weights)} gradients; expected as many"
        )
    roots = []
    for y, weight in zip(tensors, weights, strict=True):
        y, weight = root_of_slices(y, weight)
        seed = root_gradient("backward", y, weight, create_graph)
        roots.append((y, seed))
    only = None if inputs is None else targets(inputs)
    run(roots, retain_graph, only=only, create_graph=create_graph)
