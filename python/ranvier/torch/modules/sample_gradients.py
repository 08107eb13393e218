"""torch.nn.utils._per_sample_grad: the gradients of parameters for each sample of a batch.

Each parameter is expanded by a dimension of samples, and `vmap` calls the module with one sample and one
slice of each parameter. The gradient of the expanded parameter has one row for each sample.

| call_for_per_sample_grads(module)(x).sum().backward(); len(module.weight.grad_sample) -> len(x)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ranvier import Tensor
from ranvier.func import functional_call, vmap
from ranvier.nn import Module, Parameter
from ranvier.nn.norm import _BatchNorm
from ranvier.nn.recurrent import RNNBase
from ranvier.torch.utils.pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

_NAME = "call_for_per_sample_grads"


def call_for_per_sample_grads(
    module: Module,
    *,
    batch_size: int | None = None,
    loss_reduction: str = "sum",
    batch_first: bool = True,
) -> Callable[..., Any]:
    """module.forward, of whose results ``backward`` sets ``parameter.grad_sample`` in place of ``grad``.

    grad_sample[i] = d loss_i / d parameter, of shape (batch_size, *parameter.shape), for each parameter that
    requires gradients. loss_reduction: how the loss joins those of the samples, "sum" or "mean"; with
    "mean" the gradients are multiplied by batch_size. batch_first: the samples are along dimension 0 of
    arguments and results; else along 1. batch_size: None reads it from the arguments, all Tensors of which
    then have it; with a number, Tensors of another size are given whole to each sample.

    Raises RuntimeError for what is no Module, another loss_reduction, a batch_size that is no positive int or
    that the arguments do not give, parameters that have a grad_sample, recurrent layers, and a BatchNorm that
    would normalize by the batch.

    Source: the names and results of PyTorch's function.

    >>> import ranvier as rv
    >>> layer = rv.nn.Linear(2, 1)
    >>> call_for_per_sample_grads(layer)(rv.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    >>> layer.weight.grad_sample, layer.weight.grad
    (tensor([[[1., 2.]],
    <BLANKLINE>
            [[3., 4.]]]), None)
    """
    if loss_reduction not in ("sum", "mean"):
        raise RuntimeError(f"[{_NAME}] got loss_reduction {loss_reduction!r}; expected 'sum' or 'mean'")
    if not isinstance(module, Module):
        raise RuntimeError(f"[{_NAME}] got {type(module).__name__}; expected a Module")
    if batch_size is not None and not (type(batch_size) is int and batch_size > 0):
        raise RuntimeError(f"[{_NAME}] got batch_size {batch_size!r}; expected a positive int or None")
    _check_layers(module)
    dim = 0 if batch_first else 1

    @functools.wraps(module.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        count = batch_size
        if count is None:
            count = _count_samples((args, kwargs), dim)
        scale = count if loss_reduction == "mean" else 1
        expanded = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                expanded[name] = _expand(parameter, count, scale)

        leaves, structure = tree_flatten((args, kwargs))

        def of_sample(parameters: dict[str, Tensor], *values: Any) -> Any:
            args_of_sample, kwargs_of_sample = tree_unflatten(values, structure)
            result = functional_call(module, parameters, args_of_sample, kwargs_of_sample)
            return tree_map(lambda value: value.squeeze(dim), result)

        values = []
        dims: list[int | None] = []
        for value in leaves:
            is_batch = isinstance(value, Tensor) and value.ndim > dim and value.shape[dim] == count
            dims.append(0 if is_batch else None)
            values.append(_with_samples_first(value, dim) if is_batch else value)
        in_dims = (0 if expanded else None, *dims)
        return vmap(of_sample, in_dims, out_dims=dim, randomness="different")(expanded, *values)

    return forward


def _check_layers(module: Module) -> None:
    """Raises RuntimeError for parameters and layers that have no gradients of samples."""
    for name, parameter in module.named_parameters():
        if getattr(parameter, "grad_sample", None) is not None:
            raise RuntimeError(f"[{_NAME}] got {name} with a grad_sample; expected None, which the call sets")
    for layer in module.modules():
        if isinstance(layer, RNNBase):
            raise RuntimeError(f"[{_NAME}] got {type(layer).__name__}; expected layers without recurrence")
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            raise RuntimeError(
                f"[{_NAME}] got {type(layer).__name__}, which mixes samples; expected eval() or GroupNorm"
            )


def _count_samples(arguments: Any, dim: int) -> int:
    """The size along the dimension `dim` of all Tensors in the arguments."""
    count = None
    for value in tree_leaves(arguments):
        if not isinstance(value, Tensor):
            continue
        if value.ndim <= dim:
            raise RuntimeError(f"[{_NAME}] got a Tensor of shape {tuple(value.shape)}; expected a batch_size")
        size = value.shape[dim]
        if count is not None and size != count:
            raise RuntimeError(f"[{_NAME}] got {count} and {size} samples; expected a batch_size")
        count = size
    if count is None:
        raise RuntimeError(f"[{_NAME}] got no Tensor as an argument; expected a batch_size")
    return count


def _expand(parameter: Parameter, count: int, scale: int) -> Tensor:
    """The parameter once for each sample; its gradient, times `scale`, is added to `grad_sample`."""
    expanded = parameter.detach().expand(count, *parameter.shape).requires_grad_()

    def add_to_grad_sample(gradient: Tensor) -> None:
        scaled = gradient.detach() * scale
        before = getattr(parameter, "grad_sample", None)
        gradients = scaled if before is None else before + scaled
        parameter.grad_sample = gradients  # type: ignore[attr-defined]  # a name of PyTorch's, for this use

    expanded.register_hook(add_to_grad_sample)
    return expanded


def _with_samples_first(value: Tensor, dim: int) -> Tensor:
    """The batch with the samples along dimension 0, and each as a batch of one along `dim` of the rest."""
    return value.movedim(dim, 0).unsqueeze(dim + 1)
