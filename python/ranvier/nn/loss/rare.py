"""Losses that few networks use, apart from others as in :mod:`ranvier.nn.rare`."""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss import Loss
from ranvier.ops.rows import examples

__all__ = ["CTCLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "TripletMarginWithDistanceLoss"]


class _Rare(Loss):
    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        if self.reduction not in ("none", "mean", "sum"):
            raise ValueError(
                f"[{type(self).__name__}] got reduction {reduction!r}; expected 'none', 'mean' or 'sum'"
            )

    def _example(self) -> Any:
        return None


class CTCLoss(_Rare):
    """Connectionist temporal classification: see :func:`ranvier.nn.functional.ctc_loss`.
    | rv.nn.CTCLoss()(rv.full((2, 1, 2), 0.5).log(), rv.tensor([[1]]), rv.tensor([2]), rv.tensor([1]))
    -> tensor(0.2877)"""

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        if isinstance(blank, bool) or not isinstance(blank, int) or blank < 0:
            raise ValueError(f"[CTCLoss] got blank {blank!r}; expected a whole number >= 0")
        self.blank, self.zero_infinity = blank, bool(zero_infinity)

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )


class MultiLabelMarginLoss(_Rare):
    """See :func:`ranvier.nn.functional.multilabel_margin_loss`.
    | rv.nn.MultiLabelMarginLoss()(rv.tensor([[0.5, 0.0]]), rv.tensor([[0, -1]])) -> tensor(0.2500)"""

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_Rare):
    """See :func:`ranvier.nn.functional.multilabel_soft_margin_loss`.
    | rv.nn.MultiLabelSoftMarginLoss()(rv.tensor([[0.0, 0.0]]), rv.tensor([[1.0, 0.0]])) -> tensor(0.6931)"""

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class TripletMarginWithDistanceLoss(_Rare):
    """See :func:`ranvier.nn.functional.triplet_margin_with_distance_loss`.

    >>> import ranvier as rv
    >>> a, n = rv.zeros(1, 2), rv.ones(1, 2)
    >>> round(rv.nn.TripletMarginWithDistanceLoss(margin=2.0)(a, a, n).item(), 4)
    0.5858
    """

    def __init__(
        self,
        *,
        distance_function: Any = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if not (distance_function is None or callable(distance_function)):
            raise TypeError(
                f"[TripletMarginWithDistanceLoss] got distance_function {distance_function!r}; expected a "
                "function"
            )
        self.distance_function, self.margin, self.swap = distance_function, float(margin), bool(swap)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


examples(globals())
