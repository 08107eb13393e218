"""Transforms of single images, PIL images or Tensors (..., c, h, w), with torchvision's names and values.

Random transforms depend on `rv.manual_seed`; a DataLoader gives each batch its own stream.

>>> import numpy as np
>>> from ranvier.data.vision import transforms
>>> steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
>>> steps(np.array([[0, 255]], np.uint8))
tensor([[[-1.,  1.]]])
"""

from ranvier.data.augment import Compose as Compose
from ranvier.data.vision.images import InterpolationMode as InterpolationMode
from ranvier.data.vision.transforms import functional as functional
from ranvier.data.vision.transforms.classes import *
