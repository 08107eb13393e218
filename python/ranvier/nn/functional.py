"""The ops of layers and losses under the names of ``torch.nn.functional``."""

import importlib as _importlib
import typing as _typing

from ranvier.nn.loss.classes import (
    cross_entropy as cross_entropy,
)
from ranvier.nn.loss.classes import (
    multi_margin_loss as multi_margin_loss,
)
from ranvier.nn.loss.classes import (
    nll_loss as nll_loss,
)
from ranvier.nn.loss.margin import (
    cosine_embedding_loss as cosine_embedding_loss,
)
from ranvier.nn.loss.margin import (
    hinge_embedding_loss as hinge_embedding_loss,
)
from ranvier.nn.loss.margin import (
    margin_ranking_loss as margin_ranking_loss,
)
from ranvier.nn.loss.margin import (
    soft_margin_loss as soft_margin_loss,
)
from ranvier.nn.loss.margin import (
    triplet_margin_loss as triplet_margin_loss,
)
from ranvier.nn.loss.probability import (
    binary_cross_entropy as binary_cross_entropy,
)
from ranvier.nn.loss.probability import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from ranvier.nn.loss.probability import (
    kl_div as kl_div,
)
from ranvier.nn.loss.regression import (
    gaussian_nll_loss as gaussian_nll_loss,
)
from ranvier.nn.loss.regression import (
    huber_loss as huber_loss,
)
from ranvier.nn.loss.regression import (
    l1_loss as l1_loss,
)
from ranvier.nn.loss.regression import (
    mse_loss as mse_loss,
)
from ranvier.nn.loss.regression import (
    poisson_nll_loss as poisson_nll_loss,
)
from ranvier.nn.loss.regression import (
    smooth_l1_loss as smooth_l1_loss,
)
from ranvier.nn.registry import absent as _absent
from ranvier.ops.activation.piecewise import *
from ranvier.ops.activation.smooth import *
from ranvier.ops.activation.softmax import *
from ranvier.ops.image.conv import *
from ranvier.ops.image.pooling import *
from ranvier.ops.image.resample import *
from ranvier.ops.later import FUNCTIONAL_OF as _LATER
from ranvier.ops.loss.classes import focal as focal_loss
from ranvier.ops.loss.probability import sigmoid_focal as sigmoid_focal_loss
from ranvier.ops.matrix.einsum import linear as linear
from ranvier.ops.neural.attention import *
from ranvier.ops.neural.distance import *
from ranvier.ops.neural.dropout import *
from ranvier.ops.neural.embedding import *
from ranvier.ops.neural.normalization import *

if _typing.TYPE_CHECKING:
    from ranvier.ops.image.sampling import *
    from ranvier.ops.loss.ctc import *
    from ranvier.ops.neural.functional import *


def __getattr__(name: str) -> _typing.Any:
    """The rare ones are loaded with their first use."""
    if name not in _LATER:
        raise _absent(__name__, name)
    globals()[name] = getattr(_importlib.import_module(f"ranvier.ops.{_LATER[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
