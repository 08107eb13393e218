"""Loaders, splits, transforms, augmentation, data sets (`datasets`), torchvision's names (`vision`)."""

import importlib as _importlib
import types as _types
import typing as _typing

from ranvier.data import augment, datasets
from ranvier.data.dataset import *
from ranvier.data.datasets.files import load as load
from ranvier.data.datasets.samples import Samples as Samples
from ranvier.data.loader import *
from ranvier.data.sampler import *
from ranvier.data.split import *
from ranvier.data.transforms import *


def __getattr__(name: str) -> _typing.Any:
    if name == "vision":  # loaded at its first use
        return _importlib.import_module("ranvier.data.vision")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
    __all__ += ["augment", "datasets"]
