"""Where PyTorch's modules and names are in this library, and which are left out: the tables of `paths.json`.

The key of a row is a path of PyTorch, without `torch.`. A path without a row is the same path below
`ranvier`, if that exists.

| section | key -> value of a row |
|---|---|
| modules of both roots | module -> the modules here that have its names, in the order of asking |
| modules | the same, but the module exists below `torch` only, not below `ranvier`; "" is `torch` itself |
| names | name -> a module here and a name in it, where the modules above lack the name or mean another thing
| | methods | method of Tensor -> the module of this package that has it |
| left out | name -> why it is left out, with all names below it |
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

from ranvier import Tensor

with open(os.path.join(os.path.dirname(__file__), "paths.json"), encoding="utf-8") as _file:
    _ROWS = json.load(_file)
PATHS: dict[str, list[str]] = _ROWS["modules of both roots"]
MODULES: dict[str, list[str]] = PATHS | _ROWS["modules"]
NAMES: dict[str, str] = _ROWS["names"]
METHODS: dict[str, str] = _ROWS["methods"]
LEFT_OUT: dict[str, str] = _ROWS["left out"]

# Modules whose `__dict__` libraries iterate over, so that all names are set when the module is loaded. The
# value is the module here whose `__all__` names them, or "" for all names.
_WHOLE = """
    torch.distributions torch.optim torch.optim.lr_scheduler torchvision.datasets
    torchvision.models torchvision.transforms
"""
WHOLE = dict.fromkeys(_WHOLE.split(), "") | {"torch.nn.modules.activation": "ranvier.nn.activation"}

# functions whose name is also that of a submodule: PyTorch's packages keep the function when it is imported
_ALSO_MODULES = """
    ao.quantization.fuse_modules ao.quantization.quantize ao.quantization.quantize_jit autograd.gradcheck
    distributed.rendezvous export.unflatten multiprocessing.spawn nn.parallel.data_parallel
    nn.parallel.parallel_apply nn.parallel.replicate nn.utils.spectral_norm nn.utils.weight_norm
    quantization.fuse_modules quantization.quantize quantization.quantize_jit
"""
ALSO_MODULES = frozenset(_ALSO_MODULES.split())

# methods of Tensor that are also functions of torch; methods whose name ends with _ are, too
FUNCTIONS = frozenset({"detach", "get_device", "is_same_size", "is_signed"})

# methods of PyTorch's Tensor that this library lacks; `attached.py` makes each a `Lacking`
LACKING = """
    as_strided_ chalf coalesce dense_dim dequantize eig geqrf
    imag indices int_repr is_coalesced is_mkldnn istft map2_ orgqr ormqr
    q_scale q_zero_point qscheme resize resize_as slice_inverse smm sparse_dim sparse_mask
    sspaddmm storage_type svd to_mkldnn to_padded_tensor to_sparse_bsc to_sparse_bsr to_sparse_csc
    to_sparse_csr xpu
"""

LACKS = "ranvier, which is in place of PyTorch, lacks it; docs/pytorch_names.md lists its names"


def why(path: str) -> str:
    """The reason why a name is left out; "" if it is not."""
    of_volumes = path.startswith("nn.") and path.endswith("3d")
    if of_volumes and not path.endswith(".atleast_3d"):  # which is a function of torch alone
        return "of volumes this one is missing"
    while path not in LEFT_OUT and "." in path:
        path = path.rpartition(".")[0]
    return LEFT_OUT.get(path, "")


@cache
def left_out_modules() -> frozenset[str]:
    """The modules that PyTorch has below names that are left out: an import of another name is an error."""
    with open(os.path.join(os.path.dirname(__file__), "modules.json"), encoding="utf-8") as file:
        rows: dict[str, str] = json.load(file)
    paths = (f"{parent}.{name}" for parent, words in rows.items() for name in words.split())
    return frozenset(path.lstrip(".") for path in paths)


class Lacking:
    """Stands for a missing method of PyTorch's Tensor; an access raises AttributeError with a text."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Tensor, owner: Any) -> Any:
        text = f"'Tensor' object has no attribute {self._name!r}: {LACKS}"
        raise AttributeError(text, name=self._name, obj=tensor)
