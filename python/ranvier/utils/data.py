"""`ranvier.data` as `utils.data`, the path of PyTorch programs."""

from ranvier.data import *
