"""Exported C files, compiled by the system's compiler and called through ctypes."""

import ctypes
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
import ranvier as rv

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)] or [
    n for n in ["cc"] if shutil.which(n)
]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
STRICT += ["-Wshadow", "-Wdouble-promotion", "-Wconversion"]

needs_compiler = pytest.mark.skipif(not COMPILERS, reason="no C compiler here: neither gcc, clang nor cc")


class Compiled:
    """An exported file as a library; its functions take and fill NumPy arrays."""

    def __init__(self, folder: Any, target: Any, example: Any, compiler: str = "", **options: Any) -> None:
        self.path = folder / "net.c"
        self.report = rv.export.c(target, self.path, example, **options)
        self.text = self.path.read_text()
        sources = [self.path, *folder.glob("net_*.c")]
        library = folder / f"net{len(list(folder.glob('*.so')))}.so"
        command = [
            compiler or COMPILERS[0],
            *STRICT,
            "-O1",
            "-fPIC",
            "-shared",
            *sources,
            "-lm",
            "-o",
            library,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr[-2000:]
        self.library = ctypes.CDLL(str(library))

    def call(self, function: str, *arrays: Any) -> float:
        """Calls a function with pointers to these arrays; float32 and int32."""
        entry = getattr(self.library, function)
        entry.restype = ctypes.c_float
        return entry(*(ctypes.c_void_p(a.ctypes.data) for a in arrays))

    def predict(self, *inputs: Any, shape: Any) -> Any:
        """The result of the prediction, one array."""
        y = np.full(shape, np.nan, np.float32)
        self.call("net_predict", *map(argument, inputs), y)
        return y


def argument(x: Any) -> Any:
    """An array as C takes it."""
    x = np.asarray(getattr(x, "_array", x))
    return np.ascontiguousarray(x, np.int32 if x.dtype.kind in "iu" else np.float32)
