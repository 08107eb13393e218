"""Gradients as values, with the names of ``torch.autograd``.

``grad``, ``backward`` and ``gradcheck`` are made here. The classes and switches of the tape are those of
`ranvier.tape` and `ranvier.grad_mode`, under the names that programs expect.
"""

import importlib as _importlib
import typing as _typing

from ranvier.grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ranvier.tape.function import Function, once_differentiable
from ranvier.tensors.tensor import Tensor, borrowed, wrap
from ranvier.tensors.views import bump

if _typing.TYPE_CHECKING:
    from ranvier.autograd.function_gradients import value_and_grad
    from ranvier.autograd.gradient_check import GradcheckError, gradcheck, gradgradcheck, numeric_gradients
    from ranvier.autograd.gradients import backward, gradients as grad
    from ranvier.autograd.variable import Variable
    from ranvier.tape.trace import detect_anomaly, set_detect_anomaly

__all__ = [
    "Function", "GradcheckError", "Tensor", "Variable", "backward", "borrowed", "bump", "detect_anomaly",
    "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode", "is_grad_enabled", "no_grad",
    "numeric_gradients", "once_differentiable", "set_detect_anomaly", "set_grad_enabled", "value_and_grad",
    "wrap",
]  # fmt: skip


# Loaded at their first use: names by the module that defines them.
_DEFINED_IN = {
    "GradcheckError": "ranvier.autograd.gradient_check",
    "Variable": "ranvier.autograd.variable",
    "backward": "ranvier.autograd.gradients",
    "detect_anomaly": "ranvier.tape.trace",
    "grad": "ranvier.autograd.gradients",
    "gradcheck": "ranvier.autograd.gradient_check",
    "gradgradcheck": "ranvier.autograd.gradient_check",
    "numeric_gradients": "ranvier.autograd.gradient_check",
    "set_detect_anomaly": "ranvier.tape.trace",
    "value_and_grad": "ranvier.autograd.function_gradients",
}
# other names that functions have where they are defined
_THERE = {"grad": "gradients"}


def __getattr__(name: str) -> _typing.Any:
    if name == "functional":
        return _importlib.import_module("ranvier.autograd.functional")
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'ranvier.autograd' has no attribute {name!r}")
    module = _importlib.import_module(_DEFINED_IN[name])
    value = getattr(module, _THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_DEFINED_IN})
