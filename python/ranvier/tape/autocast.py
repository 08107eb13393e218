"""Autocast: blocks in which ops compute in the dtypes of PyTorch's lists for the CPU.

`Dtypes.autocast` (`tape/function.py`) says in which list an op is. In a block, the core calls `_apply` here
for a Function of a list, and `cast` for an operand. Both cast to the dtype of the list: "lower" is the
block's dtype (half floats), "float32" is float32. While an op of a list runs, the core treats its thread as
outside of blocks.

Casts of leaves are kept until the outermost block ends, so that a weight is cast once, and its gradients are
added up before they are cast back. A weight that has changed is cast again.
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
    from ranvier.tape.function import Function


class _Casts(local):  # type: ignore[misc, unused-ignore]
    """The casts that the blocks of a thread keep."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Any, int, Tensor]] = {}  # id of a leaf -> leaf, version, cast


casts = _Casts()


class Block(NamedTuple):
    """The settings of a block of autocast.

    enabled: whether ops are cast. dtype: the dtype of the list "lower". keeps: whether casts of leaves are
        kept.
    depth: the number of blocks around this one.
    """

    enabled: bool = False
    dtype: Any = BF16
    keeps: bool = True
    depth: int = 0


state = ThreadSettings(block=Block())


def begin(block: Block) -> None:
    """Makes `block` the settings of this thread from now on."""
    state.block = block
    _core._autocast(block.dtype.num if block.enabled and block.dtype in HALVES else 0)


def cast(kind: str, x: Tensor) -> Any:
    """The input x of an op, cast as the list `kind` says ("lower" or "float32"); others than float Tensors as
    they are."""
    if not isinstance(x, Tensor):
        return x
    own = x._array.dtype
    dtype = state.block.dtype if kind == "lower" else F32
    if own == dtype or not (own == F32 or own in HALVES):
        return x
    if not (state.block.keeps and own == F32 and x._requires_grad) or x._grad_fn or x._view:
        return x.to(dtype)
    leaf, version, kept = casts.kept.get(id(x), (None, 0, x))
    if (
        leaf is None
        or leaf() is not x
        or (version, dtype) != (x._cell.changes, kept._array.dtype)
        or mode.enabled > kept._requires_grad  # The kept cast was made under no_grad(), and has no tape.
    ):
        kept = x.to(dtype)
        casts.kept[id(x)] = weakref.ref(x), x._cell.changes, kept
    return kept


def _apply(kind: str, function: Function, *inputs: Any) -> Any:
    """Runs a Function of the list `kind` on inputs that are cast."""
    if kind == "products":
        if not (isinstance(inputs[0], Tensor) and inputs[0]._array.dtype in HALVES):
            return applied(function, inputs, state.block.dtype == BF16)
        kind = "lower"
    return function.apply(*(cast(kind, x) for x in inputs))


_core._set_autocast(_apply, cast)
