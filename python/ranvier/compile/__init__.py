"""The captured step: the package `ranvier.compile`, which is also the function `rv.compile`.

A *compiled function* (`CompiledFunction`) is what `rv.compile` returns. Its first call with new shapes makes
a *recording* (`tensors.recording.Recording`): one eager run that notes every kernel call and every value that
Python code read. A *program* (`Program`) is built from the recording: the kernel calls on fixed memory, and
*guards*, which are the values that were read. Later calls replay the program while its guards hold.

The function has the same name as this package, so the module object can be called, and passes the call to
`api.compile`. The submodules are loaded at the first use of one of their names.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

# Public name -> the submodule that has it.
_LATER = {"CaptureError": "record", "CompiledFunction": "compiled_function", "Program": "program"}
_LATER |= dict.fromkeys(("compile", "constant"), "api")
_LATER |= dict.fromkeys(("Buffer", "Instruction", "MemoryUse", "Operand"), "listing")
__all__ = [
    "Buffer", "CaptureError", "CompiledFunction", "Instruction", "MemoryUse", "Operand", "Program",
    "compile", "constant",
]  # fmt: skip


class _Package(types.ModuleType):
    """The class of a module that can be called."""

    __wrapped__ = property(lambda self: self.compile)  # `inspect.signature` reads the signature from it

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compile(*args, **kwargs)

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'ranvier.compile' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ranvier.compile.{_LATER[name]}"), name)
