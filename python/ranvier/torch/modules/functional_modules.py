"""`functorch.make_functional` and its relatives: a module as a function of its parameters and buffers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import ranvier as rv
from ranvier import Tensor, nn
from ranvier.func import functional_call
from ranvier.tensors.failures import OpError

Tensors = tuple[Tensor, ...]


class FunctionalModuleWithBuffers(nn.Module):
    """A module that takes its parameters and its buffers as arguments, before its own arguments."""

    def __init__(self, module: nn.Module, parameters: Iterable[str], buffers: Iterable[str]) -> None:
        super().__init__()
        self.stateless_model = module
        self.param_names = tuple(parameters)
        self.buffer_names = tuple(buffers)

    def forward(self, params: Sequence[Tensor], buffers: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        values = _named("parameters", self.param_names, params)
        values |= _named("buffers", self.buffer_names, buffers)
        return functional_call(self.stateless_model, values, args, kwargs)


class FunctionalModule(FunctionalModuleWithBuffers):
    """As FunctionalModuleWithBuffers, for a module without buffers: it takes no buffers."""

    def forward(self, params: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        return super().forward(params, (), *args, **kwargs)


def make_functional(
    model: nn.Module, disable_autograd_tracking: bool = False
) -> tuple[FunctionalModule, Tensors]:
    """(function, parameters): ``function(parameters, *args)`` is ``model(*args)`` with these parameters.

    The parameters are copies. disable_autograd_tracking: they require no gradients.

    >>> function, parameters = make_functional(nn.Linear(2, 1))
    >>> [x.fill_(1.0).shape for x in rv.func.grad(lambda p: function(p, rv.ones(2)).sum())(parameters)]
    [(1, 2), (1,)]
    """
    if any(True for _ in model.buffers()):
        raise OpError(
            "[make_functional] got a model with buffers; expected none: use make_functional_with_buffers"
        )
    parameters, _ = _values_of(model, disable_autograd_tracking)
    function = FunctionalModule(copy.deepcopy(model), parameters, ())
    return function, tuple(parameters.values())


def make_functional_with_buffers(
    model: nn.Module, disable_autograd_tracking: bool = False
) -> tuple[FunctionalModuleWithBuffers, Tensors, Tensors]:
    """(function, parameters, buffers), as make_functional: ``function(parameters, buffers, *args)``."""
    parameters, buffers = _values_of(model, disable_autograd_tracking)
    function = FunctionalModuleWithBuffers(copy.deepcopy(model), parameters, buffers)
    return function, tuple(parameters.values()), tuple(buffers.values())


def combine_state_for_ensemble(
    models: Sequence[nn.Module],
) -> tuple[FunctionalModuleWithBuffers, Tensors, Tensors]:
    """(function, parameters, buffers) of models of one class: each value is that of all models, stacked.

    >>> function, parameters, buffers = combine_state_for_ensemble([nn.Linear(2, 1), nn.Linear(2, 1)])
    >>> rv.vmap(function, (0, 0, None))(parameters, buffers, rv.ones(3, 2)).shape
    (2, 3, 1)
    """
    if not models:
        raise OpError("[combine_state_for_ensemble] got no models; expected at least one")
    if len({type(model) for model in models}) > 1 or len({model.training for model in models}) > 1:
        raise OpError(
            "[combine_state_for_ensemble] got models of several classes or modes; expected one class, "
            "all in training or all in evaluation"
        )
    functions, parameters, buffers = zip(*map(make_functional_with_buffers, models), strict=True)
    return functions[0], _stacked(parameters), _stacked(buffers)


def _values_of(model: nn.Module, is_constant: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of the parameters and of the buffers of a module, by name."""
    of_its_own = copy.deepcopy(model)
    parameters: dict[str, Tensor] = dict(of_its_own.named_parameters())
    if is_constant:
        for parameter in parameters.values():
            parameter.requires_grad_(False)
    return parameters, dict(of_its_own.named_buffers())


def _stacked(states: Sequence[Tensors]) -> Tensors:
    """The Tensors of several models, of which each has these Tensors in the same order."""
    stacked = []
    for tensors in zip(*states, strict=True):
        joined = rv.stack(tensors).detach()
        stacked.append(joined.requires_grad_(all(tensor.requires_grad for tensor in tensors)))
    return tuple(stacked)


def _named(kind: str, names: Sequence[str], values: Sequence[Tensor]) -> dict[str, Tensor]:
    if len(names) != len(values):
        raise OpError(f"[functorch] got {len(values)} {kind}; expected {len(names)}: {', '.join(names)}")
    return dict(zip(names, values, strict=True))
