"""torch.optim.optimizer: what optimizers of other libraries take from it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import ranvier as rv
from ranvier import Tensor

ParamsT, StateDict = Any, dict
_params_doc = _maximize_doc = _foreach_doc = _fused_doc = _capturable_doc = _differentiable_doc = ""


def _default_to_fused_or_foreach(
    params: Any, differentiable: bool, use_fused: bool = False
) -> tuple[bool, bool]:
    """(False, False): as PyTorch for parameters of the CPU."""
    return False, False


def _use_grad_for_differentiable(func: Callable[..., Any]) -> Callable[..., Any]:
    """A step without gradients, unless the optimizer's setting `differentiable` is True."""

    @functools.wraps(func)
    def step(self: Any, *args: Any, **settings: Any) -> Any:
        with rv.set_grad_enabled(bool(self.defaults.get("differentiable", False))):
            return func(self, *args, **settings)

    return step


def _get_value(x: Any) -> Any:
    return x.item() if isinstance(x, Tensor) else x


_to_scalar = _get_value


def _stack_if_compiling(x: Any) -> Any:
    return x


def _dispatch_sqrt(x: Any) -> Any:
    return x.sqrt() if isinstance(x, Tensor) else math.sqrt(x)


def _get_scalar_dtype(is_fused: bool | None = None) -> Any:
    return rv.float32 if is_fused else rv.get_default_dtype()


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    return []


def _disable_dynamo_if_unsupported(single_tensor_fn: Any = None) -> Callable[..., Any]:
    return lambda func: func


def _view_as_real(params: Any, *state_and_grads: Any) -> None:
    """Does nothing: there are no complex numbers."""
