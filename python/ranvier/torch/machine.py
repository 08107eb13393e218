"""What programs ask of PyTorch's build and of its devices: __config__, torch.cpu, torch.xpu, torch._C."""

from __future__ import annotations

import enum
import os
import re
from typing import Any

import ranvier
from ranvier.torch.version import TORCH

__all__ = ["current_device", "device_count", "is_available", "synchronize"]

OptState = enum.Enum("OptState", "READY UNSCALED STEPPED", start=0)  # of amp.grad_scaler
fill_uninitialized_memory = True  # of torch.utils.deterministic
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
    """False: nothing is traced, nor computed in other dtypes."""
    return False


def autocast_dtype(device_type: str = "cpu") -> Any:
    """float32, in which blocks of autocast compute."""
    return ranvier.float32


def home() -> str:
    """The folder for files from the network: TORCH_HOME."""
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))


_folder: list[str] = []


def get_dir() -> str:
    """The folder of `set_dir`, or hub in TORCH_HOME."""
    return _folder[0] if _folder else os.path.join(home(), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Sets what `get_dir` gives."""
    _folder[:] = [os.path.expanduser(d)]


def tqdm(*args: Any, **settings: Any) -> Any:
    """A progress bar."""
    from tqdm.auto import tqdm as bar  # type: ignore[import-untyped]

    return bar(*args, **settings)


def decorator(*args: Any, **settings: Any) -> Any:
    """What gives a function back as it is."""
    return lambda function: function


def shape_as_tensor(x: Any) -> Any:
    return ranvier.tensor(x.shape)


def device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """No device beside the CPU has a random state."""
    return [], []
