"""torch.library: programs and libraries define operators, with their functions, gradients and schemas.

`torch_ops.py` has the operators and calls them; a kernel is the function of an operator for a dispatch key.
Here programs register them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ranvier.torch.operators.schemas import infer_schema, parsed
from ranvier.torch.operators.torch_ops import EXPLICIT, IMPLICIT, OpOverload, defined, overload_of, packets

__all__ = [
    "Library", "custom_op", "define", "fallthrough_kernel", "get_ctx", "impl", "impl_abstract",
    "infer_schema", "register_autocast", "register_autograd", "register_fake", "register_kernel",
    "register_torch_dispatch", "register_vmap", "triton_op",
]  # fmt: skip

# The names of devices that programs give, and the dispatch keys under which kernels are kept.
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

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        if self.kind == "IMPL":
            raise RuntimeError("[Library.define] got a library of kind 'IMPL'; expected 'DEF' or 'FRAGMENT'")
        overload = defined(parsed(schema, self.ns))
        self._made.append(overload)
        return overload.name()

    def impl(
        self,
        op_name: Any,
        fn: Callable[..., Any],
        dispatch_key: str = "",
        *,
        with_keyset: bool = False,
        allow_override: bool = False,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"Input function is required to be a callable but found type {type(fn)}")
        named = isinstance(op_name, str) and "::" not in op_name
        _set_kernel(f"{self.ns}::{op_name}" if named else op_name, dispatch_key or self.dispatch_key, fn)

    def _register_fake(self, op_name: str, fn: Callable[..., Any], *args: Any, **settings: Any) -> None:
        self.impl(op_name, fn, "Meta")

    def _destroy(self) -> None:
        """Remove the operators that this library has defined."""
        for overload in self._made:
            packets.pop(overload._schema.name, None)


def _key_of(name: str) -> str:
    """The key under which the kernel of a device or dispatch key is kept."""
    if name in ("AutogradCPU", "AutogradOther"):
        return "Autograd"
    return _KEYS.get(name, name)


def _set_kernel(op: Any, key: str, fn: Callable[..., Any]) -> None:
    """Give an operator its kernel for a device or dispatch key; `fallthrough_kernel` removes it."""
    kernels = overload_of(op).kernels
    if fn is fallthrough_kernel:
        kernels.pop(_key_of(key), None)
    else:
        kernels[_key_of(key)] = fn


def fallthrough_kernel(*args: Any, **settings: Any) -> Any:
    """A mark for `Library.impl`, which then removes the kernel of that key; it is not called."""
    raise NotImplementedError("[fallthrough_kernel] got a call; expected to be given to Library.impl")


def define(qualname: Any, schema: str, *args: Any, lib: Library | None = None, tags: Any = ()) -> Any:
    """Defines an operator of a schema that starts with its arguments; with a Library, a decorator."""
    if isinstance(qualname, Library):

        def decorated(function: Callable[..., Any]) -> Any:
            qualname.impl(qualname.define(schema), function)
            return function

        return decorated
    if "::" not in qualname:
        raise ValueError(f"[torch.library.define] got {qualname!r}; expected 'namespace::name'")
    defined(parsed(qualname.partition("::")[2] + schema, qualname.partition("::")[0]))
    return None


def impl(
    qualname: Any,
    types: str | Sequence[str] | None,
    func: Callable[..., Any] | None = None,
    *args: Any,
    lib: Library | None = None,
) -> Any:
    """Gives an operator its function for "cpu", "default" or a dispatch key; without func a decorator."""
    if isinstance(qualname, Library):  # impl(lib, name, key)
        library = qualname
        name: Any = types
        dispatch_key: Any = func or ""

        def add(function: Callable[..., Any]) -> Any:
            library.impl(name, function, dispatch_key)
            return function

        return add

    def register(function: Callable[..., Any]) -> Any:
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
    op: Any, device_types: Any, func: Callable[..., Any] | None = None, /, *, lib: Library | None = None
) -> Any:
    """Gives an operator its function on a device, which is the CPU here."""
    return impl(op, device_types, func)


def register_fake(
    op: Any, func: Callable[..., Any] | None = None, /, *, lib: Library | None = None, **settings: Any
) -> Any:
    """Gives an operator its function for tensors without numbers, on the device "meta"."""
    return impl(op, "meta", func)


impl_abstract = register_fake


def register_autograd(
    op: Any, backward: Any, /, *, setup_context: Any = None, lib: Library | None = None
) -> None:
    """Gives an operator its gradient, `backward(ctx, *grads)`; `setup_context` saves in ctx what backward
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
    overload = overload_of(op)
    if overload._schema.is_mutable:
        raise RuntimeError(
            f"Cannot register autograd formula for non-functional operator {op} with schema "
            f"{overload._schema}. "
            "Please create a functional operator and register an autograd formula for that."
        )
    overload.backward = backward
    overload.setup = setup_context


def register_autocast(op: Any, *args: Any, **settings: Any) -> None:
    """Accepted without effect: in blocks of `autocast`, too, an operator computes in the dtypes it gets."""
    overload_of(op)


def register_vmap(op: Any, func: Callable[..., Any] | None = None, /, *, lib: Library | None = None) -> Any:
    """Accepted without effect: `func.vmap` batches the ops in an operator's function, or refuses them."""
    return func if func is not None else lambda function: function


def register_torch_dispatch(
    op: Any, kind: Any, func: Callable[..., Any] | None = None, /, *, lib: Library | None = None
) -> Any:
    """Accepted without effect: no operation looks for __torch_dispatch__."""
    return register_vmap(op, func)


def get_ctx() -> Any:
    """Raises RuntimeError: sizes that depend on numbers are known when the function runs."""
    raise RuntimeError("[torch.library.get_ctx] got a call; expected none: no graph is made of fake tensors")


class CustomOpDef:
    """The result of `custom_op`: a call runs the function."""

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
    mutates_args: Any,
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Makes an operator of a function, whose calls are not recorded for gradients; also a decorator.

    >>> import ranvier as rv
    >>> from ranvier.torch.operators.torch_ops import ops
    >>> @custom_op("mine::thrice", mutates_args=())
    ... def thrice(x: rv.Tensor) -> rv.Tensor:
    ...     return 3 * x
    >>> thrice(rv.ones(1)), ops.mine.thrice(rv.ones(1))
    (tensor([3.]), tensor([3.]))
    """

    def made(function: Callable[..., Any]) -> CustomOpDef:
        space, _, inner = name.partition("::")
        if schema is None:
            text = infer_schema(function, mutates_args=mutates_args)
        else:
            text = schema
        overload = defined(parsed(inner + text, space), again=True)
        overload.is_custom = True
        result = CustomOpDef(overload, function)
        impl(result, device_types or "default", function)
        return result

    if fn is None:
        return made
    return made(fn)


triton_op = custom_op
