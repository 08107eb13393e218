"""The ops of layers and losses under the names of ``torch.nn.functional``."""

import importlib as _importlib
import typing as _typing

import ranvier.ops.layers.loss as _loss
from ranvier.nn.loss_functions import *
from ranvier.nn.names import absent as _absent
from ranvier.ops.activation.piecewise import *
from ranvier.ops.activation.smooth import *
from ranvier.ops.layers.attention import *
from ranvier.ops.layers.conv1d import *
from ranvier.ops.layers.conv2d import *
from ranvier.ops.layers.conv_transpose import *
from ranvier.ops.layers.distance import *
from ranvier.ops.layers.dropout import *
from ranvier.ops.layers.embedding import *
from ranvier.ops.layers.interpolate import *
from ranvier.ops.layers.linear import *
from ranvier.ops.layers.norm import *
from ranvier.ops.layers.one_hot import *
from ranvier.ops.layers.pad import *
from ranvier.ops.layers.pooling import *
from ranvier.ops.numeric import FUNCTIONAL_OF as _NUMERIC
from ranvier.ops.softmax import *

if _typing.TYPE_CHECKING:
    from ranvier.ops.numeric.functional import *
    from ranvier.ops.numeric.images import *
    from ranvier.ops.numeric.losses import *


focal_loss, sigmoid_focal_loss = _loss.focal, _loss.sigmoid_focal


def __getattr__(name: str) -> _typing.Any:
    """The rare ones are loaded with their first use."""
    if name not in _NUMERIC:
        raise _absent(__name__, name)
    globals()[name] = getattr(_importlib.import_module(f"ranvier.ops.numeric.{_NUMERIC[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_NUMERIC})
