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
from math import e as e, inf as inf, nan as nan, pi as pi

from numpy import newaxis as newaxis

# libgomp reads this variable when it is loaded: waiting threads then spin briefly and sleep. With the
# default, a worker that wakes on a busy processor waits 4-8 ms until the caller stops spinning (on two
# cores). The variable is removed afterwards, so that programs which this process starts do not inherit it.
_spin = not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & _os.environ.keys()
if _spin:
    _os.environ["GOMP_SPINCOUNT"] = "4000"
from ranvier._core import __version__

if _spin:
    del _os.environ["GOMP_SPINCOUNT"]

import ranvier.extension as _extension
from ranvier.config import (
    empty_cache,
    get_consistent,
    get_float32_matmul_precision,
    get_num_threads,
    get_winograd,
    memory_stats,
    set_consistent,
    set_float32_matmul_precision,
    set_num_threads,
    set_numpy_threads,
    set_winograd,
    show_config,
)
from ranvier.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from ranvier.ops import __all__ as _PUBLIC
from ranvier.ops.table import module_of as _module_of
from ranvier.tensors.data import get_default_dtype, set_default_dtype, set_default_tensor_type
from ranvier.tensors.devices import device, get_default_device, set_default_device
from ranvier.tensors.dtypes import *
from ranvier.tensors.dtypes import bool_ as bool, dtype, float16, float32, float64, int32, int64
from ranvier.tensors.spellings import spelled as _spelled
from ranvier.tensors.tensor import Tensor

if _typing.TYPE_CHECKING:
    from ranvier.autograd.function_gradients import grad, value_and_grad
    from ranvier.compile.api import compile
    from ranvier.layer_table import summary
    from ranvier.ops import *
    from ranvier.ops.making.check import *
    from ranvier.ops.making.convert import clone
    from ranvier.ops.making.creation import *
    from ranvier.ops.making.creation import as_tensor, zeros  # Some modules of ops have other ones.
    from ranvier.ops.making.dlpack import from_dlpack
    from ranvier.ops.making.random import *
    from ranvier.ops.making.random import (
        Generator,
        default_generator,
        get_rng_state,
        initial_seed,
        manual_seed,
        seed,
        set_rng_state,
    )  # fmt: skip

float = float32
double = float64
half = float16
long = int64
int = int32

# Loaded on first use: modules, and names by the module that defines them.
_MODULES = "autograd compile data fft func kernels linalg metrics nn ops optim serialization train version"
_NAMES = {
    "autograd.function_gradients": "grad value_and_grad",
    "tensors.printing": "set_printoptions",
    "layer_table": "summary",
    "ops.making.check": """
        allclose equal is_complex is_floating_point is_tensor isfinite isinf isnan numel
    """,
    "ops.making.convert": "clone",
    "ops.making.creation": """
        BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor
        LongTensor ShortTensor Size arange as_tensor asarray channels_last channels_last_3d contiguous_format
        empty empty_like eye from_numpy full full_like layout linspace memory_format ones ones_like
        preserve_format strided tensor zeros zeros_like
    """,
    "ops.making.dlpack": "from_dlpack",
    "ops.making.random": """
        Generator default_generator get_rng_state initial_seed manual_seed rand rand_like randint randn
        randn_like randperm seed set_rng_state
    """,
    "func": "vmap",
    "nn.mlp": "mlp",
    "nn.quantized.convert": "quantize",
    "compile": "CaptureError constant",
    "serialization": "load load_gguf save",
    "train": """
        Callback Checkpoint EarlyStopping History LambdaCallback ProgressBar Schedule TensorBoard Trainer
    """,
}
_LATER = {name: f"ranvier.{name}" for name in _MODULES.split()} | {"random": "ranvier.ops.making.random"}
_DEFINED_IN = {name: f"ranvier.{module}" for module, names in _NAMES.items() for name in names.split()}

# The satellites are folders that use the core, and that the core does not need. The names that a satellite
# adds to modules of the core are loaded at their first use; without the folder they do not exist.
_SATELLITES = "cli distributed distributions explore export onnx plot sklearn"
for _satellite in _SATELLITES.split():
    _extension.add_attributes("ranvier", f"ranvier.{_satellite}", _satellite)
_extension.add_attributes("ranvier", "ranvier.explore", "diagnose")
_extension.add_attributes("ranvier.data", "ranvier.data.vision", "vision")
_extension.add_attributes("ranvier.data", "ranvier.distributed.parallel", "DistributedSampler")
_extension.add_attributes("ranvier.nn", "ranvier.distributed.parallel", "DataParallel SyncBatchNorm")
_extension.add_attributes(
    "ranvier.serialization",
    "ranvier.torch.files",
    "add_safe_globals clear_safe_globals get_safe_globals safe_globals",
)
_extension.provide("distributed training", "ranvier.distributed.run")
_extension.provide("pictures", "ranvier.plot")
_extension.provide("event files", "ranvier.torch.utils.tensorboard")
_extension.provide("files of PyTorch", "ranvier.torch.files")
_extension.provide("replays", "ranvier.compile.repeated")  # in the core, but it imports the layers
del _satellite
try:  # This is loaded now, because it lets imports find PyTorch's module paths.
    _importlib.import_module(f"{__name__}.torch")
except ModuleNotFoundError as _error:
    if _error.name != f"{__name__}.torch":  # The folder exists, but a module that it imports is missing.
        raise


def __getattr__(name: str) -> _typing.Any:
    if name == "__all__":  # `from ranvier import *` gives all names except modules, as in PyTorch.
        here = _importlib.import_module(__name__)
        values = {public: getattr(here, public) for public in __dir__() if public[0] != "_"}
        return [n for n, value in values.items() if type(value) not in (type(_os), type(annotations))]
    if name in _LATER:
        return _importlib.import_module(_LATER[name])
    if name in _DEFINED_IN:
        value = _spelled(getattr(_module_of(_DEFINED_IN[name]), name))
    elif _extension.adds("ranvier", name):
        value = _extension.attribute("ranvier", name)
    elif name in _PUBLIC:
        value = _spelled(getattr(_importlib.import_module("ranvier.ops"), name))
    else:
        raise AttributeError(f"module 'ranvier' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    names = {*globals(), *_LATER, *_DEFINED_IN, *_PUBLIC}
    return sorted(names.union(_extension.attributes("ranvier")))
