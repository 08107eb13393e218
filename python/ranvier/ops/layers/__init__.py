"""The ops that no method of Tensor needs: those of layers and losses, and einsum.

``ranvier.ops`` loads them with the first use of one of their names.
"""

import types as _types
import typing as _typing

from ranvier.ops.layers.attention import *
from ranvier.ops.layers.conv1d import *
from ranvier.ops.layers.conv2d import *
from ranvier.ops.layers.conv_transpose import *
from ranvier.ops.layers.distance import *
from ranvier.ops.layers.dropout import *
from ranvier.ops.layers.einsum import *
from ranvier.ops.layers.embedding import *
from ranvier.ops.layers.interpolate import *
from ranvier.ops.layers.linear import *
from ranvier.ops.layers.loss.classes import *
from ranvier.ops.layers.loss.margin import *
from ranvier.ops.layers.loss.probability import *
from ranvier.ops.layers.loss.regression import *
from ranvier.ops.layers.norm import *
from ranvier.ops.layers.one_hot import *
from ranvier.ops.layers.pad import *
from ranvier.ops.layers.pooling import *

if not _typing.TYPE_CHECKING:
    __all__ = [name for name, value in globals().items() if isinstance(value, _types.FunctionType)]
