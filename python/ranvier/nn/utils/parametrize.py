"""Parameters that modules compute, under the names of torch.nn.utils.parametrize."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.nn.container import ModuleDict, ModuleList
from ranvier.nn.module import Module
from ranvier.nn.parameter import Parameter
from ranvier.nn.utils.reweighted import HELD, Reweighting, hold

__all__ = ["ParametrizationList", "is_parametrized", "register_parametrization", "remove_parametrizations"]


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in turn to ``original``, or for a first one of several
    arguments to ``original0``, ``original1`` ..."""

    def __init__(self, modules: Iterable[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        with no_grad():
            start = _inverted(self, original, required=False)
            parts = [start] if isinstance(start, Tensor) else list(start)
            if not unsafe:
                _require_alike(original, self._applied(parts))
        self._parts = (
            ["original"] if isinstance(start, Tensor) else [f"original{i}" for i in range(len(parts))]
        )
        if isinstance(start, Tensor):
            _give(original, start)
            parts = [original]
        elif isinstance(original, Parameter):
            parts = [Parameter(part.detach().clone(), original.requires_grad) for part in parts]
        for name, part in zip(self._parts, parts, strict=True):
            if isinstance(part, Parameter):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def _applied(self, parts: list[Any]) -> Any:
        first, *others = self
        x = first(*parts)
        for module in others:
            x = module(x)
        return x

    def forward(self) -> Any:
        return self._applied([getattr(self, name) for name in self._parts])

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals so that forward gives the value, by ``right_inverse`` of each module."""
        with no_grad():
            start = _inverted(self, value, required=True)
        for name, part in zip(self._parts, [start] if isinstance(start, Tensor) else start, strict=True):
            _give(getattr(self, name), part)


def _inverted(modules: Any, value: Any, required: bool) -> Any:
    for module in reversed(list(modules)):
        if hasattr(module, "right_inverse"):
            try:
                value = module.right_inverse(value)
            except NotImplementedError:
                if required:
                    raise
        elif required:
            raise RuntimeError(
                f"[right_inverse] parametrization {type(module).__name__} does not implement right_inverse; "
                "expected it, or values for the original"
            )
    return value


def _give(x: Tensor, value: Tensor) -> None:
    """x takes the values, and where they differ the shape and the dtype."""
    if value is not x and (value.shape, value.dtype) == (x.shape, x.dtype):
        with no_grad():
            x.copy_(value)
    elif value is not x:
        x.data = value.detach().clone()


def _require_alike(x: Tensor, y: Any) -> None:
    if not isinstance(y, Tensor) or (y.shape, y.dtype) != (x.shape, x.dtype):
        got = f"{tuple(y.shape)} and {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(
            f"[register_parametrization] got a result of {got} for a tensor of {tuple(x.shape)} and "
            f"{x.dtype}; expected the same shape and dtype, or unsafe=True"
        )


class Parametrized(Reweighting):
    """weight = the last of ``module.parametrizations[name]``"""

    def __init__(self, name: str) -> None:
        self.name = name

    def weight(self, module: Any) -> Tensor:
        result: Tensor = module.parametrizations[self.name]()
        return result

    def assign(self, module: Any, value: Tensor) -> None:
        module.parametrizations[self.name].right_inverse(value)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module, or any, has a parametrization.

    >>> import ranvier as rv
    >>> rv.nn.utils.parametrize.is_parametrized(rv.nn.Linear(3, 2))
    False
    """
    kept = module.__dict__.get("parametrizations")
    return isinstance(kept, ModuleDict) and (tensor_name in kept if tensor_name else len(kept) > 0)


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """Lets a module compute a parameter or buffer of the layer whenever it is read. Returns the layer.

    The tensor itself is then ``layer.parametrizations.weight.original``. A second parametrization gets the
    result of the first. ``layer.weight = value`` sets the original to
    ``parametrization.right_inverse(value)``; with this method, registration keeps the weight's value. It may
    return several tensors, the arguments of forward. unsafe: other shapes and dtypes are allowed.

    Raises ValueError for a name that is no parameter or buffer, and for another shape or dtype.

    >>> import ranvier as rv
    >>> class Symmetric(rv.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = rv.nn.utils.parametrize.register_parametrization(rv.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.mT).all()), [name for name, _ in layer.named_parameters()]
    (True, ['bias', 'parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            with no_grad():
                before = getattr(module, tensor_name)
                _require_alike(before, parametrization(before))
        module.parametrizations[tensor_name].append(parametrization)
        return module
    original = {**module._parameters, **module._buffers}.get(tensor_name)
    if original is None:
        raise ValueError(
            f"[register_parametrization] got {tensor_name!r}; expected a parameter or buffer of "
            f"{type(module).__name__}"
        )
    parts = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = parts
    hold(module, {**module.__dict__.get(HELD, {}), tensor_name: Parametrized(tensor_name)})
    return module


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Puts the tensor back, with the value that it has, or that of the original. Returns the layer.

    Raises ValueError where there is no parametrization, or no one original to leave.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils import parametrize
    >>> layer = parametrize.register_parametrization(rv.nn.Linear(3, 2), "weight", rv.nn.Tanh())
    >>> [name for name, _ in parametrize.remove_parametrizations(layer, "weight").named_parameters()]
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"[remove_parametrizations] got {tensor_name!r}; expected a parametrized tensor")
    parts: Any = module.parametrizations[tensor_name]
    original = getattr(parts, parts._parts[0])
    if parts._parts != ["original"]:
        if not leave_parametrized:
            raise ValueError(
                f"[remove_parametrizations] got leave_parametrized=False for {len(parts._parts)} originals; "
                "expected True"
            )
        trained = isinstance(original, Parameter)
        original = Parameter(original.detach(), original.requires_grad) if trained else original.detach()
    if leave_parametrized:
        with no_grad():
            _give(original, getattr(module, tensor_name))
    held = {name: kept for name, kept in module.__dict__[HELD].items() if name != tensor_name}
    hold(module, held)
    del module.parametrizations[tensor_name]
    if not is_parametrized(module):
        del module.parametrizations
    if isinstance(original, Parameter):
        setattr(module, tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module
