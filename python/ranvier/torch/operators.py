"""torch.ops and torch.library: operators that programs and libraries define; a call runs their function."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np

import ranvier as rv
import ranvier.nn.functional as F
import ranvier.torch.report as report
from ranvier import Tensor
from ranvier.autograd import Function
from ranvier.torch.absent import LACKS
from ranvier.torch.pytree import tree_flatten, tree_leaves, tree_unflatten
from ranvier.torch.schemas import FunctionSchema, infer_schema, parsed

__all__ = [
    "Library",
    "custom_op",
    "define",
    "fallthrough_kernel",
    "get_ctx",
    "impl",
    "impl_abstract",
    "infer_schema",
    "register_autocast",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_torch_dispatch",
    "register_vmap",
    "triton_op",
]

_BELOW = (
    "CPU",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
)
_KEYS = {"default": _BELOW[1], "cpu": "CPU", "meta": "Meta", "": _BELOW[3]}
_state = threading.local()  # `below`: how many guards exclude the Autograd kernels


class OpOverload:
    """An operator with one schema: `torch.ops.ns.name.default`."""

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
        if not getattr(_state, "below", 0):
            if "Autograd" in kernels:
                return kernels["Autograd"](*values, **named)
            traced = (self.is_custom or self.backward) and _BELOW[3] not in kernels
            if traced and rv.is_grad_enabled() and any(x.requires_grad for x in tensors):
                if not self._schema.is_mutable:
                    return self._traced(values, named)
        return self._below(values, named)

    def _below(self, values: list[Any], named: dict[str, Any]) -> Any:
        """Runs the kernel; that of `custom_op` without gradients."""
        kernel = next((self.kernels[key] for key in _BELOW if key in self.kernels), None)
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
        outputs = _Node.apply(self, spec, made, *leaves)
        return tree_unflatten(list(outputs) if isinstance(outputs, tuple) else [outputs], made[0])


class _Node(Function):
    """A call of an operator, with the gradient of `register_autograd`."""

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
        if ctx.op.backward is None:
            raise RuntimeError(
                f"Trying to backward through {ctx.op} but no autograd formula was registered. "
                "Please use register_autograd to add one."
            )
        given = tree_unflatten(list(slopes), ctx.out)
        with _needs(ctx):
            result = ctx.op.backward(ctx, *(given if isinstance(given, tuple) else (given,)))
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != len(ctx.values):
            raise RuntimeError(
                f"[{ctx.op.name()}] the backward returned {len(result)} gradients; expected {len(ctx.values)}"
            )
        flat: list[Any] = []
        for dx, spec in zip(result, ctx.values, strict=True):
            flat += (
                [dx]
                if spec.num_leaves == 1 and not isinstance(dx, (list, tuple))
                else ([None] * spec.num_leaves if dx is None else list(dx))
            )
        return (None, None, None, *flat, *[None] * (len(ctx.needs_input_grad) - 3 - len(flat)))


@contextmanager
def _needs(ctx: Any) -> Any:
    """`ctx.needs_input_grad` for each argument: a list for one that is a list."""
    whole, rest = ctx.needs_input_grad, list(ctx.needs_input_grad[3:])
    ctx.needs_input_grad = tuple(
        tree_unflatten([rest.pop(0) for _ in range(spec.num_leaves)], spec) for spec in ctx.values
    )
    try:
        yield
    finally:
        ctx.needs_input_grad = whole


def _share(x: Tensor, y: Tensor) -> bool:
    return x is y or (x.numel() > 0 and np.may_share_memory(x.detach().numpy(), y.detach().numpy()))


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


_packets: dict[str, OpOverloadPacket] = {}


class _Aten:
    """An operator of PyTorch's own: the function of this name."""

    def __init__(self, name: str, function: Callable[..., Any], overload: str = "") -> None:
        self._name, self._function, self._overload = name, function, overload
        self.__name__ = f"{name}.{overload}" if overload else name

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._function(*args, **settings)

    def __getattr__(self, name: str) -> _Aten:
        if name.startswith("__") or self._overload:
            raise AttributeError(name)
        return _Aten(self._name, self._function, name)

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    __repr__ = __str__


def _aten(name: str) -> _Aten | None:
    """The function or method of this name; `linalg_x` and `special_x` are in the modules of these names."""
    module, _, inner = name.partition("_")
    homes: list[Any] = [rv, F, Tensor]
    if module in ("linalg", "special"):
        homes, name = [importlib.import_module(f"torch.{module}")], inner
    found = next((getattr(home, name) for home in homes if callable(getattr(home, name, None))), None)
    return None if found is None or isinstance(found, type) else _Aten(name, found)


class _Namespace:
    """The operators of a namespace: `torch.ops.ns`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        packet = _packets.get(f"{self.name}::{name}")
        if packet is None and self.name == "aten":
            packet = _aten(name)  # type: ignore[assignment]
        if packet is None:
            text = f"'_OpNamespace' '{self.name}' object has no attribute '{name}'"
            raise report.missing(AttributeError(text, name=name), f"torch.ops.{self.name}.{name}")
        return packet

    def __dir__(self) -> Iterable[str]:
        return [name.partition("::")[2] for name in _packets if name.startswith(f"{self.name}::")]


class _Ops:
    """torch.ops

    >>> ops.aten.add(rv.ones(1), 2)
    tensor([3.])
    """

    loaded_libraries: set[str] = set()

    def __getattr__(self, name: str) -> _Namespace:
        if name.startswith("__"):
            raise AttributeError(name)
        vars(self)[name] = space = _Namespace(name)
        return space

    def load_library(self, path: Any) -> None:
        """Takes the place of torchvision's compiled operators by this library's. Raises OSError for other files."""
        file = os.path.basename(os.fspath(path))
        if os.path.basename(os.path.dirname(os.fspath(path))) != "torchvision":
            raise OSError(
                f"[load_library] got {file}, which is compiled for PyTorch; expected operators in Python"
            )
        importlib.import_module(
            "ranvier.torch.pictures" if file.startswith("image") else "ranvier.torch.regions"
        )
        self.loaded_libraries.add(os.fspath(path))


ops = _Ops()


def _packet(name: str) -> OpOverloadPacket:
    if name not in _packets:
        raise RuntimeError(
            f"[torch.library] got the operator {name}; expected one that is defined: {sorted(_packets)}"
        )
    return _packets[name]


def _overload(op: Any) -> OpOverload:
    """The operator of a name, an overload, a packet or what `custom_op` gives."""
    if isinstance(op, CustomOpDef):
        return op._opoverload
    if isinstance(op, OpOverload):
        return op
    name, _, overload = (op._qualified_op_name if isinstance(op, OpOverloadPacket) else str(op)).partition(
        "."
    )
    return getattr(_packet(name), overload or "default")


def _defined(schema: FunctionSchema, again: bool = False) -> OpOverload:
    packet = _packets.setdefault(schema.name, OpOverloadPacket(schema.name))
    overload = OpOverload(schema)
    if overload._overloadname in packet._overloads and not again:
        raise RuntimeError(
            f"Tried to register an operator ({schema}) with the same name and overload name multiple times."
        )
    packet._overloads[overload._overloadname] = overload
    return overload


class Library:
    """Operators of a namespace: "DEF" and "FRAGMENT" define them, "IMPL" gives them kernels.

    >>> mine = Library("mine", "DEF")
    >>> mine.define("twice(Tensor x) -> Tensor")
    'mine::twice'
    >>> mine.impl("twice", lambda x: 2 * x, "CPU")
    >>> ops.mine.twice(rv.ones(1))
    tensor([2.])
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("IMPL", "DEF", "FRAGMENT"):
            raise ValueError(f"[Library] got kind {kind!r}; expected 'DEF', 'FRAGMENT' or 'IMPL'")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key
        self._made: list[OpOverload] = []

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        if self.kind == "IMPL":
            raise RuntimeError("[Library.define] got a library of kind 'IMPL'; expected 'DEF' or 'FRAGMENT'")
        overload = _defined(parsed(schema, self.ns))
        self._made.append(overload)
        return overload.name()

    def impl(
        self,
        op_name: Any,
        fn: Any,
        dispatch_key: str = "",
        *,
        with_keyset: bool = False,
        allow_override: bool = False,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"Input function is required to be a callable but found type {type(fn)}")
        named = isinstance(op_name, str) and "::" not in op_name
        _set_kernel(f"{self.ns}::{op_name}" if named else op_name, dispatch_key or self.dispatch_key, fn)

    def _register_fake(self, op_name: str, fn: Any, *args: Any, **settings: Any) -> None:
        self.impl(op_name, fn, "Meta")

    def _destroy(self) -> None:
        """Takes back what it has defined."""
        for overload in self._made:
            _packets.pop(overload._schema.name, None)


def _set_kernel(op: Any, key: str, fn: Any) -> None:
    overload, key = _overload(op), _KEYS.get(key, key)
    if fn is fallthrough_kernel:
        overload.kernels.pop("Autograd" if key.startswith("Autograd") else key, None)
    else:
        overload.kernels["Autograd" if key in ("AutogradCPU", "AutogradOther") else key] = fn


def fallthrough_kernel(*args: Any, **settings: Any) -> Any:
    """Given to `Library.impl`: no kernel of that key."""
    raise NotImplementedError("[fallthrough_kernel] got a call; expected to be given to Library.impl")


def define(qualname: Any, schema: str, *args: Any, lib: Any = None, tags: Any = ()) -> Any:
    """Defines an operator of a schema that starts with its arguments; with a Library, a decorator."""
    if isinstance(qualname, Library):

        def decorated(function: Any) -> Any:
            qualname.impl(qualname.define(schema), function)
            return function

        return decorated
    if "::" not in qualname:
        raise ValueError(f"[torch.library.define] got {qualname!r}; expected 'namespace::name'")
    _defined(parsed(qualname.partition("::")[2] + schema, qualname.partition("::")[0]))
    return None


def impl(qualname: Any, types: Any, func: Any = None, *args: Any, lib: Any = None) -> Any:
    """Gives an operator its function for "cpu", "default" or a dispatch key; a decorator without it."""
    if isinstance(qualname, Library):  # impl(lib, name, key)
        library, name, key = qualname, types, func or ""
        return lambda function: (library.impl(name, function, key), function)[1]

    def register(function: Any) -> Any:
        for kind in [types] if isinstance(types, str) else types or ["default"]:
            _set_kernel(qualname, kind, function)
        return function

    return register if func is None else register(func)


def register_kernel(op: Any, device_types: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """Gives an operator its function on a device, which is the CPU here."""
    return impl(op, device_types, func)


def register_fake(op: Any, func: Any = None, /, *, lib: Any = None, **settings: Any) -> Any:
    """Gives an operator its function for tensors without numbers, on the device "meta"."""
    return impl(op, "meta", func)


impl_abstract = register_fake


def register_autograd(op: Any, backward: Any, /, *, setup_context: Any = None, lib: Any = None) -> None:
    """Gives an operator its gradient, `backward(ctx, *grads)`, and what it keeps for it.

    >>> @custom_op("mine::cube", mutates_args=())
    ... def cube(x: Tensor) -> Tensor:
    ...     return x**3
    >>> def keep(ctx, inputs, output):
    ...     ctx.save_for_backward(*inputs)
    >>> register_autograd("mine::cube", lambda ctx, dy: 3 * ctx.saved_tensors[0] ** 2 * dy, setup_context=keep)
    >>> x = rv.tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    tensor([12.])
    """
    overload = _overload(op)
    if overload._schema.is_mutable:
        raise RuntimeError(
            f"Cannot register autograd formula for non-functional operator {op} with schema {overload._schema}. "
            "Please create a functional operator and register an autograd formula for that."
        )
    overload.backward, overload.setup = backward, setup_context


def register_autocast(op: Any, *args: Any, **settings: Any) -> None:
    """Nothing: `autocast` changes the precision of products, not the dtype of arguments."""
    _overload(op)


def register_vmap(op: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """Nothing is kept: `func.vmap` is refused by an operator's function that it cannot batch."""
    return func if func is not None else lambda function: function


def register_torch_dispatch(
    op: Any, torch_dispatch_class: Any, func: Any = None, /, *, lib: Any = None
) -> Any:
    """Nothing is kept: no operation looks for __torch_dispatch__."""
    return func if func is not None else lambda function: function


def get_ctx() -> Any:
    """Raises RuntimeError: sizes that depend on numbers are known when the function runs."""
    raise RuntimeError("[torch.library.get_ctx] got a call; expected none: no graph is made of fake tensors")


class CustomOpDef:
    """What `custom_op` gives: a call runs the function."""

    def __init__(self, overload: OpOverload, function: Any) -> None:
        self._opoverload, self._init_fn = overload, function
        self._namespace, self._name = overload.namespace, overload._opname
        self._qualname = overload._schema.name
        self._schema = str(overload._schema)

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._opoverload(*args, **settings)

    def register_kernel(self, device_types: Any, fn: Any = None, /) -> Any:
        return impl(self, device_types, fn)

    def register_fake(self, fn: Any, /) -> Any:
        return register_fake(self, fn)

    def register_autograd(self, backward: Any, /, *, setup_context: Any = None) -> None:
        register_autograd(self, backward, setup_context=setup_context)

    def register_vmap(self, func: Any = None) -> Any:
        return register_vmap(self, func)

    def register_torch_dispatch(self, torch_dispatch_class: Any, fn: Any = None, /) -> Any:
        return register_torch_dispatch(self, torch_dispatch_class, fn)

    def register_autocast(self, device_type: str, cast_inputs: Any) -> None:
        register_autocast(self)


def custom_op(
    name: str,
    fn: Any = None,
    /,
    *,
    mutates_args: Any,
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """An operator of a function, which runs without gradients; as decorator too.

    >>> @custom_op("mine::thrice", mutates_args=())
    ... def thrice(x: Tensor) -> Tensor:
    ...     return 3 * x
    >>> thrice(rv.ones(1)), ops.mine.thrice(rv.ones(1))
    (tensor([3.]), tensor([3.]))
    """

    def made(function: Any) -> CustomOpDef:
        space, _, inner = name.partition("::")
        text = infer_schema(function, mutates_args=mutates_args) if schema is None else schema
        overload = _defined(parsed(inner + text, space), again=True)
        overload.is_custom = True
        result = CustomOpDef(overload, function)
        impl(result, device_types or "default", function)
        return result

    return made if fn is None else made(fn)


triton_op = custom_op


class _Keys:
    """torch._C.DispatchKey: the keys' names."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


DispatchKey = _Keys()


class DispatchKeySet(frozenset[str]):
    """Keys, joined by `|`."""

    def __new__(cls, keys: Any) -> DispatchKeySet:
        return super().__new__(cls, [keys] if isinstance(keys, str) else keys)


@contextmanager
def exclude(keys: Any = DispatchKeySet("Autograd")) -> Any:
    """While it is open, operators run below their Autograd kernels, if that is among the keys."""
    step = int(any(key.startswith("Autograd") for key in keys))
    _state.below = getattr(_state, "below", 0) + step
    try:
        yield
    finally:
        _state.below -= step
