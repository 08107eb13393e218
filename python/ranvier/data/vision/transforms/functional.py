"""Transforms as functions of an image and their arguments, nothing random."""

from ranvier.data.vision.images import *
from ranvier.data.vision.images import size_of as _size_of
from ranvier.data.vision.transforms.color import *
from ranvier.data.vision.transforms.geometry import *


def get_dimensions(img: object) -> list[int]:
    """[channels, height, width]."""
    return list(_size_of("get_dimensions", img))


def get_image_size(img: object) -> list[int]:
    """[width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: object) -> int:
    """The number of channels."""
    return get_dimensions(img)[0]
