"""PyTorch's module paths that have no file here: `ranvier.nn.modules.conv`, `ranvier.utils.data.dataloader`.

`import ranvier.nn.modules.conv` gives a module with the names of `ranvier.nn`. The finder is asked only for
modules that have no file.
"""

from __future__ import annotations

import importlib
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

# the beginning of a path: the module that has the names
_HOMES = {
    "autograd.variable": "autograd",
    "distributed.algorithms": "distributed",
    "distributions": "distributions",
    "nn.modules": "nn",
    "nn.parallel": "nn",
    "random": "autograd.random",
    "utils.data": "utils.data",
}
# names of PyTorch's base classes: module and name here
_OTHERS = {
    "_BatchNorm": ("nn.norm", "_BatchNorm"),
    "_ConvNd": ("nn.conv", "Convolution"),
    "_Loss": ("nn.loss.base", "Loss"),
    "_WeightedLoss": ("nn.loss.base", "Loss"),
    "_NormBase": ("nn.norm", "_ChannelNorm"),
}
_REPEATED = {"_single": 1, "_pair": 2, "_triple": 3, "_quadruple": 4}


def _home(name: str) -> str | None:
    package, _, path = name.partition(".")
    if package != "ranvier":
        return None
    return next(
        (home for start, home in _HOMES.items() if path == start or path.startswith(start + ".")), None
    )


def _repeated(count: int) -> Any:
    """A number as a tuple of `count` equal ones; tuples and lists as they are."""

    def sizes(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count

    return sizes


class _Paths:
    """The finder, and the loader, of these modules."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if (
            _home(name) is None or not name.rpartition(".")[2].islower()
        ):  # PyTorch's modules have small letters
            return None
        return ModuleSpec(name, _Paths, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> types.ModuleType | None:
        return None

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        home = importlib.import_module(f"ranvier.{_home(module.__name__)}")
        public = {name: value for name, value in vars(home).items() if not name.startswith("_")}
        vars(module).update({k: v for k, v in public.items() if not isinstance(v, types.ModuleType)})

        def found(name: str) -> Any:
            if name in _REPEATED:
                return _repeated(_REPEATED[name])
            if name in _OTHERS:
                at, other = _OTHERS[name]
                return getattr(importlib.import_module(f"ranvier.{at}"), other)
            if name.startswith("_"):
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            if hasattr(home, name) and not isinstance(getattr(home, name), types.ModuleType):
                return getattr(home, name)
            return importlib.import_module(f"{module.__name__}.{name}")

        vars(module)["__getattr__"] = found


def install() -> None:
    """Adds the finder, after Python's own."""
    sys.meta_path.append(_Paths)
