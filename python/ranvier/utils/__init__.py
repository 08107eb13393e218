"""`ranvier.utils.data`, as in PyTorch."""

from ranvier.utils import data as data
