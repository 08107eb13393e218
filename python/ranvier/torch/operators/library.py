"""torch.library: programs and libraries define operators, with their functions, gradients and schemas.

An operator has a name such as "mine::twice", a schema (its arguments and results) and kernels. A kernel is
the function that runs for a dispatch key: "CPU", "Meta" (tensors without values), "Autograd" and others. Here
programs register them; `torch_ops.py` keeps the operators and calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ranvier.torch.operators.schemas import infer_schema, parse_schema
from ranvier.torch.operators.torch_ops import (
    EXPLICIT,
    IMPLICIT,
    OperatorLike,
    OpOverload,
    add_overload,
    find_overload,
    packets,
)

__all__ = [
    "Library", "custom_op", "define", "fallthrough_kernel", "get_ctx", "impl", "impl_abstract",
    "infer_schema", "register_autocast", "register_autograd", "register_fake", "register_kernel",
    "register_torch_dispatch", "register_vmap", "triton_op",
]  # fmt: skip

_Function = TypeVar("_Function", bound=Callable[..., Any])

# What programs name in place of a dispatch key, mostly devices -> the dispatch key of the kernel.
_KEYS = {"default": EXPLICIT, "cpu": "CPU", "meta": "Meta", "": IMPLICIT}


class Library:
    """Operators of a namespace: "DEF" and "FRAGMENT" define them, "IMPL" gives them kernels.

    >>> import ranvier as rv
    >>> from ranvier.torch.operators.torch_ops import ops
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
        self.ns = ns
        self.kind = kind
        self.dispatch_key = dispatch_key
        self._made: list[OpOverload] = []

    def define(self, schema: str, alias_analysis: str = "", *, tags: str | Sequence[str] = ()) -> str:
        """Define an operator. Returns its name with the namespace; the other arguments are ignored."""
        if self.kind == "IMPL":
            raise RuntimeError("[Library.define] got a library of kind 'IMPL'; expected 'DEF' or 'FRAGMENT'")
        overload = add_overload(parse_schema(schema, self.ns))
        self._made.append(overload)
        return overload.name()

    def impl(
        self,
        op_name: OperatorLike,
        fn: Callable[..., Any],
        dispatch_key: str = "",
        *,
        with_keyset: bool = False,
        allow_override: bool = False,
    ) -> None:
        """Give an operator its kernel for a dispatch key; a name without "::" is one of this namespace."""
        if not callable(fn):
            raise TypeError(f"Input function is required to be a callable but found type {type(fn)}")
        if isinstance(op_name, str) and "::" not in op_name:
            op_name = f"{self.ns}::{op_name}"
        _set_kernel(op_name, dispatch_key or self.dispatch_key, fn)

    def _register_fake(self, op_name: str, fn: Callable[..., Any], *args: Any, **settings: Any) -> None:
        self.impl(op_name, fn, "Meta")

    def _destroy(self) -> None:
        """Remove the operators that this library has defined."""
        for overload in self._made:
            packets.pop(overload._schema.name, None)


def _dispatch_key(name: str) -> str:
    """The dispatch key for the name of a device or of a key: "CPU" for "cpu"."""
    if name in ("AutogradCPU", "AutogradOther"):
        return "Autograd"
    return _KEYS.get(name, name)


def _set_kernel(op: OperatorLike, name: str, fn: Callable[..., Any]) -> None:
    """Give an operator its kernel for a device or dispatch key; `fallthrough_kernel` removes it."""
    kernels = find_overload(op).kernels
    key = _dispatch_key(name)
    if fn is fallthrough_kernel:
        kernels.pop(key, None)
    else:
        kernels[key] = fn


def fallthrough_kernel(*args: Any, **settings: Any) -> Any:
    """A mark for `Library.impl`, which then removes the kernel of that key; it is not called."""
    raise NotImplementedError("[fallthrough_kernel] got a call; expected to be given to Library.impl")


def define(
    qualname: str | Library,
    schema: str,
    *args: Any,
    lib: Library | None = None,
    tags: str | Sequence[str] = (),
) -> Any:
    """Define an operator of a schema that starts with its arguments.

    `define(library, "name(Tensor x) -> Tensor")` is a decorator, which also gives the operator its function.
    """
    if isinstance(qualname, Library):

        def decorate(function: _Function) -> _Function:
            name = qualname.define(schema)
            qualname.impl(name, function)
            return function

        return decorate
    if "::" not in qualname:
        raise ValueError(f"[torch.library.define] got {qualname!r}; expected 'namespace::name'")
    namespace, _, name = qualname.partition("::")
    add_overload(parse_schema(name + schema, namespace))
    return None


def impl(
    qualname: OperatorLike | Library,
    types: str | Sequence[str] | None,
    func: Callable[..., Any] | None = None,
    *args: Any,
    lib: Library | None = None,
) -> Any:
    """Give an operator its function for "cpu", "default" or a dispatch key; without func a decorator.

    Older programs call it as `impl(library, name, dispatch_key)`, which is a decorator, too.
    """
    if isinstance(qualname, Library):
        library = qualname
        name: Any = types
        dispatch_key: Any = func or ""

        def add(function: _Function) -> _Function:
            library.impl(name, function, dispatch_key)
            return function

        return add

    def register(function: _Function) -> _Function:
        if isinstance(types, str):
            keys: Sequence[str] = [types]
        else:
            keys = types or ["default"]
        for key in keys:
            _set_kernel(qualname, key, function)
        return function

    if func is None:
        return register
    return register(func)


def register_kernel(
    op: OperatorLike,
    device_types: str | Sequence[str] | None,
    func: Callable[..., Any] | None = None,
    /,
    *,
    lib: Library | None = None,
) -> Any:
    """Give an operator its function on a device, which is the CPU here; without func a decorator."""
    return impl(op, device_types, func)


def register_fake(
    op: OperatorLike,
    func: Callable[..., Any] | None = None,
    /,
    *,
    lib: Library | None = None,
    **settings: Any,
) -> Any:
    """Give an operator its function for tensors without values, on the device "meta".

    Without func a decorator.
    """
    return impl(op, "meta", func)


impl_abstract = register_fake


def register_autograd(
    op: OperatorLike,
    backward: Callable[..., Any],
    /,
    *,
    setup_context: Callable[..., Any] | None = None,
    lib: Library | None = None,
) -> None:
    """Give an operator its gradient, `backward(ctx, *grads)`; `setup_context` saves in ctx what backward
    needs.

    >>> import ranvier as rv
    >>> @custom_op("mine::cube", mutates_args=())
    ... def cube(x: rv.Tensor) -> rv.Tensor:
    ...     return x**3
    >>> def keep(ctx, inputs, output):
    ...     ctx.save_for_backward(*inputs)
    >>> def slope(ctx, dy):
    ...     return 3 * ctx.saved_tensors[0] ** 2 * dy
    >>> register_autograd("mine::cube", slope, setup_context=keep)
    >>> x = rv.tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    tensor([12.])
    """
    overload = find_overload(op)
    if overload._schema.is_mutable:
        raise RuntimeError(
            f"Cannot register autograd formula for non-functional operator {op} with schema "
            f"{overload._schema}. "
            "Please create a functional operator and register an autograd formula for that."
        )
    overload.backward = backward
    overload.setup = setup_context


def register_autocast(op: OperatorLike, *args: Any, **settings: Any) -> None:
    """Accepted without effect: in blocks of `autocast`, too, an operator computes in the dtypes it gets.

    Raises RuntimeError if there is no such operator.
    """
    find_overload(op)


def register_vmap(
    op: OperatorLike, func: Callable[..., Any] | None = None, /, *, lib: Library | None = None
) -> Any:
    """Accepted without effect: `func.vmap` batches the ops in an operator's function, or refuses them."""
    if func is None:
        return _unchanged
    return func


def _unchanged(function: _Function) -> _Function:
    """A decorator without effect."""
    return function


def register_torch_dispatch(
    op: OperatorLike,
    torch_dispatch_class: type,
    func: Callable[..., Any] | None = None,
    /,
    *,
    lib: Library | None = None,
) -> Any:
    """Accepted without effect: no operation looks for __torch_dispatch__."""
    return register_vmap(op, func)


def get_ctx() -> Any:
    """Raise RuntimeError: sizes that depend on values are known when the function runs."""
    raise RuntimeError("[torch.library.get_ctx] got a call; expected none: no graph is made of fake tensors")


class CustomOpDef:
    """The result of `custom_op`: a call runs the operator. `_opoverload` is read by `find_overload`."""

    def __init__(self, overload: OpOverload, function: Callable[..., Any]) -> None:
        self._opoverload = overload
        self._init_fn = function
        self._namespace = overload.namespace
        self._name = overload._opname
        self._qualname = overload._schema.name
        self._schema = str(overload._schema)

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._opoverload(*args, **settings)

    register_kernel = register_kernel
    register_fake = register_fake
    register_autograd = register_autograd
    register_vmap = register_vmap
    register_torch_dispatch = register_torch_dispatch
    register_autocast = register_autocast


def custom_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: str | Sequence[str] | None = None,
    schema: str | None = None,
    tags: str | Sequence[str] | None = None,
) -> Any:
    """Make an operator of a function, whose calls are not recorded for gradients; without fn a decorator.

    Parameters
    ----------
    name: "namespace::name".
    mutates_args: the names of the arguments that fn changes, or "unknown" for any of them.
    device_types: the devices, or dispatch keys, for which fn is the kernel. None: all.
    schema: "(Tensor x) -> Tensor". None: by the type hints of fn.

    >>> import ranvier as rv
    >>> from ranvier.torch.operators.torch_ops import ops
    >>> @custom_op("mine::thrice", mutates_args=())
    ... def thrice(x: rv.Tensor) -> rv.Tensor:
    ...     return 3 * x
    >>> thrice(rv.ones(1)), ops.mine.thrice(rv.ones(1))
    (tensor([3.]), tensor([3.]))
    """

    def define_operator(function: Callable[..., Any]) -> CustomOpDef:
        namespace, _, op_name = name.partition("::")
        if schema is None:
            arguments = infer_schema(function, mutates_args=mutates_args)
        else:
            arguments = schema
        overload = add_overload(parse_schema(op_name + arguments, namespace), replaces=True)
        overload.is_custom = True
        operator = CustomOpDef(overload, function)
        impl(operator, device_types or "default", function)
        return operator

    if fn is None:
        return define_operator
    return define_operator(fn)


triton_op = custom_op
