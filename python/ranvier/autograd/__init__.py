"""The tape: Tensor, Function, backward and what is made of them."""

import importlib as _importlib
import typing as _typing

from ranvier.autograd import context as context
from ranvier.autograd.anomaly import detect_anomaly, set_detect_anomaly
from ranvier.autograd.attach import METHODS as METHODS
from ranvier.autograd.function import Function, once_differentiable
from ranvier.autograd.grad import backward
from ranvier.autograd.grad import gradients as grad
from ranvier.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck, numeric_gradients
from ranvier.autograd.level import value_and_grad
from ranvier.autograd.mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ranvier.autograd.tensor import Tensor, borrowed, wrap
from ranvier.autograd.variable import Variable
from ranvier.autograd.views import bump

__all__ = [
    "Function",
    "GradcheckError",
    "Tensor",
    "Variable",
    "backward",
    "borrowed",
    "bump",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "numeric_gradients",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
    "value_and_grad",
    "wrap",
]


def __getattr__(name: str) -> _typing.Any:
    """``functional`` is loaded at its first use."""
    if name == "functional":
        return _importlib.import_module("ranvier.autograd.functional")
    raise AttributeError(f"module 'ranvier.autograd' has no attribute {name!r}")
