"""`ranvier.utils.data` and `ranvier.utils.dlpack`, as in PyTorch."""

from ranvier.utils import data as data
from ranvier.utils import dlpack as dlpack
