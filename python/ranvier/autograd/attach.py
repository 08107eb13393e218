"""Puts on Tensor the methods that are functions of this package; ``ranvier.ops.attach`` adds the ops.

Tensor itself keeps data only, since these functions need modules that import it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.autograd.check as check
import ranvier.autograd.convert as convert
import ranvier.autograd.inplace as inplace
from ranvier.autograd.backward import backward
from ranvier.autograd.hooks import (
    register_hook,
    register_post_accumulate_grad_hook,
    retain_grad,
    retains_grad,
)
from ranvier.autograd.tensor import Tensor

METHODS: dict[str, Callable[..., Any]] = {
    **convert.METHODS,
    **inplace.METHODS,
    **{name: getattr(check, name) for name in ("allclose", "equal", "isfinite", "isinf", "isnan")},
    "backward": backward,
    "register_hook": register_hook,
    "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
    "retain_grad": retain_grad,
}

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
Tensor.retains_grad = property(retains_grad)  # type: ignore[assignment]
