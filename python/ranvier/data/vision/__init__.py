"""Images as torchvision has them: data sets, transforms of single images, models, grids.

A program that uses torchvision runs when its import lines change:

    import ranvier.data.vision as torchvision
    from ranvier.data.vision import datasets, models, transforms, utils

`ranvier.data.augment` changes whole batches in C++, which is faster than these transforms of single images.
"""

import importlib as _importlib
import typing as _typing

__all__ = ["datasets", "models", "transforms", "utils"]
__version__ = "0.22.0"  # The version of torchvision whose names these are; programs compare it.


def __getattr__(name: str) -> _typing.Any:
    if name in __all__:
        return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
