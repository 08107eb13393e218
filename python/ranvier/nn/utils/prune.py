"""Pruning: elements of a parameter kept at 0 by a mask, under the names of torch.nn.utils.prune."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ranvier.autograd.mode import no_grad
from ranvier.autograd.random_tensors import rand
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.nn.module import Module
from ranvier.nn.parameter import Parameter
from ranvier.nn.utils.reweighted import HELD, M, Reweighting, add, hold

__all__ = [
    "L1Unstructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_unstructured",
    "remove",
]

Array = np.ndarray[Any, Any]


class Pruned(Reweighting):
    """weight = weight_orig * weight_mask"""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, module: Any) -> None:
        weight = module.__dict__[self.name]
        delattr(module, self.name)
        setattr(module, f"{self.name}_orig", weight)
        module.register_buffer(f"{self.name}_mask", wrap(np.ones(weight.shape, weight.dtype)))

    def weight(self, module: Any) -> Tensor:
        result: Tensor = module.__dict__[f"{self.name}_orig"] * module.__dict__[f"{self.name}_mask"]
        return result


class L1Unstructured:
    """Prunes the elements of least magnitude: a share of those that are left (a float), or a number.

    >>> import numpy as np, ranvier as rv
    >>> rv.nn.utils.prune.L1Unstructured(0.5).pruned(np.array([3.0, -1.0, 2.0, 0.5]))
    array([3, 1])
    """

    def __init__(self, amount: float) -> None:
        self.amount = _amount(amount)

    def pruned(self, scores: Array) -> Array:
        """The places of the pruned among a vector of scores."""
        return np.argsort(abs(scores), kind="stable")[: _number(self.amount, scores.size)]


class RandomUnstructured(L1Unstructured):
    """Prunes elements that are drawn by chance.

    >>> import numpy as np, ranvier as rv
    >>> rv.nn.utils.prune.RandomUnstructured(3).pruned(np.ones(9)).size
    3
    """

    def pruned(self, scores: Array) -> Array:
        return super().pruned(rand(scores.size).numpy())


def _amount(amount: Any) -> float:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(f"[prune] got amount {amount!r}; expected a number")
    if amount < 0 or (isinstance(amount, float) and amount > 1):
        raise ValueError(
            f"[prune] got amount {amount}; expected a share from 0.0 to 1.0, or a whole number >= 0"
        )
    return amount


def _number(amount: float, size: int) -> int:
    if isinstance(amount, float):
        return round(amount * size)
    if amount > size:
        raise ValueError(
            f"[prune] got amount {amount} for {size} elements that are left; expected at most as many"
        )
    return amount


def _masked(op: str, module: Any, name: str) -> Tensor:
    """The mask of a parameter, of ones where it was not pruned before."""
    if not isinstance(module.__dict__.get(HELD, {}).get(name), Pruned):
        add(op, module, Pruned(name))
    mask: Tensor = module.__dict__[f"{name}_mask"]
    return mask


def _scores(op: str, module: Any, name: str, given: Any) -> Array:
    own = getattr(module, name).detach().numpy()
    scores = own if given is None else np.asarray(given.detach() if isinstance(given, Tensor) else given)
    if scores.shape != own.shape:
        raise ValueError(f"[{op}] got importance_scores of shape {scores.shape}; expected {own.shape}")
    return scores


def _prune(op: str, places: list[tuple[Any, str]], method: Any, given: dict[Any, Any]) -> None:
    """Prunes the parameters as one vector."""
    scores, masks = [], []
    for module, name in places:
        found = _scores(op, module, name, given.get((module, name)))
        mask = module.__dict__.get(f"{name}_mask")
        masks.append(np.ones(found.shape, bool) if mask is None else mask.numpy() != 0)
        scores.append(found.reshape(-1))
    left = np.flatnonzero(np.concatenate([mask.reshape(-1) for mask in masks]))
    pruned = left[method.pruned(np.concatenate(scores)[left])]
    ends = np.cumsum([mask.size for mask in masks])
    for (module, name), end, mask in zip(places, ends, masks, strict=True):
        inside = pruned[(pruned >= end - mask.size) & (pruned < end)] - (end - mask.size)
        mask.reshape(-1)[inside] = False
        _masked(op, module, name).copy_(wrap(mask))


def l1_unstructured(module: M, name: str, amount: float, importance_scores: Any = None) -> M:
    """Keeps the elements of least |x| of a parameter at 0: a share of those left (a float), or a number.

    The parameter is then called ``name_orig``, its mask, a buffer, ``name_mask``; ``name`` is their product.
    importance_scores: in place of x, in its shape. Returns the module.

    Raises ValueError for an amount out of range and a name that is no parameter, TypeError for no number.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.l1_unstructured(rv.nn.Linear(4, 2), "weight", 0.5)
    >>> int((layer.weight == 0).sum()), sorted(layer.state_dict())
    (4, ['bias', 'weight_mask', 'weight_orig'])
    """
    _prune("l1_unstructured", [(module, name)], L1Unstructured(amount), {(module, name): importance_scores})
    return module


def random_unstructured(module: M, name: str, amount: float) -> M:
    """Keeps elements of a parameter at 0 that are drawn by chance: see :func:`l1_unstructured`.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.random_unstructured(rv.nn.Linear(4, 2), "weight", 3)
    >>> int((layer.weight == 0).sum())
    3
    """
    _prune("random_unstructured", [(module, name)], RandomUnstructured(amount), {})
    return module


def ln_structured(
    module: M, name: str, amount: float, n: float, dim: int, importance_scores: Any = None
) -> M:
    """Keeps whole slices along dim at 0, those of least n-norm: see :func:`l1_unstructured`.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.ln_structured(rv.nn.Linear(4, 2), "weight", 0.5, n=2, dim=0)
    >>> int((layer.weight == 0).sum())
    4
    """
    scores = np.moveaxis(_scores("ln_structured", module, name, importance_scores), dim, 0)
    mask = _masked("ln_structured", module, name)
    kept = np.moveaxis(mask.numpy(), dim, 0).copy()
    left = np.flatnonzero(kept.reshape(len(kept), -1).any(1))
    sizes = np.linalg.norm(scores.reshape(len(scores), -1)[left], n, 1)
    kept[left[L1Unstructured(amount).pruned(sizes)]] = 0
    mask.copy_(wrap(np.moveaxis(kept, 0, dim)))
    return module


def global_unstructured(
    parameters: Iterable[tuple[Any, str]], pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prunes several parameters, pairs of module and name, as if they were one.

    pruning_method: L1Unstructured or RandomUnstructured, made with kwargs (``amount``). importance_scores: a
    dict by these pairs.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils import prune
    >>> a, b = rv.nn.Linear(4, 2), rv.nn.Linear(4, 2)
    >>> prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=0.25)
    >>> int((a.weight == 0).sum() + (b.weight == 0).sum())
    4
    """
    places = list(parameters)
    _prune("global_unstructured", places, pruning_method(**kwargs), dict(importance_scores or {}))


def custom_from_mask(module: M, name: str, mask: Any) -> M:
    """Keeps the elements of a parameter at 0 where the mask is: see :func:`l1_unstructured`.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.custom_from_mask(rv.nn.Linear(3, 1), "bias", rv.tensor([0.0]))
    >>> layer.bias == 0
    tensor([True])
    """
    given = mask._array if isinstance(mask, Tensor) else np.asarray(mask)
    if given.shape != getattr(module, name).shape:
        raise ValueError(
            f"[custom_from_mask] got a mask of shape {given.shape}; expected {getattr(module, name).shape}"
        )
    own = _masked("custom_from_mask", module, name)
    own.copy_(wrap(own.numpy() * given))
    return module


def remove(module: M, name: str) -> M:
    """Puts the parameter back, with 0 where it is pruned. Returns the module.

    Raises ValueError for a parameter that is not pruned.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils import prune
    >>> layer = prune.remove(prune.l1_unstructured(rv.nn.Linear(4, 2), "weight", 0.5), "weight")
    >>> sorted(layer.state_dict()), int((layer.weight == 0).sum())
    (['bias', 'weight'], 4)
    """
    held = dict(module.__dict__.get(HELD, {}))
    found = held.pop(name, None)
    if not isinstance(found, Pruned):
        raise ValueError(f"[remove] got {name!r}; expected a parameter that has been pruned")
    original: Parameter = module.__dict__[f"{name}_orig"]
    with no_grad():
        original.copy_(found.weight(module))
    hold(module, held)
    delattr(module, f"{name}_orig")
    delattr(module, f"{name}_mask")
    setattr(module, name, original)
    return module


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of one inside it, is pruned.

    >>> import ranvier as rv
    >>> rv.nn.utils.prune.is_pruned(rv.nn.Linear(4, 2))
    False
    """
    inside = (held for m in module.modules() for held in m.__dict__.get(HELD, {}).values())
    return any(isinstance(held, Pruned) for held in inside)
