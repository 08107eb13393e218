"""The ops of layers and losses under the names of ``torch.nn.functional``."""

import functools as _functools
import importlib as _importlib
import typing as _typing

import ranvier.ops.layers.loss as _loss
from ranvier.autograd.tensor import Tensor
from ranvier.nn.config import as_reduction as _as_reduction
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


def _of_old_form(function: _typing.Any) -> _typing.Any:
    """The loss, which also takes PyTorch's old keywords size_average and reduce."""

    @_functools.wraps(function)
    def loss(*args: _typing.Any, **settings: _typing.Any) -> Tensor:
        if "size_average" in settings or "reduce" in settings:
            settings = _as_reduction(settings)
        result: Tensor = function(*args, **settings)
        return result

    return loss


binary_cross_entropy = _of_old_form(_loss.bce)
binary_cross_entropy_with_logits = _of_old_form(_loss.bce_with_logits)
cosine_embedding_loss = _of_old_form(_loss.cosine_embedding)
cross_entropy = _of_old_form(_loss.cross_entropy)
focal_loss = _of_old_form(_loss.focal)
gaussian_nll_loss = _of_old_form(_loss.gaussian_nll)
hinge_embedding_loss = _of_old_form(_loss.hinge_embedding)
huber_loss = _of_old_form(_loss.huber)
kl_div = _of_old_form(_loss.kl_div)
l1_loss = _of_old_form(_loss.l1)
margin_ranking_loss = _of_old_form(_loss.margin_ranking)
mse_loss = _of_old_form(_loss.mse)
multi_margin_loss = _of_old_form(_loss.multi_margin)
nll_loss = _of_old_form(_loss.nll)
poisson_nll_loss = _of_old_form(_loss.poisson_nll)
sigmoid_focal_loss = _of_old_form(_loss.sigmoid_focal)
smooth_l1_loss = _of_old_form(_loss.smooth_l1)
soft_margin_loss = _of_old_form(_loss.soft_margin)
triplet_margin_loss = _of_old_form(_loss.triplet_margin)


def __getattr__(name: str) -> _typing.Any:
    """The rare ones are loaded with their first use."""
    if name not in _NUMERIC:
        raise AttributeError(f"module 'ranvier.nn.functional' has no attribute {name!r}")
    globals()[name] = getattr(_importlib.import_module(f"ranvier.ops.numeric.{_NUMERIC[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_NUMERIC})
