"""Model files: `save`, `load` (safetensors with JSON metadata), `info` about one; `load_gguf` (GGUF)."""

from typing import Any

from ranvier.serialization.gguf import GGUFFile, load_gguf
from ranvier.serialization.models import Info, info, load, save

__all__ = ["GGUFFile", "Info", "info", "load", "load_gguf", "save"]


def __getattr__(name: str) -> Any:
    from ranvier.extension import attribute

    return attribute(__name__, name)
