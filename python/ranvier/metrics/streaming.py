"""Metrics as objects for data in batches: update(y_true, y_pred), compute(), reset().

Each result equals the function's for all samples at once. An object keeps counts and sums; ROC AUC keeps all
samples. `metric(y_true, y_pred)` measures these samples alone and does not change the state, so
`Trainer(metrics=[...])` takes objects and functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import ranvier.metrics.classification as classification
import ranvier.metrics.ranking as ranking
from ranvier.autograd.memory import Array
from ranvier.metrics.confusion import Counts, counts_of, normalized, scores
from ranvier.metrics.inputs import weights_of
from ranvier.metrics.report import report

__all__ = [
    "F1",
    "Accuracy",
    "ClassificationReport",
    "ConfusionMatrix",
    "LogLoss",
    "Precision",
    "Recall",
    "RocAuc",
    "StreamingMetric",
    "TopKAccuracy",
]


class StreamingMetric:
    """Base class: a subclass adds a batch in `_add` and computes the metric in `_value`.

    Attributes:
        scored: what `y_pred` holds: "labels", "probabilities" or "values". `Trainer` gives that.
        is_number: whether `compute` gives one number, as a `Trainer` needs.
    """

    scored: ClassVar[str] = "labels"
    is_number: bool = True

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.__name__ = self._name()  # the key in a Trainer's history
        self.reset()

    def _name(self) -> str:
        average = self.settings.get("average")
        name = "".join("_" + c.lower() if c.isupper() else c for c in type(self).__name__).lstrip("_")
        return f"{name}_{average}" if isinstance(average, str) and average != "binary" else name

    def reset(self) -> None:
        """Remove all samples."""
        self.samples = 0
        self._start()

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Raises ValueError, TypeError: as the function. The batch is not added.
        """
        self._add(y_true, y_pred, sample_weight)
        self.samples += len(np.atleast_1d(np.asarray(y_true)))

    def compute(self) -> Any:
        """The metric over all samples since the last reset.

        Raises ValueError: there are no samples.
        """
        if self.samples == 0:
            raise ValueError(f"[{self.__name__}] got no samples; expected at least one")
        return self._value()

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        alone = copy.copy(self)
        alone.reset()
        alone.update(y_true, y_pred, sample_weight)
        return alone.compute()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"

    def _start(self) -> None:
        raise NotImplementedError

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        raise NotImplementedError

    def _value(self) -> Any:
        raise NotImplementedError


class _Mean(StreamingMetric):
    _function: Callable[..., float]

    def _start(self) -> None:
        self._sum, self._weight = 0.0, 0.0

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        value = self._function(y_true, y_pred, sample_weight=sample_weight, **self.settings)
        n = len(np.asarray(y_true))
        weights = weights_of(self.__name__, sample_weight, n)
        weight = float(n) if weights is None else float(weights.sum())
        if weight:
            self._sum, self._weight = self._sum + value * weight, self._weight + weight

    def _value(self) -> float:
        return self._sum / self._weight if self._weight else float("nan")


class Accuracy(_Mean):
    """:func:`accuracy_score` over batches.

    >>> from ranvier.metrics import Accuracy
    >>> metric = Accuracy()
    >>> metric.update([0, 1], [0, 1]); metric.update([2, 2], [1, 2])
    >>> metric.compute()
    0.75
    """

    _function = staticmethod(classification.accuracy_score)


class TopKAccuracy(_Mean):
    """:func:`top_k_accuracy_score` over batches.

    >>> from ranvier.metrics import TopKAccuracy
    >>> metric = TopKAccuracy(k=2)
    >>> metric.update([0, 2], [[0.5, 0.2, 0.3], [0.7, 0.2, 0.1]])
    >>> metric.compute()
    0.5
    """

    scored = "probabilities"
    _function = staticmethod(ranking.top_k_accuracy_score)

    def __init__(self, *, k: int = 2, labels: Any = None) -> None:
        super().__init__(k=k, labels=labels)

    def _name(self) -> str:
        return f"top_{self.settings['k']}_accuracy"


class LogLoss(_Mean):
    """:func:`log_loss` over batches. Give the labels of the columns if a batch may lack some.

    >>> from ranvier.metrics import LogLoss
    >>> metric = LogLoss(labels=[0, 1])
    >>> metric.update([1], [[0.5, 0.5]]); metric.update([0], [[1.0, 0.0]])
    >>> round(metric.compute(), 4)
    0.3466
    """

    scored = "probabilities"
    _function = staticmethod(ranking.log_loss)

    def __init__(self, *, labels: Any = None) -> None:
        super().__init__(labels=labels)


class _Counting(StreamingMetric):
    def _start(self) -> None:
        self._counts: Counts | None = None

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        counts = counts_of(self.__name__, y_true, y_pred, sample_weight)
        self._counts = counts if self._counts is None else self._counts.merged(counts, self.__name__)


class ConfusionMatrix(_Counting):
    """:func:`confusion_matrix` over batches.

    >>> from ranvier.metrics import ConfusionMatrix
    >>> metric = ConfusionMatrix()
    >>> metric.update([0, 1], [0, 1]); metric.update([2, 2], [1, 2])
    >>> metric.compute()
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 1, 1]])
    """

    is_number = False

    def __init__(self, *, labels: Any = None, normalize: str | None = None) -> None:
        super().__init__(labels=labels, normalize=normalize)

    def _value(self) -> Array:
        assert self._counts is not None
        return normalized(self._counts, self.settings["labels"], self.settings["normalize"])


class ClassificationReport(_Counting):
    """:func:`classification_report` over batches.

    >>> from ranvier.metrics import ClassificationReport
    >>> metric = ClassificationReport(output_dict=True)
    >>> metric.update([0, 1], [0, 1]); metric.update([1, 1], [0, 1])
    >>> metric.compute()["accuracy"]
    0.75
    """

    is_number = False

    def __init__(
        self,
        *,
        labels: Any = None,
        target_names: Any = None,
        digits: int = 2,
        output_dict: bool = False,
        zero_division: Any = 0.0,
    ) -> None:
        super().__init__(
            labels=labels,
            target_names=target_names,
            digits=digits,
            output_dict=output_dict,
            zero_division=zero_division,
        )

    def _value(self) -> Any:
        assert self._counts is not None
        return report(self._counts, **self.settings)


class _Score(_Counting):
    _part: ClassVar[int]  # of precision, recall and F

    def __init__(
        self,
        *,
        labels: Any = None,
        pos_label: Any = 1,
        average: str | None = "binary",
        zero_division: Any = 0.0,
    ) -> None:
        super().__init__(labels=labels, pos_label=pos_label, average=average, zero_division=zero_division)
        self.is_number = average is not None

    def _value(self) -> Any:
        assert self._counts is not None
        return scores(self.__name__, self._counts, **self.settings)[self._part]


class Precision(_Score):
    """:func:`precision_score` over batches.

    >>> from ranvier.metrics import Precision
    >>> metric = Precision()
    >>> metric.update([0, 1], [1, 1]); metric.update([1, 0], [1, 0])
    >>> metric.compute()
    0.6666666666666666
    """

    _part = 0


class Recall(_Score):
    """:func:`recall_score` over batches.

    >>> from ranvier.metrics import Recall
    >>> metric = Recall(average="macro")
    >>> metric.update([0, 1], [1, 1]); metric.update([1, 0], [1, 0])
    >>> metric.compute()
    0.75
    """

    _part = 1


class F1(_Score):
    """:func:`f1_score` over batches.

    >>> from ranvier.metrics import F1
    >>> metric = F1(average="micro")
    >>> metric.update([0, 1], [1, 1]); metric.update([1, 0], [1, 0])
    >>> metric.compute()
    0.75
    """

    _part = 2


class RocAuc(StreamingMetric):
    """:func:`roc_auc_score` over batches; keeps all samples. More than two classes are each compared with the
    rest; with `multi_class="ovo"` in pairs.

    >>> from ranvier.metrics import RocAuc
    >>> metric = RocAuc()
    >>> metric.update([0, 0], [0.1, 0.4]); metric.update([1, 1], [0.35, 0.8])
    >>> metric.compute()
    0.75
    """

    scored = "probabilities"

    def __init__(
        self, *, average: str | None = "macro", multi_class: str = "ovr", labels: Any = None
    ) -> None:
        super().__init__(average=average, multi_class=multi_class, labels=labels)
        self.is_number = average is not None

    def _name(self) -> str:
        average, kind = self.settings["average"], self.settings["multi_class"]
        name = "roc_auc" if kind == "ovr" else f"roc_auc_{kind}"
        return name if average == "macro" else f"{name}_{average}"

    def _start(self) -> None:
        self._true: list[Array] = []
        self._scores: list[Array] = []
        self._weights: list[Array | None] = []

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        true, score = ranking.score_arrays("roc_auc_score", y_true, y_pred)
        weights = weights_of("roc_auc_score", sample_weight, len(true))
        if self._scores and score.shape[1:] != self._scores[0].shape[1:]:
            raise ValueError(
                f"[roc_auc_score] got scores of shape {score.shape} after some of shape "
                f"{self._scores[0].shape}"
            )
        self._true.append(true)
        self._scores.append(score)
        self._weights.append(weights)

    def _value(self) -> Any:
        weights = None
        if any(w is not None for w in self._weights):
            parts = zip(self._weights, self._true, strict=True)
            weights = np.concatenate([np.ones(len(t)) if w is None else w for w, t in parts])
        true, score = np.concatenate(self._true), np.concatenate(self._scores)
        return ranking.roc_auc_score(true, score, sample_weight=weights, **self.settings)
