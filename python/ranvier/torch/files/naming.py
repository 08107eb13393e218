"""Translates between the classes and functions of this library and the paths by which PyTorch's files name
them."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import ranvier as rv
import ranvier._core as _core
from ranvier import nn
from ranvier.torch.files.modules import WrappedHook
from ranvier.torch.files.values import CLASSES as IN_FILES_OF_WEIGHTS, KNOWN, Known
from ranvier.torch.installation.finder import homes_of, is_installed, value_of

# pattern of a layer's name -> the file of torch.nn.modules that has the layer; the first row that matches
# counts
_FILES = {
    "Pool|Unpool": "pooling",
    "Dropout": "dropout",
    "Loss$": "loss",
    "BatchNorm": "batchnorm",
    "InstanceNorm": "instancenorm",
    "Norm$": "normalization",
    "Conv": "conv",
    "Pad[123]d": "padding",
    "^Upsampl": "upsampling",
    "^Transformer": "transformer",
    "^(RNN|LSTM|GRU)": "rnn",
    "^Module$": "module",
    "Sequential|List$|Dict$": "container",
    "[Ll]inear$|^Identity": "linear",
    "^Embedding": "sparse",
    "^(Unf|F)latten$": "flatten",
    "^(Unf|F)old$": "fold",
    "^Pixel(Uns|S)huffle$": "pixelshuffle",
    "^ChannelShuffle$": "channelshuffle",
    "Similarity$|Distance$": "distance",
}
# other modules of PyTorch in which `path_of` looks, in this order
_MODULES = (
    *("nn.functional", "", "optim.lr_scheduler", "optim.swa_utils", "optim", "utils.data", "distributions"),
    *("nn.init", "nn.utils.rnn", "nn.utils", "nn.parallel"),
)
_OUT = "NonDynamicallyQuantizableLinear"
CLASSES = IN_FILES_OF_WEIGHTS | {
    f"torch.nn.modules.linear.{_OUT}": value_of("torch", "nn.modules.linear", _OUT, []),
    "torch.nn.modules.module._WrappedHook": WrappedHook,
}
_PATHS = {value: path for path, value in CLASSES.items()}
# PyTorch's classes of built-in functions: a pickle names torch.tanh as a method of such a class
_BUILT_IN = {"torch._C._VariableFunctionsClass", "torch._C._VariableFunctions"}


def path_of(value: Any) -> str:
    """The path by which a pickle names a class or function: PyTorch's, for what PyTorch has."""
    module = str(value.__module__)
    name = str(value.__qualname__)
    if not module.startswith("ranvier."):
        return f"{module}.{name}"
    if isinstance(value, type):
        if value in _PATHS:
            return _PATHS[value]
        if issubclass(value, nn.Module) and getattr(nn, name, None) is value:
            rows = (file for pattern, file in _FILES.items() if re.search(pattern, name))
            return f"torch.nn.modules.{next(rows, 'activation')}.{name}"
        if getattr(rv.optim, name, None) is value:
            return f"torch.optim.{name.lower()}.{name}"
    for path in _MODULES:
        root = f"torch.{path}".rstrip(".")
        if _here(root, name) == value:  # true also for the wrapper that `torch` hands out
            return f"{root}.{name}"
    return f"{module}.{name}"


def find_class(module: str, name: str, otherwise: Callable[[str, str], Any]) -> Any:
    """The object for a name in a pickle: for PyTorch's names ours, else otherwise(module, name)."""
    path = f"{module}.{name}"
    if path in CLASSES:
        return CLASSES[path]
    root = module.partition(".")[0]
    if root not in ("torch", "torchvision") or is_installed(root):
        return otherwise(module, name)
    if path in KNOWN:
        value = KNOWN[path]
        if isinstance(value, Known) and value.call is not None:
            return value.call
        return value
    if path in _BUILT_IN:
        return rv
    for part in name.split("."):
        value = _here(module, part)
        if value is None:
            raise AttributeError(f"[load] the file has {path}, which ranvier does not have")
        module = f"{module}.{part}"
    is_public = type(value) is _core.PublicFunction  # layers here hold the function that it wraps
    if is_public:
        return value.__wrapped__
    return value


def _here(path: str, name: str) -> Any:
    """This library's object for a name in a module of PyTorch, or in one around it; None for nothing."""
    root, _, inner = path.replace("torch._C._nn", "torch.nn.functional").partition(".")
    homes: list[ModuleType] = homes_of(root, inner)
    try:
        if homes:
            return value_of(root, inner, name, homes)
    except AttributeError:
        pass
    outer = inner.rpartition(".")[0]
    if outer:
        return _here(f"{root}.{outer}", name)
    return None
