"""Augmentation of batches of images in C++, with torchvision's names.

Each takes images (N, C, H, W), an array or a Tensor, and returns the same kind. The change of image i of a
batch depends on the library's random state (`rv.manual_seed`) and on i only, not on threads, memory layout or
the number of images. As `augment=` of a DataLoader, every batch draws from its own stream, so that a resumed
run, or one that makes its batches in a thread, gets the same images.

>>> import numpy as np
>>> from ranvier.data import DataLoader, TensorDataset, augment
>>> flips = augment.Compose([augment.RandomHorizontalFlip(), augment.RandomCrop(8, padding=1)])
>>> digits = TensorDataset(np.zeros((10, 1, 8, 8), np.float32), np.arange(10))
>>> [x.shape for x, y in DataLoader(digits, 5, augment=flips)]
[(5, 1, 8, 8), (5, 1, 8, 8)]
"""

import types as _types
import typing as _typing

from ranvier.data.augment.base import *
from ranvier.data.augment.erase_and_mix import *
from ranvier.data.augment.geometry import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
