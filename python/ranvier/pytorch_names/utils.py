"""torch.utils: `ranvier.utils.data`, `ranvier.utils.dlpack` and others, loaded at their first use."""

import importlib as _importlib
from typing import Any as _Any


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'ranvier.utils' has no attribute {name!r}")
    try:
        return _importlib.import_module(f"ranvier.utils.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"ranvier.utils.{name}":
            raise
    raise AttributeError(f"module 'ranvier.utils' has no attribute {name!r}")
