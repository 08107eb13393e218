"""Translates between the classes and functions of this library and the paths by which PyTorch's files name
them: `path_of` for writing, `find_class` for reading.

A path is a module and a name: "torch.nn.modules.linear.Linear".
"""

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
# counts, and "activation" has the others
_LAYER_FILES = {
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
    "nn.functional",
    "",
    "optim.lr_scheduler",
    "optim.swa_utils",
    "optim",
    "utils.data",
    "distributions",
    "nn.init",
    "nn.utils.rnn",
    "nn.utils",
    "nn.parallel",
)
_ATTENTION_OUTPUT = "NonDynamicallyQuantizableLinear"  # PyTorch's class of a MultiheadAttention's out_proj
# The classes that files name by another path than `path_of` would find.
CLASSES = IN_FILES_OF_WEIGHTS | {
    f"torch.nn.modules.linear.{_ATTENTION_OUTPUT}": value_of(
        "torch", "nn.modules.linear", _ATTENTION_OUTPUT, []
    ),
    "torch.nn.modules.module._WrappedHook": WrappedHook,
}
_PATHS = {cls: path for path, cls in CLASSES.items()}
# PyTorch's classes of built-in functions: a pickle names torch.tanh as a method of such a class
_BUILT_IN = {"torch._C._VariableFunctionsClass", "torch._C._VariableFunctions"}


def path_of(value: type | Callable[..., Any]) -> str:
    """The path by which a pickle names a class or function: PyTorch's, for what PyTorch has."""
    module = str(value.__module__)
    name = str(value.__qualname__)
    if not module.startswith("ranvier."):
        return f"{module}.{name}"
    if isinstance(value, type):
        if value in _PATHS:
            return _PATHS[value]
        if issubclass(value, nn.Module) and getattr(nn, name, None) is value:
            return f"torch.nn.modules.{_layer_file(name)}.{name}"
        if getattr(rv.optim, name, None) is value:
            return f"torch.optim.{name.lower()}.{name}"
    for path in _MODULES:
        torch_module = f"torch.{path}".rstrip(".")
        if _find_here(torch_module, name) == value:  # true also for the wrapper that `torch` hands out
            return f"{torch_module}.{name}"
    return f"{module}.{name}"


def _layer_file(name: str) -> str:
    """The file of torch.nn.modules that has the layer of this name."""
    for pattern, file in _LAYER_FILES.items():
        if re.search(pattern, name):
            return file
    return "activation"


def find_class(module: str, name: str, otherwise: Callable[[str, str], Any]) -> Any:
    """The object for a name in a pickle: for PyTorch's names ours, else otherwise(module, name)."""
    path = f"{module}.{name}"
    if path in CLASSES:
        return CLASSES[path]
    root = module.partition(".")[0]
    # where `import torch` gives this library, Python's own search finds its objects
    if root not in ("torch", "torchvision") or is_installed(root):
        return otherwise(module, name)
    if path in KNOWN:
        value = KNOWN[path]
        if isinstance(value, Known) and value.call is not None:
            return value.call
        return value
    if path in _BUILT_IN:
        return rv
    for attribute in name.split("."):
        value = _find_here(module, attribute)
        if value is None:
            raise AttributeError(f"[load] the file has {path}, which ranvier does not have")
        module = f"{module}.{attribute}"
    is_public = type(value) is _core.PublicFunction
    if is_public:  # layers here hold the function that it wraps
        return value.__wrapped__
    return value


def _find_here(module: str, name: str) -> Any:
    """This library's object for a name in a module of PyTorch, or in one around it; None for nothing."""
    root, _, inner = module.replace("torch._C._nn", "torch.nn.functional").partition(".")
    homes: list[ModuleType] = homes_of(root, inner)  # this library's modules that stand for PyTorch's
    try:
        if homes:
            return value_of(root, inner, name, homes)
    except AttributeError:
        pass
    outer = inner.rpartition(".")[0]
    if outer:
        return _find_here(f"{root}.{outer}", name)
    return None
