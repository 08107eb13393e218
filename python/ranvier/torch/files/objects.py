"""Pickles of any objects, as PyTorch reads them with weights_only=False: they may call anything."""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar

from ranvier import nn
from ranvier.torch.files.archive import Run
from ranvier.torch.files.modules import state_here
from ranvier.torch.files.naming import find_class

_Python: Any = pickle._Unpickler


class _Overridden(Exception):
    """A module has a __setstate__ of its own, which need not call that of Module."""


class _WithStates(_Python):  # type: ignore[misc]
    """Python's own unpickler, which gives each Module the attributes that it has here; it is slower."""

    dispatch: ClassVar[dict[Any, Any]] = {**_Python.dispatch}

    def load_build(self) -> None:
        self.stack[-1] = state_here(*self.stack[-2:])
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def runner(module: Any, encoding: str) -> Run:
    """What runs a pickle with the Unpickler of a module such as `pickle`."""

    def run(content: io.BytesIO, persistent: Any) -> Any:
        start = content.tell()
        try:
            return _reader(module.Unpickler, persistent, module is pickle)(content, encoding=encoding).load()
        except _Overridden:
            content.seek(start)
            return _reader(_WithStates, persistent, False)(content, encoding=encoding).load()

    return run


def _reader(base: Any, persistent: Any, watch: bool) -> Any:
    class Reader(base):  # type: ignore[misc]
        def find_class(self, path: str, name: str) -> Any:
            value = find_class(path, name, super().find_class)
            own = isinstance(value, type) and issubclass(value, nn.Module) and value.__setstate__
            if watch and own and own is not nn.Module.__setstate__:
                raise _Overridden
            return value

        def persistent_load(self, pid: Any) -> Any:
            return persistent(pid)

    return Reader
