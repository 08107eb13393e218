"""Metrics: functions `(y_true, y_pred)` on NumPy arrays with scikit-learn's names, arguments and results, and
objects that take batches (:class:`StreamingMetric`).

`Trainer(metrics=["accuracy", "f1_macro"])` finds them by the names in `METRICS` and computes them once per
epoch over all samples. It also takes objects (`F1(average="macro")`) and any other function of
`(y_true, y_pred)`, such as scikit-learn's.
"""

import types as _types
import typing as _typing

from ranvier.metrics.classification import *
from ranvier.metrics.confusion import *
from ranvier.metrics.metric import *
from ranvier.metrics.named import *
from ranvier.metrics.ranking import *
from ranvier.metrics.regression import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
