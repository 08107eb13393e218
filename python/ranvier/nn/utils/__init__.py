"""Gradient clipping, parameters as one vector, weights that are normalised or computed
(``parametrize``), sequences of several lengths (``rnn``)."""

import sys as _sys

from ranvier.nn.utils import parametrizations, parametrize, reweighted as _reweighted, rnn
from ranvier.nn.utils.clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)
from ranvier.nn.utils.reweighted import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
from ranvier.tensors.errors import own_errors as _own_errors

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm",
    "parameters_to_vector", "parametrizations", "parametrize", "remove_spectral_norm",
    "remove_weight_norm", "rnn", "spectral_norm", "vector_to_parameters", "weight_norm",
]  # fmt: skip

_own_errors(globals(), __all__, "clip_grad_norm_")
for _former in ("spectral_norm", "weight_norm"):  # Old pickles have these names of modules.
    _sys.modules[f"{__name__}.{_former}"] = _reweighted
