"""The arguments of Module.to, as PyTorch's C++ reads them; the dtype in place of bfloat16."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np

import ranvier as rv


@cache
def float32_for_bfloat16() -> np.dtype[Any]:
    """The dtype in place of bfloat16; the first call warns."""
    warnings.warn("[bfloat16] is kept as float32, which has all its numbers", stacklevel=4)
    return np.dtype(np.float32)


def parse_to(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format), None for what is not given.

    >>> import ranvier as rv
    >>> parse_to("cpu", rv.float64, True)[1:3]
    (torch.float64, True)
    """
    for argument in args:
        if isinstance(argument, rv.Tensor):
            device, dtype = argument.device, argument.dtype
        elif isinstance(argument, bool):
            non_blocking = argument
        elif isinstance(argument, (str, int, type(rv.device("cpu")))):
            device = argument
        elif argument is not None:
            dtype = argument
    return (
        None if device is None else rv.device(device),
        None if dtype is None else rv.zeros(0, dtype=dtype).dtype,
        non_blocking,
        memory_format,
    )
