"""The settings of torch.backends, which programs set and read: none of these libraries is used here.

>>> import ranvier as rv
>>> rv.backends.cudnn.benchmark = True
>>> rv.backends.cudnn.is_available(), rv.backends.mps.is_available()
(False, False)
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

__path__: list[str] = []  # `import ranvier.backends.cudnn` finds the modules below


@contextlib.contextmanager
def _flags(*args: Any, **settings: Any) -> Iterator[None]:
    """A block without effect."""
    yield


def _backend(name: str, available: bool = False, **settings: Any) -> types.ModuleType:
    module = types.ModuleType(f"{__name__}.{name}", "Settings without effect.")
    vars(module).update(is_available=lambda: available, is_built=lambda: available, flags=_flags, **settings)
    sys.modules[module.__name__] = module
    return module


cudnn = _backend(
    "cudnn", benchmark=False, deterministic=False, enabled=True, allow_tf32=True, version=lambda: None
)
cuda = _backend(
    "cuda",
    matmul=types.SimpleNamespace(allow_tf32=False),
    sdp_kernel=_flags,
    enable_flash_sdp=lambda enabled: None,
    enable_mem_efficient_sdp=lambda enabled: None,
    enable_math_sdp=lambda enabled: None,
)
mps = _backend("mps")
mkl = _backend("mkl")
mkldnn = _backend("mkldnn", enabled=False)
openmp = _backend("openmp", available=True)
