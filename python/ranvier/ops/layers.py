"""The ops that no method of Tensor needs: those of layers and losses, and einsum.

``ranvier.ops`` loads them with the first use of one of their names.
"""

import types as _types
import typing as _typing

from ranvier.ops.image.conv import *
from ranvier.ops.image.pooling import *
from ranvier.ops.image.resample import *
from ranvier.ops.loss.classes import *
from ranvier.ops.loss.margin import *
from ranvier.ops.loss.probability import *
from ranvier.ops.loss.regression import *
from ranvier.ops.matrix.einsum import *
from ranvier.ops.matrix.linear import *
from ranvier.ops.neural.attention import *
from ranvier.ops.neural.distance import *
from ranvier.ops.neural.dropout import *
from ranvier.ops.neural.embedding import *
from ranvier.ops.neural.normalization import *

if not _typing.TYPE_CHECKING:
    __all__ = [name for name, value in globals().items() if isinstance(value, _types.FunctionType)]
    # the names of ``ranvier``; losses have PyTorch's in ``nn.functional``
    PUBLIC = [name for name in __all__ if ".loss." not in globals()[name].__module__]
