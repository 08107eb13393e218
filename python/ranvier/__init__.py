"""ranvier: train and run small and medium neural networks fast on a CPU.

>>> import ranvier as rv
>>> x = rv.tensor([1.0, 2.0], requires_grad=True)
>>> x.requires_grad
True
"""

from __future__ import annotations

import importlib as _importlib
import os as _os
import typing as _typing

# Read by libgomp when it is loaded: waiting threads spin briefly and then sleep, so that a worker woken on a
# busy processor does not wait for the caller's spinning to end (4-8 ms otherwise, on two cores). Taken back
# afterwards: it is no business of the programs that this process starts.
_spin = not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & _os.environ.keys()
if _spin:
    _os.environ["GOMP_SPINCOUNT"] = "4000"
from ranvier._core import __version__

if _spin:
    del _os.environ["GOMP_SPINCOUNT"]

from ranvier.autograd.check import *
from ranvier.autograd.creation import *
from ranvier.autograd.creation import bool_ as bool
from ranvier.autograd.creation import float16, float32, float64, int32, int64
from ranvier.autograd.device import device
from ranvier.autograd.grad import grad, value_and_grad
from ranvier.autograd.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from ranvier.autograd.random import Generator, get_rng_state, initial_seed, manual_seed, set_rng_state
from ranvier.autograd.tensor import Tensor
from ranvier.config import (
    empty_cache,
    get_num_threads,
    get_winograd,
    memory_stats,
    set_num_threads,
    set_winograd,
    show_config,
)
from ranvier.ops import *
from ranvier.summary import summary  # loaded here, or the module would take the place of the function

if _typing.TYPE_CHECKING:
    from ranvier.ops.layers import *

float, double, half, long, int = float32, float64, float16, int64, int32

# Loaded on first use: a module of ours by name, or a name that a module defines.
_MODULES = (
    "autograd",
    "cli",
    "cuda",
    "data",
    "explore",
    "kernels",
    "linalg",
    "metrics",
    "nn",
    "ops",
    "optim",
    "plot",
    "program",
    "reference",
    "report",
    "serialization",
    "train",
    "utils",
)
_NAMES: dict[str, str] = {
    "CaptureError": "ranvier.program",
    "compile": "ranvier.program",
    "constant": "ranvier.program",
    "Trainer": "ranvier.train",
    "CSVLog": "ranvier.train",
    "Callback": "ranvier.train",
    "Checkpoint": "ranvier.train",
    "EarlyStopping": "ranvier.train",
    "History": "ranvier.train",
    "LambdaCallback": "ranvier.train",
    "NormHistory": "ranvier.train",
    "ProgressBar": "ranvier.train",
    "Schedule": "ranvier.train",
    "TensorBoard": "ranvier.train",
    "WeightAveraging": "ranvier.train",
    "diagnose": "ranvier.explore",
    "derivative": "ranvier.ops.activation.slope",
    "focal_loss": "ranvier.nn.functional",
    "mlp": "ranvier.nn.mlp",
    "save": "ranvier.serialization",
    "sigmoid_focal_loss": "ranvier.nn.functional",
    "load": "ranvier.serialization",
}


def _layers() -> _typing.Any:
    return _importlib.import_module("ranvier.ops.layers")


def __getattr__(name: str) -> _typing.Any:
    if name in _MODULES:
        return _importlib.import_module(f"ranvier.{name}")
    if name in _NAMES:
        value = getattr(_importlib.import_module(_NAMES[name]), name)
    elif name in _layers().__all__:
        value = getattr(_layers(), name)
    else:
        raise AttributeError(f"module 'ranvier' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES, *_layers().__all__})
