"""Losses as layers. Formulas, shapes and sources: :mod:`ranvier.ops.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are stored as buffers.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.extension import belongs_to
from ranvier.nn.layer import OneOp
from ranvier.nn.loss.functional import (
    FORMS,
    own_named,
    parameters_of,
    put_public_name as put_public_name,  # `forward` calls it
)
from ranvier.nn.table import LAYERS
from ranvier.ops.generated import made
from ranvier.ops.loss.base import reduction_of
from ranvier.ops.making.creation import empty, tensor
from ranvier.tensors.dtypes import default, int64
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["loss"]
_OWN = F._OWN  # the functions of the library, where a program has replaced those of `nn.functional`
_OBSOLETE = ("size_average", "reduce")


class Loss(OneOp):
    """The layer of a loss. The settings of the function in ``nn.functional`` are attributes; weights are
    buffers.

    A subclass in this package sets ``_op``, the name of the op; constructor and forward follow from it.
    """

    # how the settings may be passed: by position or name, or by name only
    _kind: ClassVar[Any] = Parameter.POSITIONAL_OR_KEYWORD
    _weights: ClassVar[tuple[str, ...]] = ("weight", "pos_weight")

    if TYPE_CHECKING:

        def __init__(self, *args: Any, **settings: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_op" in vars(cls) and belongs_to(cls.__module__, "ranvier.nn"):
            of_op = parameters_of(getattr(ops, cls._op))
            every = signature(FORMS[cls._op]).parameters if cls._op in FORMS else of_op
            cls._declare(
                p.replace(kind=cls._kind, default="mean" if name == "reduction" else p.default)
                for name, p in every.items()
                if name in _OBSOLETE or (name in of_op and p.default is not Parameter.empty)
            )
            cls._follow(of_op)
        super().__init_subclass__(**kwargs)

    @classmethod
    def _follow(cls, of_op: Mapping[str, Parameter]) -> None:
        """Makes ``forward``: the op, or the function of ``nn.functional`` if a program has replaced that.

        The function has other parameters than the op, so that a layer which always called it would be slower.
        """
        form = FORMS[cls._op].__name__
        inputs = [name for name, p in of_op.items() if p.default is Parameter.empty]
        cls._inputs = tuple(name for name in inputs if name not in cls._settings)
        settings = [name for name in of_op if name in cls._settings]
        named = ", ".join([*cls._inputs, *(f"{name}=self.{name}" for name in settings)])
        passed = ", ".join([*cls._inputs, *(f"self.{name}" for name in settings)])
        call = [f"return ops.{cls._op}({passed})"]
        if form != cls._op:
            call = own_named(call, cls._op, form)
        lines = f"if F.{form} is not _OWN[{form!r}]:", f"    return F.{form}({named})"
        body = "\n".join([*lines, *call])
        kind = Parameter.POSITIONAL_OR_KEYWORD
        taken: list[Any] = ["self", *(Parameter(name, kind, annotation=Any) for name in cls._inputs)]
        cls.forward = made(f"{cls.__qualname__}.forward", taken, body, globals(), Tensor)  # type: ignore[method-assign]

    def _set(self, settings: dict[str, Any]) -> None:
        """Takes the settings. PyTorch's obsolete size_average and reduce change the setting reduction."""
        average = settings.pop("size_average", None)
        reduce = settings.pop("reduce", None)
        settings["reduction"] = reduction_of(type(self).__name__, average, reduce, settings["reduction"])
        weights = {name: settings.pop(name) for name in self._weights if name in settings}
        super()._set(settings)
        for name, value in weights.items():
            self._register_weight(name, value)

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * len(self._inputs)

    def extra_repr(self) -> str:
        """The settings that are not the defaults; weights are shown by their shape."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name in _OBSOLETE:
                continue
            value = getattr(self, name)
            if isinstance(value, Tensor):
                shown.append(f"{name}={tuple(value.shape)}")
            elif value != parameter.default:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)

    def _register_weight(self, name: str, value: Any) -> None:
        """Registers a weight (a Tensor, numbers or None) as a buffer."""
        if value is not None and not isinstance(value, Tensor):
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"[{type(self).__name__}] got {name} {value!r}; expected a Tensor or numbers")
            value = tensor(array.astype(default.dtype))  # Like tensor(list), it has the default dtype.
        self.register_buffer(name, value)


class WeightedLoss(Loss):
    """A loss with a weight for each class or element."""


for _kind, _names in ((Loss, ()), (WeightedLoss, ("weight",))):
    _kind._declare(signature(FORMS["bce"]).parameters[name] for name in (*_names, *_OBSOLETE, "reduction"))


class MSELoss(Loss):
    """(x - target)^2.

    >>> import ranvier as rv
    >>> rv.nn.MSELoss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """

    _op = "mse"


class L1Loss(Loss):
    """|x - target|.

    >>> import ranvier as rv
    >>> rv.nn.L1Loss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.5000)
    """

    _op = "l1"


class SmoothL1Loss(Loss):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2.

    >>> import ranvier as rv
    >>> rv.nn.SmoothL1Loss()(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(1.3125)
    """

    _op = "smooth_l1"


class HuberLoss(Loss):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2).

    >>> import ranvier as rv
    >>> rv.nn.HuberLoss(delta=2.0)(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(2.0625)
    """

    _op = "huber"


class PoissonNLLLoss(Loss):
    """exp(x) - target x, for counts ``target`` and the logarithms x of their rates; with ``log_input=False``
    x are the rates, and the loss is x - target log(x + eps). ``full`` adds Stirling's log(target!).

    >>> import ranvier as rv
    >>> rv.nn.PoissonNLLLoss()(rv.tensor([0.0, 1.0]), rv.tensor([1.0, 2.0]))
    tensor(0.8591)
    """

    _op = "poisson_nll"

    @classmethod
    def _follow(cls, of_op: Mapping[str, Parameter]) -> None:
        """PyTorch's name of the input is that of a setting, log_input; so `forward` is written below."""
        cls._inputs = ("log_input", "target")

    def forward(self, log_input: Any, target: Any) -> Tensor:
        settings = {name: getattr(self, name) for name in ("log_input", "full", "eps", "reduction")}
        if F.poisson_nll_loss is not _OWN["poisson_nll_loss"]:
            return F.poisson_nll_loss(log_input, target, **settings)
        return ops.poisson_nll(log_input, target, *settings.values())


class GaussianNLLLoss(Loss):
    """(log v + (x - target)^2 / v) / 2 with the variance v = max(var, eps); called with x, target and var.
    ``full`` adds log(2 pi) / 2.

    >>> import ranvier as rv
    >>> rv.nn.GaussianNLLLoss()(rv.tensor([1.0]), rv.tensor([3.0]), rv.tensor([4.0]))
    tensor(1.1931)
    """

    _op = "gaussian_nll"
    _kind = Parameter.KEYWORD_ONLY


class _Weighted(WeightedLoss):
    def _example(self) -> tuple[Any, ...]:
        weights = {name: tuple(weight.shape) for name, weight in self.named_buffers()}
        try:
            x = empty(0, *np.broadcast_shapes(*weights.values()))
        except ValueError:
            raise OpError(
                f"[{type(self).__name__}] got weights of shapes {weights}; expected shapes that broadcast"
            ) from None
        return x, x


class BCELoss(_Weighted):
    """-(t log x + (1 - t) log(1 - x)) times ``weight``, for probabilities x; each logarithm is at least -100.

    Raises ValueError for x outside [0, 1].

    >>> import ranvier as rv
    >>> rv.nn.BCELoss()(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """

    _op = "bce"


class BCEWithLogitsLoss(_Weighted):
    """BCELoss of sigmoid(x), without overflow; ``pos_weight`` multiplies the part of positive targets.

    >>> import ranvier as rv
    >>> rv.nn.BCEWithLogitsLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    >>> rv.nn.BCEWithLogitsLoss(pos_weight=[3.0])(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(2.0794)
    """

    _op = "bce_with_logits"


class KLDivLoss(Loss):
    """target (log target - x), for log-probabilities x. ``reduction='batchmean'`` gives the divergence.

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[1.0, 2.0]]), dim=1)
    >>> rv.nn.KLDivLoss(reduction="batchmean")(x, rv.tensor([[0.5, 0.5]]))
    tensor(0.1201)
    """

    _op = "kl_div"


class _OfClasses(WeightedLoss):
    """Base of losses for x (N, C) and class indices, the target (N,)."""

    def _example(self) -> tuple[Any, ...]:
        weight = getattr(self, self._weights[0])
        return empty(0, 1 if weight is None else weight.numel()), empty(0, dtype=int64)


class CrossEntropyLoss(_OfClasses):
    """-log(softmax(x)) of the true class: x (N, C), (N, C, d1, ...) or (C,) are logits, target holds class
    indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    ``weight`` (C,) multiplies the classes' losses, and 'mean' divides by the weights of the targets;
    ``ignore_index`` has loss 0; ``label_smoothing`` e mixes the target with e / C for each class.

    Raises ValueError for a class index outside [0, C).

    >>> import ranvier as rv
    >>> rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    """

    _op = "cross_entropy"


class NLLLoss(_OfClasses):
    """-x of the true class, for log-probabilities x. The rest is as in CrossEntropyLoss.

    >>> import ranvier as rv
    >>> rv.nn.NLLLoss()(rv.tensor([[-0.5, -1.0]]), rv.tensor([0]))
    tensor(0.5000)
    """

    _op = "nll"


class MarginRankingLoss(Loss):
    """max(0, margin - target (x1 - x2)); called with x1, x2 and target.

    >>> import ranvier as rv
    >>> rv.nn.MarginRankingLoss()(rv.tensor([1.0]), rv.tensor([1.5]), rv.tensor([1.0]))
    tensor(0.5000)
    """

    _op = "margin_ranking"


class CosineEmbeddingLoss(Loss):
    """1 - cos(x1, x2) if the target is 1, max(0, cos(x1, x2) - margin) if it is -1; called with x1, x2 (N, D)
    and target (N,).

    >>> import ranvier as rv
    >>> rv.nn.CosineEmbeddingLoss()(rv.tensor([[1.0, 0]]), rv.tensor([[0.0, 1]]), rv.tensor([1]))
    tensor(1.)
    """

    _op = "cosine_embedding"

    def _example(self) -> tuple[Any, ...]:
        return empty(0, 1), empty(0, 1), empty(0)


class TripletMarginLoss(Loss):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with d the distance in the p-norm; called
    with anchor, positive and negative (N, D).

    >>> import ranvier as rv
    >>> anchor, near, far = (rv.tensor([[x, 0.0]]) for x in (0.0, 1.0, 1.5))
    >>> rv.nn.TripletMarginLoss()(anchor, near, far)
    tensor(0.5000)
    """

    _op = "triplet_margin"
