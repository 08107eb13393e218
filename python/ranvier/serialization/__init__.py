"""Model files (safetensors with JSON metadata): `save`, `load`, and `info`, which tells about a file."""

from typing import Any

from ranvier.serialization.models import Info, info, load, save

__all__ = ["Info", "info", "load", "save"]


def __getattr__(name: str) -> Any:
    from ranvier.extension import attribute

    return attribute(__name__, name)
