"""Spectral normalisation: a weight divided by its greatest singular value, which power iteration follows."""

from __future__ import annotations

from typing import Any, TypeVar

import ranvier.ops as ops
from ranvier.autograd.mode import no_grad
from ranvier.autograd.random import randn
from ranvier.autograd.tensor import Tensor
from ranvier.nn.conv import ConvTranspose1d, ConvTranspose2d
from ranvier.nn.module import Module
from ranvier.nn.utils.reweighted import Reweighting, add, remove

M = TypeVar("M", bound=Module)


class SpectralNorm(Reweighting):
    """weight = W / sigma, sigma = u W v with the vectors u and v of the greatest singular value"""

    def __init__(self, name: str, iterations: int, eps: float, dim: int) -> None:
        self.name, self.iterations, self.eps, self.dim = name, iterations, eps, dim

    def _rows(self, weight: Tensor) -> Tensor:
        rows = ops.movedim(weight, self.dim, 0) if self.dim else weight
        return rows.reshape(rows.shape[0], -1)

    def _unit(self, x: Tensor) -> Tensor:
        return x / ops.clamp(ops.norm(x), self.eps)

    def start(self, module: Any) -> None:
        weight = module.__dict__[self.name]
        rows, columns = self._rows(weight.detach()).shape
        delattr(module, self.name)
        setattr(module, self.name + "_orig", weight)
        for part, size in (("_u", rows), ("_v", columns)):
            module.register_buffer(self.name + part, self._unit(randn(size, dtype=weight.dtype)))

    def weight(self, module: Any) -> Tensor:
        weight, u, v = (module.__dict__[self.name + part] for part in ("_orig", "_u", "_v"))
        rows = self._rows(weight)
        if module.training:
            with no_grad():
                for _ in range(self.iterations):
                    v.copy_(self._unit(ops.matmul(rows.mT, u)))
                    u.copy_(self._unit(ops.matmul(rows, v)))
                u, v = u.clone(), v.clone()  # the next call changes the buffers
        return weight / ops.dot(u, ops.matmul(rows, v))

    def end(self, module: Any) -> None:
        for part in ("_orig", "_u", "_v"):
            delattr(module, self.name + part)


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divides the parameter ``name`` of a layer by its greatest singular value, as a matrix with the rows dim
    (0; 1 for transposed convolutions). The parameter is called ``name_orig``; each call in training mode
    improves the singular vectors, buffers ``name_u`` and ``name_v``. Returns the layer.

    Source: Miyato et al.: Spectral Normalization for GANs, 2018. Raises ValueError if the layer has no such
    parameter, or it is normalised already.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.spectral_norm(rv.nn.Linear(3, 2))
    >>> [name for name, _ in layer.named_parameters()], [name for name, _ in layer.named_buffers()]
    (['bias', 'weight_orig'], ['weight_u', 'weight_v'])
    """
    if isinstance(n_power_iterations, bool) or n_power_iterations < 1:
        raise ValueError(f"[spectral_norm] got n_power_iterations {n_power_iterations}; expected at least 1")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d)) else 0
    return add("spectral_norm", module, SpectralNorm(name, n_power_iterations, eps, dim))


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Puts back one parameter, with the value in force. Returns the layer.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.remove_spectral_norm(rv.nn.utils.spectral_norm(rv.nn.Linear(3, 2)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    return remove("remove_spectral_norm", module, name, SpectralNorm)
