"""Gradients as values, with the names of ``torch.autograd``.

``grad``, ``backward`` and ``gradcheck`` are made here. The classes and switches of the tape are those of
`ranvier.tape` and `ranvier.grad_mode`, under the names that programs expect.
"""

import importlib as _importlib
import typing as _typing

from ranvier.autograd.function_gradients import value_and_grad
from ranvier.autograd.gradient_check import GradcheckError, gradcheck, gradgradcheck, numeric_gradients
from ranvier.autograd.gradients import backward, gradients as grad
from ranvier.autograd.variable import Variable
from ranvier.grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ranvier.tape.function import Function, once_differentiable
from ranvier.tape.trace import detect_anomaly, set_detect_anomaly
from ranvier.tensors.tensor import Tensor, borrowed, wrap
from ranvier.tensors.views import bump

__all__ = [
    "Function", "GradcheckError", "Tensor", "Variable", "backward", "borrowed", "bump", "detect_anomaly",
    "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode", "is_grad_enabled", "no_grad",
    "numeric_gradients", "once_differentiable", "set_detect_anomaly", "set_grad_enabled", "value_and_grad",
    "wrap",
]  # fmt: skip


def __getattr__(name: str) -> _typing.Any:
    """``functional`` is loaded at its first use."""
    if name == "functional":
        return _importlib.import_module("ranvier.autograd.functional")
    raise AttributeError(f"module 'ranvier.autograd' has no attribute {name!r}")
