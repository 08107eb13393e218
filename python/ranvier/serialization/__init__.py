"""Model files: `save`, `load` (safetensors with JSON metadata), `info` about one; `load_gguf` (GGUF)."""

import typing as _typing

import ranvier.first_use as _first_use

if _typing.TYPE_CHECKING:
    from ranvier.serialization.gguf import GGUFFile, load_gguf
    from ranvier.serialization.models import Info, info, load, save

__all__ = ["GGUFFile", "Info", "info", "load", "load_gguf", "save"]
__getattr__ = _first_use.FirstUse(__name__, {"gguf": "GGUFFile load_gguf", "models": "Info info load save"})
__dir__ = __getattr__.directory
