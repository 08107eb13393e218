"""Weights that are computed from other parameters whenever a layer reads them: weight and spectral norm.

The layer gets a class in which ``weight`` is a property. So the weight is computed anew whenever it is read.
How it is computed says a `Reweighting`, which the layer holds in an attribute (HELD). The parameters and
buffers from which it is computed are the components of the weight: ``weight_g`` and ``weight_v`` of weight
norm.

`nn/utils/parametrize.py` uses `hold`, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import ranvier.ops as ops
from ranvier.grad_mode import no_grad
from ranvier.nn.conv import ConvTranspose1d, ConvTranspose2d
from ranvier.nn.module import Module
from ranvier.nn.parameter import Parameter
from ranvier.ops.making.random import randn
from ranvier.tensors.errors import no_dim, whole
from ranvier.tensors.tensor import Tensor

M = TypeVar("M", bound=Module)
HELD = "_reweighted"  # the attribute of a layer: {name of a weight: Reweighting}


class Reweighting:
    """The computation of one weight of a layer."""

    name: str
    parts: tuple[str, ...] = ()  # the endings of the components' names: "_g" of "weight_g"

    def start(self, module: Module) -> None:
        """Replaces the parameter by its components."""
        raise NotImplementedError

    def weight(self, module: Module) -> Tensor:
        """The weight, on the tape."""
        raise NotImplementedError

    def assign(self, module: Module, value: Tensor) -> None:
        """Gives the components the values from which this weight is computed."""
        raise AttributeError(f"[setattr] got {self.name!r}, which is computed; expected the name of a part")


def _computed(name: str) -> property:
    """The property that takes the parameter's place in the layer's class."""

    def read(module: Module) -> Tensor:
        return module.__dict__[HELD][name].weight(module)

    def assign(module: Module, value: Tensor) -> None:
        module.__dict__[HELD][name].assign(module, value)

    return property(read, assign)


def _reduce(module: Module) -> tuple[Callable[..., Module], tuple[Any, ...], dict[str, Any]]:
    """``__reduce__`` of the subclasses: pickles the layer under the class that the subclass is made of, since
    pickle cannot find the subclass by name."""
    arguments = type(module).__base__, tuple(module.__dict__[HELD])
    return _made, arguments, module.__dict__


@cache
def _class(layer_class: type, names: tuple[str, ...]) -> type:
    """A subclass of a layer's class, with the same name, in which these names are properties."""
    body: dict[str, Any] = {name: _computed(name) for name in names}
    body["__module__"] = layer_class.__module__
    body["__reduce__"] = _reduce
    return type(layer_class.__name__, (layer_class,), body)


# Pickles have the name of this function.
def _made(kind: type, names: tuple[str, ...]) -> Module:
    """A layer without attributes, which pickle then sets. kind: the layer's class; names: of the weights that
    are computed."""
    return object.__new__(_class(kind, names))


def hold(module: Module, held: dict[str, Reweighting]) -> None:
    """Gives the module the class in which the weights named in `held` are computed, and no others; with none,
    its own class again."""
    attributes = module.__dict__
    layer_class: Any = module.__class__  # not type(module): a compiled model gives the class of its layer
    if HELD in attributes:  # The class is one that this function has made before.
        layer_class = layer_class.__base__
    attributes[HELD] = held
    if held:
        module.__class__ = _class(layer_class, tuple(held))
    else:
        module.__class__ = layer_class
        del attributes[HELD]


def add(op: str, module: M, reweighting: Reweighting) -> M:
    """Lets a parameter of the module be computed. op: the name of the caller, for errors."""
    name = reweighting.name
    held = module.__dict__.get(HELD, {})
    if name in held:
        raise ValueError(f"[{op}] got {name!r}, which is computed already; expected another parameter")
    if not isinstance(module.__dict__.get(name), Parameter):
        raise ValueError(f"[{op}] got {name!r}; expected a parameter of {type(module).__name__}")
    reweighting.start(module)
    hold(module, {**held, name: reweighting})
    return module


def remove(op: str, module: M, name: str, expected: type[Reweighting]) -> M:
    """Makes a computed weight a parameter again. Raises ValueError unless it is computed by the expected
    class. op: the name of the caller, for errors."""
    held = dict(module.__dict__.get(HELD, {}))
    reweighting = held.pop(name, None)
    if not isinstance(reweighting, expected):
        raise ValueError(f"[{op}] got {name!r}; expected a parameter that is normalised")
    with no_grad():
        weight = reweighting.weight(module)
    for ending in reweighting.parts:
        delattr(module, name + ending)
    hold(module, held)
    setattr(module, name, Parameter(weight.detach()))
    return module


def norm_except(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm over all dimensions except dim; they stay, with size 1. dim = None: the norm of all
    elements, without dimensions."""
    if dim is not None and not -v.ndim <= dim < v.ndim:
        raise no_dim("weight_norm", dim, v.ndim, IndexError())
    if dim is None:
        axes = tuple(range(v.ndim))
    else:
        axes = tuple(d for d in range(v.ndim) if d != dim % v.ndim)
    if axes:
        return ops.norm(v, 2, axes, dim is not None)
    return ops.abs(v)


class WeightNorm(Reweighting):
    """weight = g v / |v|, with the norm over all dimensions except dim"""

    parts = ("_g", "_v")

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = dim

    def start(self, module: Module) -> None:
        weight = module.__dict__[self.name]
        with no_grad():
            length = norm_except(weight, self.dim)
        delattr(module, self.name)
        setattr(module, self.name + "_g", Parameter(length.detach()))
        setattr(module, self.name + "_v", Parameter(weight.detach()))

    def weight(self, module: Module) -> Tensor:
        g = module.__dict__[self.name + "_g"]
        v = module.__dict__[self.name + "_v"]
        return v * (g / norm_except(v, self.dim))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Replaces the parameter ``name`` of a layer by ``name_g``, the norms over all dimensions except dim, and
    ``name_v``, the direction. With dim None or -1 there is one norm. Returns the layer.

    Source: Salimans, Kingma: Weight Normalization, 2016. Raises ValueError if the layer has no such
    parameter, or it is normalised already.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.weight_norm(rv.nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in layer.named_parameters()]
    [('bias', (2,)), ('weight_g', (2, 1)), ('weight_v', (2, 3))]
    """
    return add("weight_norm", module, WeightNorm(name, norm_dim(dim)))


def norm_dim(dim: int | None) -> int | None:
    """The argument dim of `weight_norm`, with None for -1."""
    if dim is None:
        return None
    dim = whole("weight_norm", "dim", dim)
    if dim == -1:
        return None
    return dim


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Puts back one parameter, with the value in force. Returns the layer.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.remove_weight_norm(rv.nn.utils.weight_norm(rv.nn.Linear(3, 2)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    return remove("remove_weight_norm", module, name, WeightNorm)


def row_dim(module: Module, iterations: int, dim: int | None) -> int:
    """The dimension of a layer's weight whose elements are the rows, for spectral norm. Also checks the
    number of iterations."""
    if isinstance(iterations, bool) or iterations < 1:
        raise ValueError(f"[spectral_norm] got n_power_iterations {iterations}; expected at least 1")
    if dim is None:
        return int(isinstance(module, (ConvTranspose1d, ConvTranspose2d)))
    return dim


def as_rows(weight: Tensor, dim: int) -> Tensor:
    """The weight as a matrix whose rows are its slices along dimension `dim`."""
    rows = weight
    if dim:
        rows = ops.movedim(weight, dim, 0)
    return rows.reshape(rows.shape[0], -1)


def unit(x: Tensor, eps: float) -> Tensor:
    """x divided by its 2-norm, or by eps if the norm is smaller."""
    return x / ops.clamp(ops.norm(x), eps)


class SpectralNorm(Reweighting):
    """weight = W / sigma, sigma = u W v with the vectors u and v of the greatest singular value"""

    parts = ("_orig", "_u", "_v")

    def __init__(self, name: str, iterations: int, eps: float, dim: int) -> None:
        self.name = name
        self.iterations = iterations
        self.eps = eps
        self.dim = dim

    def start(self, module: Module) -> None:
        weight = module.__dict__[self.name]
        rows, columns = as_rows(weight.detach(), self.dim).shape
        delattr(module, self.name)
        setattr(module, self.name + "_orig", weight)
        for ending, size in (("_u", rows), ("_v", columns)):
            module.register_buffer(self.name + ending, unit(randn(size, dtype=weight.dtype), self.eps))

    def weight(self, module: Module) -> Tensor:
        weight = module.__dict__[self.name + "_orig"]
        u = module.__dict__[self.name + "_u"]
        v = module.__dict__[self.name + "_v"]
        rows = as_rows(weight, self.dim)
        if module.training:
            with no_grad():
                for _ in range(self.iterations):
                    v.copy_(unit(ops.mv(rows.mT, u), self.eps))
                    u.copy_(unit(ops.mv(rows, v), self.eps))
                # These are copies, because backward needs the values and the next call changes the buffers.
                u = u.clone()
                v = v.clone()
        return weight / ops.dot(u, ops.mv(rows, v))


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divides the parameter ``name`` of a layer, as a matrix whose rows are dimension dim, by its greatest
    singular value. dim is 0 by default, for transposed convolutions 1. The parameter is then ``name_orig``.
    Each call in training mode improves the singular vectors, the buffers ``name_u`` and ``name_v``, by
    n_power_iterations steps of the power method. Returns the layer.

    Source: Miyato et al.: Spectral Normalization for GANs, 2018. Raises ValueError if the layer has no such
    parameter, or it is normalised already.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.spectral_norm(rv.nn.Linear(3, 2))
    >>> [name for name, _ in layer.named_parameters()], [name for name, _ in layer.named_buffers()]
    (['bias', 'weight_orig'], ['weight_u', 'weight_v'])
    """
    dim = row_dim(module, n_power_iterations, dim)
    return add("spectral_norm", module, SpectralNorm(name, n_power_iterations, eps, dim))


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Puts back one parameter, with the value in force. Returns the layer.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.remove_spectral_norm(rv.nn.utils.spectral_norm(rv.nn.Linear(3, 2)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    return remove("remove_spectral_norm", module, name, SpectralNorm)
