"""Data sets as classes with torchvision's arguments and folders; items are PIL images and labels."""

from ranvier.data.vision.datasets.base import VisionDataset as VisionDataset
from ranvier.data.vision.datasets.cifar import *
from ranvier.data.vision.datasets.folder import *
from ranvier.data.vision.datasets.mnist import *
