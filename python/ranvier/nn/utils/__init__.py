"""Gradient clipping, parameters as one vector, weights that are normalised or computed
(``parametrize``), sequences of several lengths (``rnn``)."""

import importlib as _importlib
import sys as _sys
import types as _types
import typing as _typing

import ranvier.first_use as _first_use

if _typing.TYPE_CHECKING:
    from ranvier.nn.utils import parametrizations, parametrize, rnn
    from ranvier.nn.utils.clip_grad import (
        clip_grad_norm,
        clip_grad_norm_,
        clip_grad_value_,
        clip_grads_with_norm_,
        get_total_norm,
        parameters_to_vector,
        vector_to_parameters,
    )
    from ranvier.nn.utils.reweighted import (
        remove_spectral_norm,
        remove_weight_norm,
        spectral_norm,
        weight_norm,
    )

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm",
    "parameters_to_vector", "parametrizations", "parametrize", "remove_spectral_norm",
    "remove_weight_norm", "rnn", "spectral_norm", "vector_to_parameters", "weight_norm",
]  # fmt: skip

_MODULES = {
    "clip_grad": """
        clip_grad_norm clip_grad_norm_ clip_grad_value_ clip_grads_with_norm_ get_total_norm
        parameters_to_vector vector_to_parameters
    """,
    "parametrizations": "",
    "parametrize": "",
    "reweighted": "remove_spectral_norm remove_weight_norm spectral_norm weight_norm",
    "rnn": "",
}
__getattr__ = _first_use.FirstUse(__name__, _MODULES, left_out="clip_grad_norm_")
__dir__ = __getattr__.directory


class _Former(_types.ModuleType):
    """A module of which old pickles have the name; its names are those of `reweighted`."""

    def __getattr__(self, name: str) -> _typing.Any:
        return getattr(_importlib.import_module("ranvier.nn.utils.reweighted"), name)


for _former in ("spectral_norm", "weight_norm"):
    _sys.modules[f"{__name__}.{_former}"] = _Former(f"{__name__}.{_former}")
