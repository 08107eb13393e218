"""Pruning: elements of a parameter kept at 0 by a mask, under the names of torch.nn.utils.prune."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from ranvier.autograd.mode import no_grad
from ranvier.autograd.random import rand
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.nn.utils.reweighted import HELD, Reweighting, add, hold
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.rows import examples as _examples


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


def _weight(module: Any, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"[prune] got {name!r}; expected a parameter of {type(module).__name__}")
    return weight


def _kept(module: Any, name: str) -> Any:
    """A copy of the mask; ones where nothing is pruned."""
    weight, mask = _weight(module, name), module.__dict__.get(f"{name}_mask")
    return np.ones(weight.shape) if mask is None else mask.numpy().copy()


def _scores(module: Any, name: str, replacement: Any) -> Any:
    """|x| of a parameter, or of what is given in its place."""
    shape = _weight(module, name).shape
    scores = _weight(module, name) if replacement is None else as_tensor("prune", replacement)
    if tuple(scores.shape) != shape:
        raise ValueError(f"[prune] got importance_scores of shape {scores.shape}; expected {shape}")
    return np.abs(np.asarray(scores.detach()))


def _least(kept: Any, scores: Any, amount: Any) -> None:
    """Puts 0 at the places of least score among those of the first axis of kept that are left."""
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise TypeError(f"[prune] got amount {amount!r}; expected a number")
    left = np.flatnonzero(kept.any(axis=tuple(range(1, kept.ndim))))
    number = int(amount) if isinstance(amount, Integral) else float(amount)
    share = isinstance(number, float)
    if not 0 <= number <= (1 if share else left.size):
        raise ValueError(f"[prune] got amount {amount}; expected 0.0 to 1.0, or 0 to {left.size} elements")
    order = np.argsort(scores[left], kind="stable")
    kept[left[order[: round(number * left.size if share else number)]]] = 0


def l1_unstructured(module: Any, name: str, amount: float, importance_scores: Any = None) -> Any:
    """Keeps the elements of least |x| of a parameter at 0: a share of those left (a float), or a number.

    The parameter is then called ``name_orig``, its mask, a buffer, ``name_mask``; ``name`` is their product.
    importance_scores: in place of x, in its shape. Returns the module.

    Raises ValueError for an amount out of range and a name that is no parameter, TypeError for no number.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.l1_unstructured(rv.nn.Linear(4, 2), "weight", 0.5)
    >>> int((layer.weight == 0).sum()), sorted(layer.state_dict())
    (4, ['bias', 'weight_mask', 'weight_orig'])
    """
    scores = {(module, name): importance_scores}
    global_unstructured([(module, name)], L1Unstructured, scores, amount=amount)
    return module


def random_unstructured(module: Any, name: str, amount: float) -> Any:
    """Keeps elements of a parameter at 0 that are drawn by chance: see :func:`l1_unstructured`.
    | int((rv.nn.utils.prune.random_unstructured(rv.nn.Linear(4, 2), "weight", 3).weight == 0).sum()) -> 3"""
    global_unstructured([(module, name)], RandomUnstructured, amount=amount)
    return module


def ln_structured(
    module: Any, name: str, amount: float, n: float, dim: int, importance_scores: Any = None
) -> Any:
    """Keeps whole slices along dim at 0, those of least norm of order n: see :func:`l1_unstructured`.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.ln_structured(rv.nn.Linear(4, 2), "weight", 0.5, n=2, dim=0)
    >>> (layer.weight == 0).all(dim=1).sum()
    tensor(1)
    """
    kept, scores = _kept(module, name), _scores(module, name, importance_scores)
    if not -kept.ndim <= dim < kept.ndim:
        raise IndexError(f"[prune] got dim {dim}; expected one of the {kept.ndim} of {name}")
    rows = np.moveaxis(scores, dim, 0).reshape(kept.shape[dim], -1)
    _least(np.moveaxis(kept, dim, 0), np.linalg.norm(rows, n, axis=1), amount)
    return custom_from_mask(module, name, kept)


class L1Unstructured:
    """What :func:`global_unstructured` takes for the elements of least score."""

    scores = staticmethod(np.asarray)


class RandomUnstructured:
    """What :func:`global_unstructured` takes for elements that are drawn by chance."""

    @staticmethod
    def scores(scores: Any) -> Any:
        return np.asarray(rand(scores.shape))


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Keeps elements of several parameters at 0, chosen among all of them: see :func:`l1_unstructured`.

    parameters: pairs of a module and a name. pruning_method: L1Unstructured or RandomUnstructured.
    importance_scores: a dict of such pairs. The amount is given by its name. Raises TypeError for another
    method.

    >>> import ranvier as rv
    >>> layers, prune = [rv.nn.Linear(2, 2), rv.nn.Linear(2, 3)], rv.nn.utils.prune
    >>> prune.global_unstructured([(m, "weight") for m in layers], prune.L1Unstructured, amount=0.4)
    >>> sum((m.weight == 0).sum() for m in layers)
    tensor(4)
    """
    pairs, scores_of = list(parameters), importance_scores or {}
    if pruning_method not in (L1Unstructured, RandomUnstructured) or set(kwargs) != {"amount"}:
        raise TypeError(
            f"[global_unstructured] got {pruning_method!r} and {sorted(kwargs)}; expected L1Unstructured or "
            "RandomUnstructured, and amount"
        )
    masks = [_kept(*pair) for pair in pairs]
    scores = [_scores(module, name, scores_of.get((module, name))).reshape(-1) for module, name in pairs]
    kept = np.concatenate([mask.reshape(-1) for mask in masks])
    _least(kept, pruning_method.scores(np.concatenate(scores)), kwargs["amount"])
    parts = np.split(kept, np.cumsum([mask.size for mask in masks])[:-1])
    for (module, name), mask, part in zip(pairs, masks, parts, strict=True):
        custom_from_mask(module, name, part.reshape(mask.shape))


def custom_from_mask(module: Any, name: str, mask: Any) -> Any:
    """Keeps the elements of a parameter at 0 where the mask is: see :func:`l1_unstructured`.
    | rv.nn.utils.prune.custom_from_mask(rv.nn.Linear(3, 1), "bias", rv.tensor([0.0])).bias == 0
    -> tensor([True])"""
    array, shape = np.asarray(mask), _weight(module, name).shape
    if array.shape != shape:
        raise ValueError(f"[custom_from_mask] got a mask of shape {array.shape}; expected {shape}")
    if not isinstance(module.__dict__.get(HELD, {}).get(name), Pruned):
        add("prune", module, Pruned(name))
    module.__dict__[f"{name}_mask"].mul_(wrap(array))
    return module


def remove(module: Any, name: str) -> Any:
    """Puts the parameter back, with 0 where it is pruned. Raises ValueError for one that is not.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.prune.l1_unstructured(rv.nn.Linear(4, 2), "weight", 0.5)
    >>> sorted(rv.nn.utils.prune.remove(layer, "weight").state_dict())
    ['bias', 'weight']
    """
    held = dict(module.__dict__.get(HELD, {}))
    pruned = held.pop(name, None)
    if not isinstance(pruned, Pruned):
        raise ValueError(f"[remove] got {name!r}; expected a parameter that has been pruned")
    original = module.__dict__[f"{name}_orig"]
    with no_grad():
        original.copy_(pruned.weight(module))
    hold(module, held)
    for part in ("_orig", "_mask"):
        delattr(module, name + part)
    setattr(module, name, original)
    return module


def is_pruned(module: Any) -> bool:
    """Whether a parameter of the module, or of one inside it, is pruned.
    | rv.nn.utils.prune.is_pruned(rv.nn.Linear(4, 2)) -> False"""
    parts = (held for m in module.modules() for held in m.__dict__.get(HELD, {}).values())
    return any(isinstance(held, Pruned) for held in parts)


_examples(globals())
