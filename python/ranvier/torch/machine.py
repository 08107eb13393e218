"""What programs ask of PyTorch's build and of its devices: __config__, torch.cpu, torch.xpu, torch._C."""

from __future__ import annotations

import re
from typing import Any

import ranvier
from ranvier.torch.version import TORCH

__all__ = ["current_device", "device_count", "is_available", "synchronize"]

HASH = re.compile(r"-([a-f0-9]*)\.")  # in the name of a file that torch.hub gets


def show() -> str:
    """One line: this library's version."""
    return f"ranvier {ranvier.__version__} in place of PyTorch {TORCH}"


def parallel_info() -> str:
    """The number of threads."""
    return f"threads of ranvier: {ranvier.get_num_threads()}"


def is_available() -> bool:
    """True: of torch.cpu."""
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Does nothing."""


def log_usage(*args: Any) -> None:
    """Does nothing: of `_C._log_api_usage_once`; None is the state of a trace, and of other devices."""


def is_hooked(*args: Any) -> bool:
    """False: no operation looks for `__torch_function__`, nor for autocast."""
    return False


def autocast_dtype(device_type: str) -> Any:
    """float32, in which blocks of autocast compute."""
    return ranvier.float32


def device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """No device beside the CPU has a random state."""
    return [], []
