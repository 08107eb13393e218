"""Gradients as values: PyTorch's ``autograd.grad``, and ``autograd.backward``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.autograd.backward import root_gradient, run, targets
from ranvier.autograd.graph import separate
from ranvier.autograd.memory import copied, filled_like
from ranvier.autograd.tensor import Tensor, wrap


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs (weighted by grad_outputs, summed) with respect to each input.

    Public as ``ranvier.autograd.grad``. No ``.grad`` is changed.

    retain_graph: keeps what forward saved, so that grad can be called again; None: as create_graph.
    create_graph: records the computation, so that the gradients can be differentiated again. Raises
        NotImplementedError where an op cannot be differentiated twice.
    allow_unused: the gradient of an input that was not used is None; else RuntimeError.
    materialize_grads: zeros in place of that None.
    only_inputs, is_grads_batched: True and False; others raise ValueError.

    >>> import ranvier as rv
    >>> x = rv.tensor(2.0, requires_grad=True)
    >>> (slope,) = rv.autograd.grad(x**3, x, create_graph=True)
    >>> slope.item(), rv.autograd.grad(slope, x)
    (12.0, (tensor(12.),))
    """
    if not only_inputs:
        raise ValueError("[grad] got only_inputs=False; expected True: call backward() for other gradients")
    if is_grads_batched:
        raise ValueError(
            "[grad] got is_grads_batched=True; expected False: call grad for each of grad_outputs"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError("[grad] got allow_unused=False with materialize_grads=True; expected True or None")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, np.ndarray)):
        grad_outputs = [grad_outputs] * len(outputs)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("[grad] one of the inputs does not require grad")
    weighted = zip(outputs, grad_outputs, strict=True)
    roots = [(y, root_gradient("grad", y, dy, create_graph)) for y, dy in weighted]
    nodes = [x if x.grad_fn is None else x.grad_fn for x in inputs]
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
            gradient = wrap(copied(gradient))  # backward may have left the array in two places
        results.append(gradient)
    return tuple(separate(results, [seed for _, seed in roots]) if create_graph else results)


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
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    dys = grad_variables if grad_tensors is None else grad_tensors
    dys = [dys] * len(roots) if dys is None or isinstance(dys, (Tensor, np.ndarray)) else list(dys)
    if len(dys) != len(roots):
        raise RuntimeError(f"[backward] got {len(roots)} tensors and {len(dys)} gradients; expected as many")
    seeds = [root_gradient("backward", y, dy, create_graph) for y, dy in zip(roots, dys, strict=True)]
    only = None if inputs is None else targets([inputs] if isinstance(inputs, Tensor) else list(inputs))
    run(list(zip(roots, seeds, strict=True)), retain_graph, only=only, create_graph=create_graph)
