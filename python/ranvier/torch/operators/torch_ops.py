"""torch.ops: operators that programs and libraries define (`library.py`), and PyTorch's own,
`torch.ops.aten`.

An operator has kernels: functions for dispatch keys such as "CPU", "Meta" (tensors without values) and
"Autograd". A call runs the first kernel that applies. `torch.ops.aten.x` calls the function of this library
named x.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

import ranvier as rv
import ranvier.nn.functional as F
import ranvier.torch.installation.report as report
from ranvier import Tensor
from ranvier.settings import ThreadSettings
from ranvier.tape.function import TakesHalves
from ranvier.tensors.types import ShapeLike
from ranvier.torch.functions.methods import part
from ranvier.torch.installation.absent import absent
from ranvier.torch.installation.names import LACKS
from ranvier.torch.operators.schemas import FunctionSchema
from ranvier.torch.utils.pytree import tree_flatten, tree_leaves, tree_unflatten

# The keys of kernels that compute, in the order in which they are tried. An "Autograd" kernel comes before
# them.
EXPLICIT = "CompositeExplicitAutograd"
IMPLICIT = "CompositeImplicitAutograd"
BELOW = ("CPU", EXPLICIT, "CompositeExplicitAutogradNonFunctional", IMPLICIT)
_state = ThreadSettings(below=0)  # the number of open blocks that exclude Autograd kernels


class OpOverload:
    """An operator with one schema: `torch.ops.ns.name.default`.

    kernels: dispatch key -> function. backward, setup: the functions of `register_autograd`. is_custom:
    whether `custom_op` defined it.
    """

    def __init__(self, schema: FunctionSchema) -> None:
        self._schema = schema
        self.namespace, _, self._opname = schema.name.partition("::")
        self._overloadname = schema.overload_name or "default"
        self.kernels: dict[str, Callable[..., Any]] = {}
        self.backward: Any = None
        self.setup: Any = None
        self.is_custom = False
        self.__name__ = f"{self._opname}.{self._overloadname}"

    def name(self) -> str:
        return self._schema.name + (f".{self._schema.overload_name}" if self._schema.overload_name else "")

    @property
    def overloadpacket(self) -> OpOverloadPacket:
        return _packet(self._schema.name)

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self.namespace}.{self._opname}', overload='{self._overloadname}')>"

    def __str__(self) -> str:
        return f"{self.namespace}.{self.__name__}"

    def __call__(self, *args: Any, **settings: Any) -> Any:
        values, named = self._schema.bound(args, settings)
        leaves = tree_leaves([values, named])
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        kernels = self.kernels
        if any(getattr(x, "is_meta", False) for x in tensors) and "Meta" in kernels:
            return kernels["Meta"](*values, **named)
        if not _state.below:
            if "Autograd" in kernels:
                return kernels["Autograd"](*values, **named)
            # A kernel for CompositeImplicitAutograd is made of differentiable functions, which
            # record the call themselves.
            traced = (self.is_custom or self.backward) and IMPLICIT not in kernels
            needs = rv.is_grad_enabled() and any(x.requires_grad for x in tensors)
            if traced and needs and not self._schema.is_mutable:
                return self._traced(values, named)
        return self._below(values, named)

    def _below(self, values: list[Any], named: dict[str, Any]) -> Any:
        """Runs the kernel that computes; that of a `custom_op` runs without recording gradients."""
        kernel = next((self.kernels[key] for key in BELOW if key in self.kernels), None)
        if kernel is None:
            raise NotImplementedError(
                f"Could not run '{self.name()}' with arguments from the 'CPU' backend: {LACKS}"
            )
        if not self.is_custom:
            return kernel(*values, **named)
        with rv.no_grad():
            result = kernel(*values, **named)
        given = [x for x in tree_leaves([values, named]) if isinstance(x, Tensor)]
        for y in tree_leaves(result):
            if isinstance(y, Tensor) and any(_share(x, y) for x in given):
                raise RuntimeError(
                    f"[{self.name()}] returned a tensor that shares memory with an argument; "
                    "expected new tensors: return x.clone()"
                )
        return result

    def _traced(self, values: list[Any], named: dict[str, Any]) -> Any:
        """Runs the kernel as a node of the tape."""
        leaves, spec = tree_flatten((tuple(values), named))
        made: list[Any] = []
        outputs: Any = _Node.apply(self, spec, made, *leaves)  # type: ignore[arg-type]
        return tree_unflatten(list(outputs) if isinstance(outputs, tuple) else [outputs], made[0])


class _Node(TakesHalves):
    """A call of an operator, with the gradient of `register_autograd`.

    TakesHalves: a kernel gets Tensors of 16-bit floats as they are, not converted to float32. The first three
    inputs of forward (op, spec, made) are no Tensors; `leaves` are all values in the arguments, also those in
    lists.
    """

    @staticmethod
    def forward(ctx: Any, op: OpOverload, spec: Any, made: list[Any], *leaves: Any) -> Any:
        values, named = tree_unflatten(list(leaves), spec)
        result = op._below(values, named)
        ctx.op, ctx.values = op, [tree_flatten(value)[1] for value in values]
        if op.setup is not None:
            more = {"keyword_only_inputs": named} if named else {}
            with _needs(ctx):
                op.setup(ctx=ctx, inputs=tuple(values), output=result, **more)
        outputs, out = tree_flatten(result)
        made.append(out)
        ctx.out = out
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        """The gradients, by the function that `register_autograd` was given."""
        if ctx.op.backward is None:
            raise RuntimeError(
                f"Trying to backward through {ctx.op} but no autograd formula was registered. "
                "Please use register_autograd to add one."
            )
        given = tree_unflatten(list(slopes), ctx.out)
        with _needs(ctx):
            result = ctx.op.backward(ctx, *(given if isinstance(given, tuple) else (given,)))
        if not isinstance(result, tuple):
            result = (result,)
        if len(result) != len(ctx.values):
            raise RuntimeError(
                f"[{ctx.op.name()}] the backward returned {len(result)} gradients; expected {len(ctx.values)}"
            )
        flat: list[Any] = []
        for dx, spec in zip(result, ctx.values, strict=True):
            # One gradient for each leaf of the argument: dx for a single one; for a list of several leaves dx
            # is a list, or None.
            if dx is None:
                flat += [None] * spec.num_leaves
            else:
                flat += list(dx) if spec.num_leaves != 1 or isinstance(dx, (list, tuple)) else [dx]
        return (None, None, None, *flat, *[None] * (len(ctx.needs_input_grad) - 3 - len(flat)))


@contextmanager
def _needs(ctx: Any) -> Any:
    """A block in which `ctx.needs_input_grad` has an entry for each argument, a list for a list."""
    whole = ctx.needs_input_grad
    rest = list(ctx.needs_input_grad[3:])
    leaves = ([rest.pop(0) for _ in range(spec.num_leaves)] for spec in ctx.values)
    ctx.needs_input_grad = tuple(map(tree_unflatten, leaves, ctx.values))
    try:
        yield
    finally:
        ctx.needs_input_grad = whole


def _share(x: Tensor, y: Tensor) -> bool:
    return x is y or (x.numel() > 0 and np.may_share_memory(x._array, y._array))


class OpOverloadPacket:
    """All overloads of a name: `torch.ops.ns.name`; a call takes the first whose arguments fit."""

    def __init__(self, name: str) -> None:
        self._qualified_op_name = name
        self.__name__ = name.partition("::")[2]
        self._overloads: dict[str, OpOverload] = {}

    def overloads(self) -> list[str]:
        return list(self._overloads)

    def __getattr__(self, name: str) -> OpOverload:
        if name in vars(self).get("_overloads", ()):
            return self._overloads[name]
        raise AttributeError(f"The underlying op of '{self}' has no overload name '{name}'", name=name)

    def __call__(self, *args: Any, **settings: Any) -> Any:
        overloads = list(self._overloads.values())
        for overload in overloads[:-1]:
            if overload._schema.takes(args, settings):
                return overload(*args, **settings)
        return overloads[-1](*args, **settings)

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self}')>"

    def __str__(self) -> str:
        return self._qualified_op_name.replace("::", ".")


packets: dict[str, OpOverloadPacket] = {}


class _Aten:
    """An operator of PyTorch's own: the function of this name."""

    def __init__(self, name: str, function: Callable[..., Any], overload: str = "") -> None:
        self._name = name
        self._function = function
        self._overload = overload
        self.__name__ = f"{name}.{overload}" if overload else name

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._function(*args, **settings)

    def __getattr__(self, name: str) -> _Aten:
        if name.startswith("__") or self._overload:
            raise AttributeError(name)
        vars(self)[name] = made = _Aten(self._name, self._function, name)
        return made

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    __repr__ = __str__


def _convolution(
    x: Tensor,
    w: Any,
    b: Any,
    stride: ShapeLike,
    padding: ShapeLike,
    dilation: ShapeLike,
    transposed: bool,
    out: Any,
    groups: int,
) -> Tensor:
    if transposed:
        name = f"conv_transpose{x.ndim - 2}d"
    else:
        name = f"conv{x.ndim - 2}d"
    last = (out, groups, dilation) if transposed else (dilation, groups)
    return getattr(F, name)(x, w, b, stride, padding, *last)


_UNNAMED: dict[str, Callable[..., Any]] = {  # operators without a function or method of the same name
    "alias": lambda x: x[...],
    "convolution": _convolution,
    "index": lambda x, indices: x[tuple(slice(None) if i is None else i for i in indices)],
    "slice": part,
    "_to_copy": lambda x, *, dtype=None, **settings: x.to(dtype or x.dtype, copy=True),
}


@cache  # one object for each name, since programs use operators as keys of their tables
def _aten(name: str) -> _Aten | None:
    """The operator of a name: a function or method; linalg_x is in the module linalg, special_x in special.

    A private one, or one of gradients, that is not here can be named, as the key of a table, but not called.
    """
    if name in _UNNAMED:
        return _Aten(name, _UNNAMED[name])
    module, _, inner = name.partition("_")
    homes: list[Any] = [rv, F, Tensor]
    if module in ("linalg", "special"):
        # PyTorch's module path, which `install` of ranvier.torch makes; `torch.ops` needs `install`, too.
        homes = [importlib.import_module(f"torch.{module}")]
        name = inner
    given = (getattr(home, name, None) for home in homes)
    found: Any = next((f for f in given if callable(f) and not isinstance(f, type)), None)
    if found is None and (name.startswith("_") or name.endswith("_backward")):
        found = absent(f"ops.aten.{name}")
    if found is None:
        return None
    return _Aten(name, found)


class _Namespace:
    """The operators of a namespace: `torch.ops.ns`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        packet = packets.get(f"{self.name}::{name}")
        if packet is None and self.name == "aten":
            packet = _aten(name)  # type: ignore[assignment]
        if packet is None:
            text = f"'_OpNamespace' '{self.name}' object has no attribute '{name}'"
            raise report.missing(AttributeError(text, name=name), f"torch.ops.{self.name}.{name}")
        return packet

    def __dir__(self) -> Iterable[str]:
        return [name.partition("::")[2] for name in packets if name.startswith(f"{self.name}::")]


class _Ops:
    """torch.ops

    >>> ops.aten.add(rv.ones(1), 2)
    tensor([3.])
    """

    def __init__(self) -> None:
        self.loaded_libraries: set[str] = set()

    def __getattr__(self, name: str) -> _Namespace:
        if name.startswith("__"):
            raise AttributeError(name)
        vars(self)[name] = space = _Namespace(name)
        return space

    def load_library(self, path: str | os.PathLike[str]) -> None:
        """Loads this library's operators in place of the compiled ones of torchvision or torchaudio.

        Raises OSError for the file of another package.
        """
        folder, file = os.path.split(os.path.abspath(os.fspath(path)))
        package = next((name for name in ("torchvision", "torchaudio") if name in folder.split(os.sep)), "")
        if not package:
            raise OSError(
                f"[load_library] got {file}, which is compiled for PyTorch; expected operators in Python"
            )
        if package == "torchaudio":
            home = "torchaudio_ops"
        elif file.startswith("image"):
            home = "image_ops"
        else:
            home = "torchvision_ops"
        importlib.import_module(f"ranvier.torch.operators.{home}")
        self.loaded_libraries.add(os.fspath(path))


ops = _Ops()


def _packet(name: str) -> OpOverloadPacket:
    if name not in packets:
        raise RuntimeError(
            f"[torch.library] got the operator {name}; expected one that is defined: {sorted(packets)}"
        )
    return packets[name]


def overload_of(op: Any) -> OpOverload:
    """The operator for a name, an overload, a packet or a result of `custom_op`."""
    op = getattr(op, "_opoverload", op)  # a result of `custom_op` has its overload as this attribute
    if isinstance(op, OpOverload):
        return op
    if isinstance(op, OpOverloadPacket):
        path = op._qualified_op_name
    else:
        path = str(op)
    name, _, overload = path.partition(".")
    return getattr(_packet(name), overload or "default")


def defined(schema: FunctionSchema, again: bool = False) -> OpOverload:
    packet = packets.setdefault(schema.name, OpOverloadPacket(schema.name))
    overload = OpOverload(schema)
    if overload._overloadname in packet._overloads and not again:
        raise RuntimeError(
            f"Tried to register an operator ({schema}) with the same name and overload name multiple times."
        )
    packet._overloads[overload._overloadname] = overload
    return overload


class _Keys:
    """torch._C.DispatchKey: the keys' names."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


DispatchKey = _Keys()


class DispatchKeySet(frozenset[str]):
    """Keys, joined by `|`."""

    def __new__(cls, keys: Iterable[str]) -> DispatchKeySet:
        return super().__new__(cls, [keys] if isinstance(keys, str) else keys)


@contextmanager
def exclude(keys: Iterable[str] = ("Autograd",)) -> Any:
    """A block in which operators run without Autograd kernels, if one of the keys is of Autograd."""
    step = int(any(key.startswith("Autograd") for key in keys))
    _state.below += step
    try:
        yield
    finally:
        _state.below -= step
