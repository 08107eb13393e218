"""Loaders, splits, transforms, augmentation, data sets (`datasets`)."""

import types as _types
import typing as _typing

import ranvier.extension as _extension
from ranvier.data import augment, datasets
from ranvier.data.collate import *
from ranvier.data.dataset import *
from ranvier.data.datasets.files import load as load
from ranvier.data.datasets.samples import Samples as Samples
from ranvier.data.loader import *
from ranvier.data.sampler import *
from ranvier.data.split import *
from ranvier.data.transforms import *
from ranvier.data.workers import *
from ranvier.tensors.errors import own_errors as _own_errors


def __getattr__(name: str) -> _typing.Any:
    """A name that a satellite adds; it is loaded at its first use."""
    return _extension.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_extension.attributes(__name__)})


if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
    __all__ += ["augment", "datasets"]
    _own_errors(globals(), __all__, "Samples default_convert load")
    __all__ += [name for name in _extension.attributes(__name__) if name[0].isupper()]
_extension.loaded(__name__)
