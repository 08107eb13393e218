"""Gradient clipping, parameters as one vector, weights that are normalised, computed (``parametrize``) or
pruned (``prune``), sequences of several lengths (``rnn``)."""

from ranvier.nn.utils import parametrize, prune, rnn
from ranvier.nn.utils.clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from ranvier.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from ranvier.nn.utils.vector import parameters_to_vector, vector_to_parameters
from ranvier.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrize",
    "prune",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
