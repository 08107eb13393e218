"""Autocast: blocks in which ops compute in the dtypes of PyTorch's lists for the CPU.

`Dtypes.autocast` (`tape/function.py`) says in which list an op is. In a block, the core calls `_apply` here
for a Function of a list, and `cast` for an operand. Both cast to the dtype of the list: "lower" is the
block's dtype (half floats), "float32" is float32. While an op of a list runs, the core treats its thread as
outside of blocks.

Casts of leaves are kept until the outermost block ends, so that a weight is cast once, and its gradients are
added up before they are cast back. A weight that has changed is cast again.

The blocks themselves are in torch/training/amp.py, which calls `begin`.
"""

from __future__ import annotations

import weakref
from _thread import _local as local  # threading.local, without the import of threading
from typing import TYPE_CHECKING, Any, NamedTuple

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.settings import ThreadSettings
from ranvier.tape.function import applied
from ranvier.tensors.memory import BF16, F32, HALVES
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy as np

    from ranvier.tape.function import Function
    from ranvier.tensors.types import TensorLike


class Cast:
    """The cast of a leaf, which is used again while the leaf stays as it is.

    leaf: a weak reference to the leaf.
    version: the leaf's count of changes in place at the time of the cast.
    result: the leaf in the other dtype.
    """

    def __init__(self, leaf: weakref.ref[Tensor], version: int, result: Tensor) -> None:
        self.leaf = leaf
        self.version = version
        self.result = result


class _Casts(local):  # type: ignore[misc, unused-ignore]
    """The casts that the blocks of a thread keep."""

    def __init__(self) -> None:
        self.kept: dict[int, Cast] = {}  # by the id of the leaf


# Cleared where the outermost block ends; compile/record.py sets them aside for a recording.
casts = _Casts()


class Block(NamedTuple):
    """The settings of a block of autocast.

    enabled: whether ops are cast.
    dtype: the dtype of the list "lower".
    keeps: whether casts of leaves are kept.
    depth: the number of blocks around this one.
    """

    enabled: bool = False
    dtype: np.dtype[Any] = BF16
    keeps: bool = True
    depth: int = 0


state = ThreadSettings(block=Block())


def begin(block: Block) -> None:
    """Makes `block` the settings of this thread from now on."""
    state.block = block
    if block.enabled and block.dtype in HALVES:
        _core._autocast(block.dtype.num)
    else:
        _core._autocast(0)  # the core treats this thread as outside of blocks


def cast(autocast_list: str, x: Any) -> Any:
    """The input x of an op in the dtype of a list, "lower" or "float32".

    All that is no Tensor of floats is returned as it is, and float64 too.
    """
    if not isinstance(x, Tensor):
        return x
    source = x._array.dtype
    target = state.block.dtype if autocast_list == "lower" else F32
    if source == target or not (source == F32 or source in HALVES):
        return x
    is_leaf = x._requires_grad and not x._grad_fn and not x._view
    if not (state.block.keeps and is_leaf and source == F32):
        return x.to(target)
    saved = casts.kept.get(id(x))
    if saved is not None and _is_valid(saved, x, target):
        return saved.result
    result = x.to(target)
    casts.kept[id(x)] = Cast(weakref.ref(x), x._cell.changes, result)
    return result


def _is_valid(saved: Cast, leaf: Tensor, dtype: np.dtype[Any]) -> bool:
    """True if a saved cast is what `leaf.to(dtype)` would give now."""
    if saved.leaf() is not leaf:  # Another tensor had this id before.
        return False
    if saved.version != leaf._cell.changes or saved.result._array.dtype != dtype:
        return False
    # A cast that was made under no_grad() has no tape, so it is of no use where gradients are recorded.
    return saved.result._requires_grad or not mode.enabled


def _apply(autocast_list: str, function: Function, *inputs: TensorLike | None) -> Any:
    """The result of a Function on inputs that are cast as its list says."""
    if autocast_list == "products":
        first = inputs[0]
        if not (isinstance(first, Tensor) and first._array.dtype in HALVES):
            return applied(function, inputs, is_medium=state.block.dtype == BF16)
        autocast_list = "lower"
    return function.apply(*(cast(autocast_list, x) for x in inputs))


_core._set_autocast(_apply, cast)
