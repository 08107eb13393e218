"""The ops of layers and losses under the names of ``torch.nn.functional``."""

import typing as _typing

import ranvier.ops.table as _table
from ranvier.nn.loss.functional import FORMS as _FORMS
from ranvier.nn.registry import absent as _absent
from ranvier.ops import _rare
from ranvier.tensors.spellings import OF_LAYERS as _OF_LAYERS, spelled as _spelled

if _typing.TYPE_CHECKING:
    from ranvier.nn.loss.functional import *
    from ranvier.ops.activation.piecewise import *
    from ranvier.ops.activation.smooth import *
    from ranvier.ops.activation.softmax import *
    from ranvier.ops.image.conv import *
    from ranvier.ops.image.pooling import *
    from ranvier.ops.image.resample import *
    from ranvier.ops.image.sampling import *
    from ranvier.ops.loss.ctc import ctc_loss as ctc_loss
    from ranvier.ops.loss.rare import *
    from ranvier.ops.matrix.linear import linear as linear
    from ranvier.ops.neural.attention import *
    from ranvier.ops.neural.distance import *
    from ranvier.ops.neural.dropout import *
    from ranvier.ops.neural.embedding import *
    from ranvier.ops.neural.normalization import *
    from ranvier.ops.neural.rare import *

globals().update(_table.functions_of(_table.OF_LAYERS))
globals().update({form.__name__: form for form in _FORMS.values()})
globals().update({name: _spelled(globals()[name]) for name in _OF_LAYERS.split() if name in globals()})


def __getattr__(name: str) -> _typing.Any:
    """Loads a rare op at its first use. It does not become an attribute; ``ranvier.ops`` says why."""
    if name not in _table.FUNCTIONAL_OF:
        raise _absent(__name__, name)
    return _rare(_table.FUNCTIONAL_OF[name], name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_table.FUNCTIONAL_OF})
