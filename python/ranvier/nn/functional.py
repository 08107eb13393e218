"""The ops of layers and losses under the names of ``torch.nn.functional``."""

import typing as _typing

from ranvier.nn.loss.functional import *
from ranvier.nn.registry import absent as _absent
from ranvier.ops import _rare
from ranvier.ops.activation.piecewise import *
from ranvier.ops.activation.smooth import *
from ranvier.ops.activation.softmax import *
from ranvier.ops.first_use import FUNCTIONAL_OF as _LATER
from ranvier.ops.image.conv import *
from ranvier.ops.image.pooling import *
from ranvier.ops.image.resample import *
from ranvier.ops.matrix.linear import linear as linear
from ranvier.ops.neural.attention import *
from ranvier.ops.neural.distance import *
from ranvier.ops.neural.dropout import *
from ranvier.ops.neural.embedding import *
from ranvier.ops.neural.normalization import *

if _typing.TYPE_CHECKING:
    from ranvier.ops.image.sampling import *
    from ranvier.ops.loss.ctc import ctc_loss as ctc_loss
    from ranvier.ops.loss.rare import *
    from ranvier.ops.neural.functional import *


def __getattr__(name: str) -> _typing.Any:
    """The rare ones are loaded with their first use; they do not become attributes (see ``ranvier.ops``)."""
    if name not in _LATER:
        raise _absent(__name__, name)
    return _rare(_LATER[name], name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
