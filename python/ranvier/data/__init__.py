"""Loaders, splits, transforms, augmentation and data sets (`ranvier.data.datasets`)."""

import types as _types
import typing as _typing

from ranvier.data import augment, datasets
from ranvier.data.collate import *
from ranvier.data.dataset import *
from ranvier.data.datasets.files import *
from ranvier.data.datasets.samples import *
from ranvier.data.loader import *
from ranvier.data.sampler import *
from ranvier.data.split import *
from ranvier.data.transforms import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
    __all__ += ["augment", "datasets"]
