"""Weight and spectral norm as parametrizations, under the names of torch.nn.utils.parametrizations."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import ranvier.ops as ops
from ranvier.grad_mode import no_grad
from ranvier.nn.module import Module
from ranvier.nn.utils.parametrize import register_parametrization
from ranvier.nn.utils.reweighted import as_rows, norm_dim, norm_except, row_dim, unit
from ranvier.ops.making.random import randn
from ranvier.tensors.tensor import Tensor

__all__ = ["spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    """weight = g v / |v|, with the norm over all dimensions except dim"""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = norm_dim(dim)

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Computes the parameter ``name`` from ``parametrizations.name.original0``, the norms over all dimensions
    except dim, and ``original1``, the direction. With dim None or -1 there is one norm. Returns the layer.

    `load_state_dict` also takes `name_g` and `name_v` of :func:`ranvier.nn.utils.weight_norm`.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.parametrizations.weight_norm(rv.nn.Linear(3, 2))
    >>> [(name, tuple(p.shape)) for name, p in layer.named_parameters()][1:]
    [('parametrizations.weight.original0', (2, 1)), ('parametrizations.weight.original1', (2, 3))]
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module._register_load_state_dict_pre_hook(partial(_rename, name))
    return module


def _rename(name: str, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Gives values that nn.utils.weight_norm has saved the names of the parametrization, in `state`.

    A hook of `load_state_dict`, whose further arguments it does not need. prefix: the path of the layer.
    """
    old_names = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
    if all(key in state for key in old_names):
        for i, key in enumerate(old_names):
            state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(key)


class _SpectralNorm(Module):
    """weight / sigma, sigma = u W v with the vectors u and v of the greatest singular value"""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps
        if weight.ndim > 1:
            rows = as_rows(weight.detach(), self.dim)
            for name, size in zip(("_u", "_v"), rows.shape, strict=True):
                self.register_buffer(name, unit(randn(size, dtype=weight.dtype), eps))
            self._iterate(rows, 15)  # The vectors are random: these steps bring them near the singular ones.

    def _iterate(self, rows: Tensor, times: int) -> None:
        with no_grad():
            for _ in range(times):
                self._u.copy_(unit(ops.mv(rows, self._v), self.eps))
                self._v.copy_(unit(ops.mv(rows.mT, self._u), self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return unit(weight, self.eps)
        rows = as_rows(weight, self.dim)
        if self.training:
            self._iterate(rows, self.n_power_iterations)
        # These are copies, because backward needs the values and the next call changes the buffers.
        u = self._u.clone()
        v = self._v.clone()
        return weight / ops.dot(u, ops.mv(rows, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divides the parameter ``name``, as a matrix whose rows are dimension dim, by its greatest singular
    value. dim is 0 by default, for transposed convolutions 1. Each call in training mode improves the
    singular vectors, by n_power_iterations steps of the power method. Returns the layer.

    Source: Miyato et al.: Spectral Normalization for GANs, 2018. Raises ValueError if the layer has no such
    parameter, and for less than one iteration.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.parametrizations.spectral_norm(rv.nn.Linear(3, 2))
    >>> [name for name, _ in layer.named_buffers()]
    ['parametrizations.weight.0._u', 'parametrizations.weight.0._v']
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"[spectral_norm] got {name!r}; expected a parameter of {type(module).__name__}")
    dim = row_dim(module, n_power_iterations, dim)
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module
