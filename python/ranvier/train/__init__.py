"""Training: `Trainer`, its callbacks and its history."""

import typing as _typing

import ranvier.first_use as _first_use

if _typing.TYPE_CHECKING:
    from ranvier.train.callbacks.base import *
    from ranvier.train.callbacks.base import HintWarning as HintWarning
    from ranvier.train.callbacks.control import *
    from ranvier.train.callbacks.logs import *
    from ranvier.train.checkpoints import *
    from ranvier.train.history import *
    from ranvier.train.nonfinite import NonFiniteError as NonFiniteError
    from ranvier.train.trainer import *

_MODULES = {
    "callbacks.base": "Callback HintWarning LambdaCallback",
    "callbacks.control": "EarlyStopping Schedule",
    "callbacks.logs": "ProgressBar TensorBoard",
    "checkpoints": "Checkpoint",
    "history": "History",
    "nonfinite": "NonFiniteError",
    "trainer": "Trainer",
}
__getattr__ = _first_use.FirstUse(__name__, _MODULES)
__dir__ = __getattr__.directory

if not _typing.TYPE_CHECKING:
    __all__ = [*__getattr__.names]
