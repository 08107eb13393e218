"""Boxes of object detection, under torchvision's names."""

from ranvier.data.vision.ops.boxes import *
from ranvier.data.vision.ops.boxes import __all__
