"""torch.ops: operators that programs and libraries define (`library.py`), and PyTorch's own,
`torch.ops.aten`.

An operator has kernels: functions for dispatch keys such as "CPU", "Meta" (tensors without values) and
"Autograd". A call runs the first kernel that applies. `torch.ops.ns.name` is a packet of overloads, which
have one schema each; `torch.ops.ns.name.default` is an overload. `torch.ops.aten.x` calls this library's
function named x.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, TypeAlias

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
from ranvier.torch.utils.pytree import TreeSpec, tree_flatten, tree_leaves, tree_structure, tree_unflatten

# The keys of kernels that compute, in the order in which they are tried. An "Autograd" kernel comes before
# them.
EXPLICIT = "CompositeExplicitAutograd"
IMPLICIT = "CompositeImplicitAutograd"
BELOW = ("CPU", EXPLICIT, "CompositeExplicitAutogradNonFunctional", IMPLICIT)
_state = ThreadSettings(below=0)  # the number of open blocks of `exclude`, in which no Autograd kernel runs


class OpOverload:
    """An operator with one schema: `torch.ops.ns.name.default`.

    `torch.library` writes these attributes: kernels, dispatch key -> function; backward and setup, the
    functions of `register_autograd`; is_custom, whether `custom_op` defined the operator.
    """

    def __init__(self, schema: FunctionSchema) -> None:
        self._schema = schema
        self.namespace, _, self._opname = schema.name.partition("::")
        self._overloadname = schema.overload_name or "default"
        self.kernels: dict[str, Callable[..., Any]] = {}
        self.backward: Callable[..., Any] | None = None
        self.setup: Callable[..., Any] | None = None
        self.is_custom = False
        self.__name__ = f"{self._opname}.{self._overloadname}"

    def name(self) -> str:
        schema = self._schema
        if schema.overload_name:
            return f"{schema.name}.{schema.overload_name}"
        return schema.name

    @property
    def overloadpacket(self) -> OpOverloadPacket:
        return _find_packet(self._schema.name)

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self.namespace}.{self._opname}', overload='{self._overloadname}')>"

    def __str__(self) -> str:
        return f"{self.namespace}.{self.__name__}"

    def __call__(self, *args: Any, **settings: Any) -> Any:
        values, named = self._schema.bind(args, settings)
        leaves = tree_leaves([values, named])
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        kernels = self.kernels
        if any(getattr(x, "is_meta", False) for x in tensors) and "Meta" in kernels:
            return kernels["Meta"](*values, **named)
        if _state.below:
            return self._compute(values, named)
        if "Autograd" in kernels:
            return kernels["Autograd"](*values, **named)
        # A kernel for CompositeImplicitAutograd is made of differentiable functions, which record the call
        # themselves. A `custom_op` without `backward` is recorded, too: its gradient raises an error.
        has_gradient = (self.is_custom or self.backward) and IMPLICIT not in kernels
        needs_gradient = rv.is_grad_enabled() and any(x.requires_grad for x in tensors)
        if has_gradient and needs_gradient and not self._schema.is_mutable:
            return self._record(values, named)
        return self._compute(values, named)

    def _compute(self, values: list[Any], named: dict[str, Any]) -> Any:
        """Run the kernel that computes; that of a `custom_op` runs without recording gradients."""
        kernel = next((self.kernels[key] for key in BELOW if key in self.kernels), None)
        if kernel is None:
            raise NotImplementedError(
                f"Could not run '{self.name()}' with arguments from the 'CPU' backend: {LACKS}"
            )
        if not self.is_custom:
            return kernel(*values, **named)
        with rv.no_grad():
            result = kernel(*values, **named)
        inputs = [x for x in tree_leaves([values, named]) if isinstance(x, Tensor)]
        for y in tree_leaves(result):
            if isinstance(y, Tensor) and any(_share_memory(x, y) for x in inputs):
                raise RuntimeError(
                    f"[{self.name()}] returned a tensor that shares memory with an argument; "
                    "expected new tensors: return x.clone()"
                )
        return result

    def _record(self, values: list[Any], named: dict[str, Any]) -> Any:
        """Run the kernel as a node of the tape."""
        leaves, spec = tree_flatten((tuple(values), named))
        result_specs: list[TreeSpec] = []  # forward appends the structure of the kernel's result
        outputs: Any = _Node.apply(self, spec, result_specs, *leaves)  # type: ignore[arg-type]
        if not isinstance(outputs, tuple):
            outputs = (outputs,)
        return tree_unflatten(list(outputs), result_specs[0])


class _Node(TakesHalves):
    """A call of an operator, with the gradient of `register_autograd`.

    TakesHalves: a kernel gets Tensors of 16-bit floats as they are, not converted to float32. The first
    _SETTINGS inputs of forward are no Tensors; `leaves` are all values in the arguments, also those in lists.
    ctx is the object in which PyTorch's functions save values; ctx.argument_specs has the structure of each
    positional argument, ctx.result_spec that of the result.
    """

    @staticmethod
    def forward(ctx: Any, op: OpOverload, spec: TreeSpec, result_specs: list[TreeSpec], *leaves: Any) -> Any:
        values, named = tree_unflatten(list(leaves), spec)
        result = op._compute(values, named)
        ctx.op = op
        ctx.argument_specs = [tree_structure(value) for value in values]
        if op.setup is not None:
            keyword_only = {}
            if named:
                keyword_only["keyword_only_inputs"] = named
            with _needs_by_argument(ctx):
                op.setup(ctx=ctx, inputs=tuple(values), output=result, **keyword_only)
        outputs, result_spec = tree_flatten(result)
        result_specs.append(result_spec)
        ctx.result_spec = result_spec
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Any) -> Any:
        """The gradients, by the function that `register_autograd` was given."""
        if ctx.op.backward is None:
            raise RuntimeError(
                f"Trying to backward through {ctx.op} but no autograd formula was registered. "
                "Please use register_autograd to add one."
            )
        incoming = tree_unflatten(list(output_gradients), ctx.result_spec)
        if not isinstance(incoming, tuple):
            incoming = (incoming,)
        with _needs_by_argument(ctx):
            gradients = ctx.op.backward(ctx, *incoming)
        if not isinstance(gradients, tuple):
            gradients = (gradients,)
        expected = len(ctx.argument_specs)
        if len(gradients) != expected:
            raise RuntimeError(
                f"[{ctx.op.name()}] the backward returned {len(gradients)} gradients; expected {expected}"
            )
        # One gradient for each input of forward: None for the settings and for arguments given by name, and
        # for an argument with several leaves a list of gradients, or None for all of them.
        flat: list[Any] = [None] * _SETTINGS
        for gradient, spec in zip(gradients, ctx.argument_specs, strict=True):
            if gradient is None:
                flat += [None] * spec.num_leaves
            elif spec.num_leaves != 1 or isinstance(gradient, (list, tuple)):
                flat += list(gradient)
            else:
                flat.append(gradient)
        flat += [None] * (len(ctx.needs_input_grad) - len(flat))
        return tuple(flat)


_SETTINGS = 3  # the inputs of _Node.forward before the leaves: op, spec and result_specs


@contextmanager
def _needs_by_argument(ctx: Any) -> Iterator[None]:
    """A block in which `ctx.needs_input_grad` has an entry for each argument, a list for a list."""
    by_input = ctx.needs_input_grad
    by_argument = []
    start = _SETTINGS
    for spec in ctx.argument_specs:
        end = start + spec.num_leaves
        by_argument.append(tree_unflatten(list(by_input[start:end]), spec))
        start = end
    ctx.needs_input_grad = tuple(by_argument)
    try:
        yield
    finally:
        ctx.needs_input_grad = by_input


def _share_memory(x: Tensor, y: Tensor) -> bool:
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
            if not overload._schema.find_fault(args, settings):
                return overload(*args, **settings)
        return overloads[-1](*args, **settings)  # which says what is wrong with the arguments

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self}')>"

    def __str__(self) -> str:
        return self._qualified_op_name.replace("::", ".")


# All operators that were defined, "namespace::name" -> overloads. `torch.library` adds and removes them, and
# `torch.ops.namespace.name` finds them here.
packets: dict[str, OpOverloadPacket] = {}


class _HasOverload(Protocol):
    """A result of `custom_op`."""

    _opoverload: OpOverload


OperatorLike: TypeAlias = str | OpOverload | OpOverloadPacket | _HasOverload
"""An operator, or its name: "mine::twice" or "mine::twice.overload"."""


class _Aten:
    """An operator of PyTorch's own, `torch.ops.aten.name`: a call runs this library's function of the name.

    Its overloads, `torch.ops.aten.name.Tensor`, run the same function. They differ as keys of tables.
    """

    def __init__(self, name: str, function: Callable[..., Any], overload: str = "") -> None:
        self._name = name
        self._function = function
        self._overload = overload
        if overload:
            self.__name__ = f"{name}.{overload}"
        else:
            self.__name__ = name

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._function(*args, **settings)

    def __getattr__(self, name: str) -> _Aten:
        if name.startswith("__") or self._overload:
            raise AttributeError(name)
        overload = _Aten(self._name, self._function, name)
        vars(self)[name] = overload  # one object for each overload
        return overload

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    __repr__ = __str__


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: ShapeLike,
    padding: ShapeLike,
    dilation: ShapeLike,
    transposed: bool,
    output_padding: ShapeLike,
    groups: int,
) -> Tensor:
    """A convolution of one, two or three dimensions, by the dimensions of the input."""
    dimensions = input.ndim - 2
    if transposed:
        transposed_convolution = getattr(F, f"conv_transpose{dimensions}d")
        return transposed_convolution(input, weight, bias, stride, padding, output_padding, groups, dilation)
    convolution = getattr(F, f"conv{dimensions}d")
    return convolution(input, weight, bias, stride, padding, dilation, groups)


def _alias(x: Tensor) -> Tensor:
    return x[...]


def _index(x: Tensor, indices: Iterable[Tensor | None]) -> Tensor:
    """The elements at indices; None stands for all of a dimension."""
    key: list[Any] = list(indices)
    for dim, index in enumerate(key):
        if index is None:
            key[dim] = slice(None)
    return x[tuple(key)]


def _to_copy(x: Tensor, *, dtype: rv.dtype | None = None, **settings: Any) -> Tensor:
    return x.to(dtype or x.dtype, copy=True)


_UNNAMED: dict[str, Callable[..., Any]] = {  # operators without a function or method of the same name
    "alias": _alias,
    "convolution": _convolution,
    "index": _index,
    "slice": part,
    "_to_copy": _to_copy,
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
    for home in homes:
        function = getattr(home, name, None)
        if callable(function) and not isinstance(function, type):
            return _Aten(name, function)
    if name.startswith("_") or name.endswith("_backward"):
        return _Aten(name, absent(f"ops.aten.{name}"))
    return None


class _Namespace:
    """The operators of a namespace: `torch.ops.ns`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        found: OpOverloadPacket | _Aten | None = packets.get(f"{self.name}::{name}")
        if found is None and self.name == "aten":
            found = _aten(name)
        if found is None:
            text = f"'_OpNamespace' '{self.name}' object has no attribute '{name}'"
            raise report.missing(AttributeError(text, name=name), f"torch.ops.{self.name}.{name}")
        return found

    def __dir__(self) -> Iterable[str]:
        prefix = f"{self.name}::"
        return [name.removeprefix(prefix) for name in packets if name.startswith(prefix)]


class _Ops:
    """torch.ops: its attributes are the namespaces of operators.

    >>> ops.aten.add(rv.ones(1), 2)
    tensor([3.])
    """

    def __init__(self) -> None:
        self.loaded_libraries: set[str] = set()

    def __getattr__(self, name: str) -> _Namespace:
        if name.startswith("__"):
            raise AttributeError(name)
        namespace = _Namespace(name)
        vars(self)[name] = namespace
        return namespace

    def load_library(self, path: str | os.PathLike[str]) -> None:
        """Load this library's operators in place of the compiled ones of torchvision or torchaudio.

        path: the compiled file in the package's folder. Raises OSError for the file of another package.
        """
        folder, file = os.path.split(os.path.abspath(os.fspath(path)))
        folders = folder.split(os.sep)
        if "torchvision" in folders and file.startswith("image"):
            module = "image_ops"
        elif "torchvision" in folders:
            module = "torchvision_ops"
        elif "torchaudio" in folders:
            module = "torchaudio_ops"
        else:
            raise OSError(
                f"[load_library] got {file}, which is compiled for PyTorch; expected operators in Python"
            )
        importlib.import_module(f"ranvier.torch.operators.{module}")
        self.loaded_libraries.add(os.fspath(path))


ops = _Ops()


def _find_packet(name: str) -> OpOverloadPacket:
    if name not in packets:
        raise RuntimeError(
            f"[torch.library] got the operator {name}; expected one that is defined: {sorted(packets)}"
        )
    return packets[name]


def find_overload(op: OperatorLike) -> OpOverload:
    """The overload for a name, an overload, a packet or a result of `custom_op`. Raises RuntimeError."""
    overload = getattr(op, "_opoverload", op)  # a result of `custom_op` has its overload as this attribute
    if isinstance(overload, OpOverload):
        return overload
    if isinstance(overload, OpOverloadPacket):
        path = overload._qualified_op_name
    else:
        path = str(overload)
    name, _, overload_name = path.partition(".")
    return getattr(_find_packet(name), overload_name or "default")


def add_overload(schema: FunctionSchema, replaces: bool = False) -> OpOverload:
    """Define an operator of a schema. Raises RuntimeError if it exists, unless the new one replaces it."""
    packet = packets.setdefault(schema.name, OpOverloadPacket(schema.name))
    overload = OpOverload(schema)
    if overload._overloadname in packet._overloads and not replaces:
        raise RuntimeError(
            f"Tried to register an operator ({schema}) with the same name and overload name multiple times."
        )
    packet._overloads[overload._overloadname] = overload
    return overload


class _Keys:
    """torch._C.DispatchKey: a dispatch key is its name here, so `DispatchKey.CPU` is "CPU"."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


DispatchKey = _Keys()


class DispatchKeySet(frozenset[str]):
    """A set of dispatch keys, or of one key; sets are joined by `|`."""

    def __new__(cls, keys: str | Iterable[str]) -> DispatchKeySet:
        if isinstance(keys, str):
            keys = [keys]
        return super().__new__(cls, keys)


@contextmanager
def exclude(keys: Iterable[str] = ("Autograd",)) -> Iterator[None]:
    """A block in which operators run without Autograd kernels, if one of the keys is of Autograd."""
    step = int(any(key.startswith("Autograd") for key in keys))
    _state.below += step
    try:
        yield
    finally:
        _state.below -= step
