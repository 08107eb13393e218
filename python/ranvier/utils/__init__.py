"""`ranvier.utils.data`, `ranvier.utils.dlpack` and others, as in PyTorch."""

from ranvier.utils import checkpoint as checkpoint
from ranvier.utils import data as data
from ranvier.utils import dlpack as dlpack
from ranvier.utils import model_zoo as model_zoo
