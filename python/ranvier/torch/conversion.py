"""The arguments of Module.to, as PyTorch's C++ reads them for libraries with a `to` of their own."""

from __future__ import annotations

from typing import Any

import ranvier as rv


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
