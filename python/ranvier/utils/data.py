"""`ranvier.data` as `utils.data`, the path of PyTorch programs; also utils.data.dataset and others."""

from ranvier.data import *
from ranvier.data.dataset import default_collate as default_collate

__path__: list[str] = []  # ranvier.paths has the modules below
