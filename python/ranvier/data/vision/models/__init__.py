"""Networks that papers build on; their parameters have torchvision's names, so that its state dicts load.

>>> import ranvier as rv
>>> from ranvier.data.vision import models
>>> models.resnet18(num_classes=10).fc
Linear(in_features=512, out_features=10, bias=True)
"""

import typing as _typing

from ranvier.data.vision.models.resnet_vgg import *


class _Weights:
    """A table of weights of torchvision, which programs import; a model refuses its entries by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, entry: str) -> str:
        if entry.startswith("_"):
            raise AttributeError(entry)
        return f"{self._name}.{entry}"


def __getattr__(name: str) -> _typing.Any:
    if name.endswith("_Weights"):
        return _Weights(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
