"""The captured step: `rv.compile`, in three nouns.

A *compiled function* (`CompiledFunction`) is what `rv.compile` returns. Its first call with new shapes makes
a *recording* (`tensors.recording.Recording`): one eager run that notes every kernel call and all that Python
read. From the recording follows a *program* (`Program`): the kernel calls on fixed memory, and guards on what
was read. Later calls replay the program while its guards hold.

The package has the name of its function, and is that: a call of it is one of `api.compile`.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

_LATER = {"CaptureError": "record", "CompiledFunction": "compiled_function", "Program": "program"}
_LATER |= dict.fromkeys(("compile", "constant"), "api")
_LATER |= dict.fromkeys(("Buffer", "Instruction", "MemoryUse", "Operand"), "listing")
__all__ = [
    "Buffer", "CaptureError", "CompiledFunction", "Instruction", "MemoryUse", "Operand", "Program",
    "compile", "constant",
]  # fmt: skip


class _Package(types.ModuleType):
    """A module that is called."""

    __wrapped__ = property(lambda self: self.compile)  # has the signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compile(*args, **kwargs)

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'ranvier.compile' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ranvier.compile.{_LATER[name]}"), name)
