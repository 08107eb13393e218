"""The losses of ``nn.functional``. Each row of a table has an op and PyTorch's arguments in PyTorch's order,
and `_form` makes a function of each row.

The types and defaults of the arguments, and the docstring, come from the op.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import ranvier._core as _core  # noqa: F401  # rows call it
import ranvier.ops
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.generated import made
from ranvier.ops.loss.base import reduced, reduction_of  # noqa: F401  # rows call it
from ranvier.tensors.failures import misfit, op_of, put_name
from ranvier.tensors.tensor import Tensor

ops: Any = ranvier.ops  # mypy finds no type of a decorated function in a cycle of imports
_INPUTS = {"x": "input", "x1": "input1", "x2": "input2"}  # PyTorch's names of arguments of ops
FORMS: dict[str, Callable[..., Tensor]] = {}  # {name of the op: the function in nn.functional}


def parameters_of(op: Callable[..., Tensor]) -> dict[str, Parameter]:
    """The parameters of an op under PyTorch's names."""
    parameters = signature(op).parameters.values()
    return {name: p.replace(name=name) for p in parameters for name in [_INPUTS.get(p.name, p.name)]}


def _form(name: str, op: Callable[..., Tensor], order: str) -> Callable[..., Tensor]:
    """Makes the function of a row. If the op has no weight but PyTorch's function has one, it multiplies the
    losses of the elements."""
    of_op = parameters_of(op)
    call = f"ops.{op.__name__}({', '.join(of_op)})"
    lines = []
    if "reduce" in order.split():
        old = f"reduction_of({name!r}, size_average, reduce, reduction)"
        lines.append(f"if not (size_average is None is reduce): reduction = {old}")
    if "weight" in order.split() and "weight" not in of_op:
        losses = call.replace("reduction", "'none'")
        if name != "huber_loss":  # PyTorch computes the others by ops that autocast does not change.
            losses = f"_core._without_autocast(lambda: {losses})"
        lines.append(f"if weight is not None: return _weighted({name!r}, {losses}, weight, reduction)")
    lines.append(f"return {call}")
    if name != op.__name__:
        lines = own_named(lines, op.__name__, name)
    added = Parameter("_", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation="Any")
    parameters = [of_op.get(argument, added.replace(name=argument)) for argument in order.split()]
    form = made(name, parameters, "\n".join(lines), globals(), "Tensor")
    form.__doc__ = op.__doc__
    FORMS[op.__name__] = form
    return form


def own_named(lines: list[str], op: str, name: str) -> list[str]:
    """The lines of a function within ``try``, so that an error of the op has the name of the function in
    ``nn.functional``."""
    body = [f" {line}" for line in lines]
    named = f" put_public_name(error, {op!r}, {name!r})"
    return ["try:", *body, "except Exception as error:", named, " raise"]


def put_public_name(error: Exception, op: str, name: str) -> None:
    """Gives an error of this op the name of the function in ``nn.functional``."""
    if op_of(error) == op:
        put_name(error, name)


def _weighted(name: str, losses: Tensor, weight: Any, reduction: str) -> Tensor:
    """Reduces the losses of elements, times their weights. For a mean the sum is divided by the sum of the
    weights, in huber_loss by the number of elements."""
    weight = as_tensor(name, weight)
    if weight.shape != losses.shape:
        raise misfit(name, {"weight": weight.shape}, losses.shape)
    if reduction == "mean" and name != "huber_loss":
        return (losses * weight).sum() / weight.sum()
    return reduced(name, losses * weight, reduction)


_OLD = "size_average reduce reduction"

binary_cross_entropy = _form("binary_cross_entropy", ops.bce, f"input target weight {_OLD}")
binary_cross_entropy_with_logits = _form(
    "binary_cross_entropy_with_logits", ops.bce_with_logits, f"input target weight {_OLD} pos_weight"
)
cosine_embedding_loss = _form(
    "cosine_embedding_loss", ops.cosine_embedding, f"input1 input2 target margin {_OLD}"
)
cross_entropy = _form(
    "cross_entropy",
    ops.cross_entropy,
    "input target weight size_average ignore_index reduce reduction label_smoothing",
)
gaussian_nll_loss = _form("gaussian_nll_loss", ops.gaussian_nll, "input target var full eps reduction")
huber_loss = _form("huber_loss", ops.huber, "input target reduction delta weight")
kl_div = _form("kl_div", ops.kl_div, f"input target {_OLD} log_target")
l1_loss = _form("l1_loss", ops.l1, f"input target {_OLD} weight")
margin_ranking_loss = _form("margin_ranking_loss", ops.margin_ranking, f"input1 input2 target margin {_OLD}")
mse_loss = _form("mse_loss", ops.mse, f"input target {_OLD} weight")
nll_loss = _form("nll_loss", ops.nll, "input target weight size_average ignore_index reduce reduction")
poisson_nll_loss = _form(
    "poisson_nll_loss", ops.poisson_nll, "input target log_input full size_average eps reduce reduction"
)
smooth_l1_loss = _form("smooth_l1_loss", ops.smooth_l1, f"input target {_OLD} beta")
triplet_margin_loss = _form(
    "triplet_margin_loss", ops.triplet_margin, f"anchor positive negative margin p eps swap {_OLD}"
)
