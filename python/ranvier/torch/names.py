"""Where PyTorch's modules and names are in this library, and which stay out: the rows of `paths.json`.

A row begins with a path of PyTorch, without `torch.`. A path without a row is the same path below `ranvier`,
if that exists.

| section | what a row says |
|---|---|
| modules of both roots | which modules here have the names of a module, in the order of asking |
| modules | likewise; those above are below `ranvier`, too, these below `torch` alone; "" is `torch` itself |
| names | where a name is that those modules lack, or have otherwise: a module and a name in it |
| methods | which file of this package has a method of Tensor |
| left out | why a name stays out, with all names below it |
"""

from __future__ import annotations

import json
import os
from typing import Any

with open(os.path.join(os.path.dirname(__file__), "paths.json"), encoding="utf-8") as _file:
    _ROWS = json.load(_file)
PATHS: dict[str, list[str]] = _ROWS["modules of both roots"]
MODULES: dict[str, list[str]] = PATHS | _ROWS["modules"]
NAMES: dict[str, str] = _ROWS["names"]
METHODS: dict[str, str] = _ROWS["methods"]
LEFT_OUT: dict[str, str] = _ROWS["left out"]

# modules whose `__dict__` libraries go through: it has all names at once, or those of a module here
_WHOLE = """
    torch.distributions torch.nn.init torch.optim torch.optim.lr_scheduler torchvision.datasets
    torchvision.models torchvision.transforms
"""
WHOLE = dict.fromkeys(_WHOLE.split(), "") | {"torch.nn.modules.activation": "ranvier.nn.activation"}

# methods that are functions of PyTorch, too, as are all that end with _
FUNCTIONS = frozenset({"detach", "get_device", "is_same_size", "is_signed"})

# methods of Tensor that may not be here: an access names this library
LACKING = """
    as_strided_ chalf coalesce dense_dim dequantize eig geqrf i0 i0_ igamma igamma_ igammac
    igammac_ imag indices int_repr is_coalesced is_mkldnn istft map2_ orgqr ormqr polygamma polygamma_
    q_scale q_zero_point qscheme resize resize_as slice_inverse smm sparse_dim sparse_mask
    sspaddmm storage_type svd to_mkldnn to_padded_tensor to_sparse_bsc to_sparse_bsr to_sparse_csc
    to_sparse_csr xpu
"""

LACKS = "ranvier, which is in place of PyTorch, lacks it; docs/pytorch_names.md lists its names"


def why(path: str) -> str:
    """The reason why a name stays out, or "" for a name that does not."""
    if path.startswith("nn.") and path.endswith("3d"):
        return "of volumes there are nn.Conv3d and nn.functional.max_pool3d alone"
    while path not in LEFT_OUT and "." in path:
        path = path.rpartition(".")[0]
    return LEFT_OUT.get(path, "")


class Lacking:
    """A method of PyTorch's Tensor that is not here, which says so; `hasattr` is False."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Any, owner: Any) -> Any:
        text = f"'Tensor' object has no attribute {self._name!r}: {LACKS}"
        raise AttributeError(text, name=self._name, obj=tensor)
