"""torch.amp: mixed precision. Tensors keep their dtypes here."""

from __future__ import annotations

import functools
from typing import Any

from ranvier import bfloat16
from ranvier.config import float32_matmul_precision, get_float32_matmul_precision
from ranvier.torch.grad_scaler import GradScaler as GradScaler


class autocast:
    """A block or decorator in which products of float32 have factors of bfloat16, on this thread.

    That is so for the device "cpu" and the dtype bfloat16, its default: products are computed as after
    :func:`set_float32_matmul_precision` with "medium", and so are their gradients, wherever ``backward`` is
    called. Results are float32 (PyTorch rounds them to bfloat16). Other devices and dtypes have no effect.
    With ``enabled=False`` the setting of the process holds.

    >>> import ranvier as rv
    >>> with rv.autocast("cpu", dtype=rv.bfloat16):
    ...     print((rv.ones(2, 3) @ rv.ones(3, 2)).dtype)
    torch.float32
    """

    def __init__(
        self, device_type: Any = None, dtype: Any = None, enabled: bool = True, **settings: Any
    ) -> None:
        self._has_effect = device_type == "cpu" and (dtype is None or dtype == bfloat16)
        self._enabled = enabled
        self._blocks: list[Any] = []

    def __enter__(self) -> autocast:
        if self._has_effect:
            precision = "medium" if self._enabled else get_float32_matmul_precision()
            self._blocks.append(float32_matmul_precision(precision))
            self._blocks[-1].__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._has_effect:
            self._blocks.pop().__exit__(None, None, None)

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **settings: Any) -> Any:
            with self:
                return function(*args, **settings)

        return wrapper
