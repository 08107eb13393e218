"""Model files: `save` and `load` (safetensors with JSON metadata), `info` about a file."""

from ranvier.serialization.models import Info, info, load, save

__all__ = ["Info", "info", "load", "save"]
