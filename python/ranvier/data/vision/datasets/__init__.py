"""Data sets as classes with torchvision's arguments and folders; items are PIL images and labels."""

from ranvier.data.vision.datasets.archives import *
from ranvier.data.vision.datasets.folder import *
