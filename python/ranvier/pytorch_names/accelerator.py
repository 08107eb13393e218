"""torch.accelerator: there is none, and programs choose the CPU."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """False: this library computes on the CPU.

    >>> import ranvier as rv
    >>> rv.accelerator.is_available(), rv.accelerator.current_accelerator(), rv.accelerator.device_count()
    (False, None, 0)
    """
    return False


def current_accelerator(check_available: bool = False) -> None:
    return None


def device_count() -> int:
    return 0


def synchronize(device: Any = None) -> None:
    """Does nothing."""


def set_device_index(device: Any) -> None:
    """Raises RuntimeError: there is no accelerator."""
    raise RuntimeError("[accelerator] got a device to use; expected none: this library computes on the CPU")
