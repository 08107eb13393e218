"""torch.nn.utils.prune: multiplies parameters by masks of 0 and 1, in a hook before each call of their
module.

A pruned parameter x becomes the parameter x_orig and the buffer x_mask; x is the product, an attribute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import ranvier as rv
from ranvier import Tensor
from ranvier.nn import Module
from ranvier.nn.utils import parameters_to_vector


class BasePruningMethod(ABC):
    """`compute_mask(t, default_mask)` gives a mask of t's shape; `apply` prunes a parameter by it."""

    PRUNING_TYPE: ClassVar[str]
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor: ...

    def apply_mask(self, module: Module) -> Tensor:
        original = module._parameters[f"{self._tensor_name}_orig"]
        return module._buffers[f"{self._tensor_name}_mask"].to(original.dtype) * original  # type: ignore[union-attr]

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prunes a parameter of a module; if it is pruned already, the elements that are left."""
        hooks = module._forward_pre_hooks
        key, old = next(((k, h) for k, h in hooks.items() if _prunes(h, name)), (None, None))
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        original = value = getattr(module, name)
        scores = value if importance_scores is None else importance_scores
        if scores.shape != value.shape:
            raise AssertionError(
                f"[prune] got importance_scores of shape {scores.shape}; expected {value.shape}"
            )
        if old is None:
            mask = rv.ones_like(value)
        else:
            added = method
            if isinstance(old, PruningContainer):
                method = old
            else:
                method = PruningContainer(old)
            method.add_pruning_method(added)
            mask = getattr(module, f"{name}_mask").detach().clone()
        mask = method.compute_mask(scores, default_mask=mask)
        if old is None:
            del module._parameters[name]
            module.register_parameter(f"{name}_orig", original)
        else:
            del hooks[key]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Any = None, importance_scores: Any = None) -> Tensor:
        scores = t if importance_scores is None else importance_scores
        mask = rv.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=mask)

    def remove(self, module: Module) -> None:
        """Ends the pruning: the parameter has its own name again, and the pruned values."""
        name, values = self._tensor_name, self.apply_mask(module)
        delattr(module, name)
        original = module._parameters[f"{name}_orig"]
        original.data = values.data  # type: ignore[union-attr]
        del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
        setattr(module, name, original)


def _prunes(hook: Any, name: str) -> bool:
    return isinstance(hook, BasePruningMethod) and hook._tensor_name == name


class PruningContainer(BasePruningMethod):
    """Several pruning methods that were applied to one parameter, one after the other."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        self._tensor_name = args[0]._tensor_name if args else ""
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name not in ("", method._tensor_name):
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named {self._tensor_name!r}, "
                f"found {method._tensor_name!r}"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """default_mask with more zeros: those of the last method among the elements or channels left."""
        method, mask = self._pruning_methods[-1], default_mask.to(t.dtype)
        left: Any = default_mask.eq(1)
        if method.PRUNING_TYPE == "structured":
            dim = method.dim % t.ndim  # type: ignore[attr-defined]
            kept = mask.sum([d for d in range(t.ndim) if d != dim]) != 0
            left = (slice(None),) * dim + (kept,)
        elif method.PRUNING_TYPE == "global":
            left = (slice(None),) * t.ndim
        elif method.PRUNING_TYPE != "unstructured":
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask[left] = method.compute_mask(t[left], default_mask=default_mask[left]).to(t.dtype)
        return mask


class Identity(BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    """Prunes a share (amount < 1) or a number of the elements, or of the slices, of a parameter."""

    def __init__(self, amount: Any) -> None:
        if not isinstance(amount, Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if float(amount) < 0 or (float(amount) > 1 and not isinstance(amount, Integral)):
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
            )
        self.amount = amount

    def _count(self, size: int) -> int:
        count = int(self.amount if isinstance(self.amount, Integral) else round(float(self.amount) * size))
        if count > size:
            raise ValueError(
                f"amount={self.amount} should be smaller than the number of parameters to prune={size}"
            )
        return count


class _Unstructured(_Amount):
    PRUNING_TYPE = "unstructured"
    _largest = False

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        mask = default_mask.clone()
        if count := self._count(t.numel()):
            mask.view(-1)[self._scores(t).view(-1).topk(count, largest=self._largest).indices] = 0
        return mask

    def _scores(self, t: Tensor) -> Tensor:
        return t.abs()


class L1Unstructured(_Unstructured):
    pass


class RandomUnstructured(_Unstructured):
    _largest = True

    def _scores(self, t: Tensor) -> Tensor:
        return rv.rand_like(t)


class _Structured(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.ndim} dims"
            )
        if self.dim >= t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        count = self._count(t.shape[self.dim])
        if count == 0:
            return default_mask
        kept: Any = (slice(None),) * (self.dim % t.ndim) + (self._kept(t, count),)
        mask = rv.zeros_like(t)
        mask[kept] = 1
        return mask * default_mask.to(mask.dtype)

    def _kept(self, t: Tensor, count: int) -> Tensor:
        """Which channels stay where `count` are left out."""
        raise NotImplementedError


class RandomStructured(_Structured):
    def _kept(self, t: Tensor, count: int) -> Tensor:
        drawn = rv.rand(t.shape[self.dim])
        return drawn > drawn.kthvalue(count).values


class LnStructured(_Structured):
    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _kept(self, t: Tensor, count: int) -> Tensor:
        others = [d for d in range(t.ndim) if d != self.dim % t.ndim]
        return rv.norm(t, p=self.n, dim=others).topk(t.shape[self.dim] - count).indices


class CustomFromMask(BasePruningMethod):
    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if self.mask.shape != default_mask.shape:
            raise AssertionError(f"[prune] got a mask {self.mask.shape}; expected {default_mask.shape}")
        return default_mask * self.mask.to(default_mask.dtype)


def _function(method: type[BasePruningMethod], *names: str) -> Any:
    def prune(module: Module, name: str, *args: Any, **settings: Any) -> Module:
        method.apply(module, name, **dict(zip(names, args, strict=False)), **settings)
        return module

    return prune


identity = _function(Identity)
random_unstructured = _function(RandomUnstructured, "amount")
l1_unstructured = _function(L1Unstructured, "amount", "importance_scores")
random_structured = _function(RandomStructured, "amount", "dim")
ln_structured = _function(LnStructured, "amount", "n", "dim", "importance_scores")
custom_from_mask = _function(CustomFromMask, "mask")


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prunes parameters, (module, name) each, by the scores of all their elements together."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    parameters = list(parameters)
    given = {} if importance_scores is None else importance_scores
    if not isinstance(given, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    values = [getattr(module, name) for module, name in parameters]
    scores = [given.get(where, value) for where, value in zip(parameters, values, strict=True)]
    pairs = zip(parameters, values, strict=True)
    masks = [getattr(module, f"{name}_mask", rv.ones_like(value)) for (module, name), value in pairs]
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. '
            f"Found method {pruning_method} of type {method.PRUNING_TYPE}"
        )
    container = PruningContainer(method)
    mask = container.compute_mask(parameters_to_vector(scores), parameters_to_vector(masks))
    for (module, name), part in zip(parameters, mask.split([x.numel() for x in values]), strict=True):
        custom_from_mask(module, name, part.view(getattr(module, name).shape))


def remove(module: Module, name: str) -> Module:
    """Ends the pruning of a parameter, whose values it leaves as they are.

    >>> layer = l1_unstructured(rv.nn.Linear(4, 1), "weight", 0.5)
    >>> int((layer.weight == 0).sum()), is_pruned(layer), is_pruned(remove(layer, "weight"))
    (2, True, False)
    """
    for key, hook in module._forward_pre_hooks.items():
        if _prunes(hook, name):
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    hooks = (hook for layer in module.modules() for hook in layer._forward_pre_hooks.values())
    return any(isinstance(hook, BasePruningMethod) for hook in hooks)
