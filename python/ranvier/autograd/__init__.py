"""The tape: Tensor, Function, backward and what is made of them."""

import importlib as _importlib
import typing as _typing

import ranvier._core as _core
from ranvier.autograd import check as check
from ranvier.autograd import context as context
from ranvier.autograd import convert as convert
from ranvier.autograd import hooks as hooks
from ranvier.autograd import inplace as inplace
from ranvier.autograd import nodes as nodes
from ranvier.autograd.backpropagation import backward as _backward
from ranvier.autograd.convert import Variable
from ranvier.autograd.data import TENSOR_TYPES as _TENSOR_TYPES
from ranvier.autograd.duplicates import make_subclass
from ranvier.autograd.function import Function, once_differentiable
from ranvier.autograd.gradients import GradcheckError, backward, gradcheck, gradgradcheck, numeric_gradients
from ranvier.autograd.gradients import gradients as grad
from ranvier.autograd.level import value_and_grad
from ranvier.autograd.mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ranvier.autograd.tensor import Tensor, borrowed, wrap
from ranvier.autograd.trace import detect_anomaly, set_detect_anomaly
from ranvier.autograd.views import bump

__all__ = [
    "Function", "GradcheckError", "Tensor", "Variable", "backward", "borrowed", "bump", "detect_anomaly",
    "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode", "is_grad_enabled", "no_grad",
    "numeric_gradients", "once_differentiable", "set_detect_anomaly", "set_grad_enabled", "value_and_grad",
    "wrap",
]  # fmt: skip


# the methods of Tensor that are functions of modules above its own; `ranvier.ops.attach` adds the ops
_METHODS: tuple[_typing.Callable[..., _typing.Any], ...] = (
    check.allclose, check.conj, check.equal, check.is_inference, check.isfinite, check.isinf, check.isnan,
    check.to_dense, convert.clone, convert.contiguous, convert.cpu, convert.cuda, convert.new,
    convert.pin_memory, convert.storage, convert.storage_offset, convert.to, convert.type_as,
    convert.untyped_storage, hooks.register_hook, hooks.register_post_accumulate_grad_hook,
    hooks.retain_grad, inplace.copy_, inplace.fill_, inplace.resize_, inplace.resize_as_, inplace.set_,
    inplace.zero_, _backward,
)  # fmt: skip
_OTHER_NAMES: dict[str, _typing.Any] = {
    **dict.fromkeys(("conj_physical", "resolve_conj", "resolve_neg"), check.conj),
    **{name.lower(): convert.cast_to(name.lower(), kind) for name, kind in _TENSOR_TYPES.items()},
    "__setitem__": inplace.setitem,
    "_make_subclass": staticmethod(make_subclass),
    "_typed_storage": convert.storage,
    "retains_grad": property(hooks.retains_grad),
    "type": convert.type_,
}
for _name, _function in ({f.__name__: f for f in _METHODS} | _OTHER_NAMES).items():
    setattr(Tensor, _name, _function)
_core._set_contiguous(Tensor, f"contiguous($self, memory_format=None)\n--\n\n{convert.contiguous.__doc__}")


def __getattr__(name: str) -> _typing.Any:
    """``functional`` is loaded at its first use."""
    if name == "functional":
        return _importlib.import_module("ranvier.autograd.functional")
    raise AttributeError(f"module 'ranvier.autograd' has no attribute {name!r}")
