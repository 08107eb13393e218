"""Answers to questions about PyTorch's build and its devices: __config__, torch.cpu, torch._C."""

from __future__ import annotations

import enum
from typing import Any

import ranvier as rv
from ranvier.ops.making.convert import parsed_to
from ranvier.tensors.types import DeviceLike, DtypeLike
from ranvier.torch.version import TORCH

__all__ = ["current_device", "device_count", "is_available", "synchronize"]

# torch.amp.grad_scaler has it: what GradScaler has done with an optimizer since its last update()
OptState = enum.Enum("OptState", "READY UNSCALED STEPPED", start=0)
fill_uninitialized_memory = True  # torch.utils.deterministic has it


def show() -> str:
    """One line: this library's version."""
    return f"ranvier {rv.__version__} in place of PyTorch {TORCH}"


def parallel_info() -> str:
    """The number of threads."""
    return f"threads of ranvier: {rv.get_num_threads()}"


def is_available() -> bool:
    """True: of torch.cpu."""
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


def synchronize(device: DeviceLike | None = None) -> None:
    """Does nothing."""


def log_usage(*args: object) -> None:
    """Does nothing, and returns None.

    It stands for several functions of torch._C, as `_log_api_usage_once`.
    """


def is_hooked(*args: object) -> bool:
    """False: it answers whether calls are traced, or computed in other dtypes."""
    return False


def device_states(*args: object) -> tuple[list[int], list[Any]]:
    """No device beside the CPU has a random state."""
    return [], []


def parse_to(
    *args: Any,
    device: DeviceLike | None = None,
    dtype: DtypeLike | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: object = None,
) -> tuple[Any, Any, bool, Any]:
    """The arguments of `Tensor.to`: device, dtype, non_blocking and memory_format; None for a missing one.

    >>> import ranvier as rv
    >>> parse_to("cpu", rv.float64, True)[1:3]
    (torch.float64, True)
    """
    dtype, device, _ = parsed_to(args, dtype, device, copy)
    flags = [arg for arg in args if isinstance(arg, bool)]
    if flags:
        non_blocking = flags[0]
    if device is not None:
        device = rv.device(device)
    if dtype is not None:
        dtype = rv.zeros(0, dtype=dtype).dtype
    return device, dtype, non_blocking, memory_format
