"""PyTorch's protocol `__torch_function__`, by which classes of arguments and modes take over calls of
functions.

To ask means: before a function computes, it calls `__torch_function__` of the active mode (TorchFunctionMode)
and of the classes of its arguments, and returns the first answer that is not NotImplemented. The functions
that `torch` has here are objects of the core (`cpp/bindings/tape/public_function.cpp`). They do not ask until
`activate` of `activation.py` has run: at the first class that a program derives from Tensor, and at the first
mode. From then on Tensor's own methods and attributes are such objects too, and the layers of `ranvier.nn`
call them. A part of this library that defines a class of tensors with `__torch_function__` calls `activate()`
itself.
"""

from __future__ import annotations

import types
import warnings
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import ranvier
import ranvier._core as _core
import ranvier.torch.torch_function.override_tables as override_tables
from ranvier import Tensor
from ranvier.extension import provider
from ranvier.ops.shape.index import getitem
from ranvier.tensors.deepcopy_pickle import rebuild
from ranvier.tensors.spellings import RESPELLS, respelled

# Other flags of `_core._public`, as in public_function.cpp: the object asks modes only; it binds as a method;
# after an error of the function it calls `failed`.
_MODES_ONLY = 1
BINDS = 2
_RETRIES = 4
_TAKES_APART = 64  # a list as the second argument stands for its items

_made: dict[tuple[str, int], Any] = {}  # the objects of functions, by path and the id of what they wrap


def public(function: Callable[..., Any], path: str) -> Any:
    """The object that `torch` has under a path in place of a function; anything else is returned unchanged.

    >>> public(ranvier.tanh, "tanh").__module__
    'torch'
    """
    space, _, name = path.rpartition(".")
    if space == "functional":  # torch.functional has functions of torch
        return public(function, name)
    if type(function) in (_core.PublicFunction, _core.PublicMethod):
        function = getattr(function, "__wrapped__")  # noqa: B009
    is_public = space in override_tables.SPACES and not (space == "" and name in override_tables.PLAIN)
    if not is_public or not isinstance(function, _FUNCTIONS):
        return function
    made = _made.get((path, id(function)))
    if made is None:
        binding = override_tables.SPACES[space]
        if binding is not None:
            binds = name in binding
        else:
            binds = name not in override_tables.F_BUILT_IN
        if binds:
            flags = _RETRIES | BINDS
        else:
            flags = _RETRIES | RESPELLS  # built-in functions of PyTorch take other names of arguments, too
        if space == "" and name in override_tables.ONLY_MODES:
            flags |= _MODES_ONLY
        if path == "einsum":
            flags |= _TAKES_APART
        if space == "" and binds:
            home = "torch.functional"
        else:
            home = f"torch.{space}".rstrip(".")
        # the __name__ that PyTorch gives it
        if space in ("linalg", "special"):
            function_name = f"{space}_{name}"
        else:
            function_name = name
        made = _core._public(_core.PublicFunction, function, None, home, name, function_name, flags)
        op = override_tables.find_op(function)
        if op is not None:
            # no initial operands; argument i of the function is operand i of the op
            _core._set_op(made, op.op, op.needed, op.names, (), tuple(range(len(op.names))))
        _made[path, id(function)] = made
    return made


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)


# --- who is asked
class State(local):
    """The modes that a thread has entered."""

    def __init__(self) -> None:
        self.modes: list[Any] = []


state = State()


class switched_off:
    """A block in which functions do not ask. level 1: they do not ask classes; 2: nor modes.

    The core counts blocks and modes of each thread: `_dispatch_state(level, modes, is_active)` sets what is
    not None, and returns the level first.
    """

    def __init__(self, level: int) -> None:
        self.level = level

    def __enter__(self) -> None:
        self._before = _core._dispatch_state(None, None, None)[0]
        _core._dispatch_state(max(self.level, self._before), None, None)

    def __exit__(self, *error: object) -> None:
        _core._dispatch_state(self._before, None, None)


def push(mode: Any) -> None:
    """Begin the block of a mode, an object whose `__torch_function__` is asked about all calls."""
    state.modes.append(mode)
    _core._dispatch_state(None, len(state.modes), None)


def pop() -> Any:
    """End the block of the mode that was entered last, and return the mode."""
    mode = state.modes.pop()
    _core._dispatch_state(None, len(state.modes), None)
    return mode


def ask(
    func: Callable[..., Any],
    classes: tuple[type, ...],
    overriding: list[Any],
    args: Any,
    kwargs: dict[str, Any],
    otherwise: Any = None,
) -> Any:
    """The first answer that is not NotImplemented: of the mode that was entered last, then of arguments.

    classes: those of the arguments, which `__torch_function__` gets.
    overriding: the arguments that have a `__torch_function__`.
    otherwise: what is returned without an answer; None: TypeError is raised.

    The core calls this function, and `handle_torch_function`.
    """
    if _core._modes_are_asked():
        mode = pop()
        try:
            answer = mode.__torch_function__(func, classes, args, kwargs)
        finally:
            push(mode)
        if answer is not NotImplemented:
            return answer
    for x in overriding:
        answer = x.__torch_function__(func, classes, args, kwargs)
        if answer is not NotImplemented:
            return answer
    if otherwise is not None:
        return otherwise
    names = [cls.__name__ for cls in classes]
    raise TypeError(
        f"Multiple dispatch failed for {getattr(func, '__module__', 'torch')!s}.{func.__name__}; all "
        f"__torch_function__ handlers returned NotImplemented: {names}"
    )


def _as_asked(func: Callable[..., Any], args: Any) -> Any:
    """The arguments that `__torch_function__` gets: einsum takes a list of operands apart before it asks."""
    if func.__name__ == "einsum" and len(args) == 2 and isinstance(args[1], (list, tuple)):
        return (args[0], *args[1])
    return args


# Reductions that PyTorch computes in the dtype of the argument `out`.
_SUMS = {"sum", "nansum", "mean", "nanmean", "prod", "cumsum", "cumprod", "var", "std", "logsumexp"}
# Functions that fill an `out` of as many elements in its own shape.
_RANGES = {"arange", "range", "linspace", "logspace"}


def failed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException) -> Any:
    """The core calls it after a function has raised an error: it returns a result, or raises the error again.

    It tries the answer of an argument of another library; complex numbers as the result; and `out`, which
    most functions here do not take: the result is computed and written to it.
    """
    # arguments with a `__torch_function__`, also in lists of lists; none is asked in a block of switched_off
    overriding = _core._overriding((*args, *kwargs.values()), 2)
    if overriding:
        args = _as_asked(func, args)
        classes = tuple(type(x) for x in overriding)
        for x in overriding:
            answer = x.__torch_function__(func, classes, args, kwargs)
            if answer is not NotImplemented:
                return answer
        raise error
    if "complex" in str(error):
        result = provider("complex tensors").make_complex(func, args, kwargs)
        if result is not None:
            return result
    if "out" not in kwargs:
        raise error
    kwargs = respelled(func.__wrapped__, kwargs) or kwargs
    out = kwargs.pop("out")
    if func.__name__ in _SUMS and isinstance(out, Tensor) and kwargs.get("dtype") is None:
        if args:
            args = (args[0].to(out.dtype), *args[1:])
        else:
            args = (kwargs.pop("input").to(out.dtype),)
    # as in PyTorch, a call with `out` is not cast in a block of autocast
    result = _core._without_autocast(partial(func.__wrapped__, *args, **kwargs))
    if out is None:
        return result
    return written(func.__name__, out, result)


def written(name: str, out: Any, result: Any, stacklevel: int = 3) -> Any:
    """Write the result, or several results, to `out`, without gradients, and return `out`.

    `out` is resized to the shape of the result, with PyTorch's warning if it had elements. Raises
    RuntimeError if its dtype cannot hold the result: floats for integers would be cut off; and for a result
    or `out` that requires gradients, outside no_grad().

    stacklevel: of the program's line: after the frames of `written` and `failed` comes that line, since the
        core has none.
    """
    if isinstance(out, (tuple, list)):
        outputs = []
        for x, y in zip(out, result, strict=True):
            outputs.append(written(name, x, y, stacklevel + 1))
        make_tuple = getattr(type(result), "_make", tuple)  # a NamedTuple stays one
        return make_tuple(outputs)
    if ranvier.is_grad_enabled() and (result.requires_grad or out.requires_grad):
        raise RuntimeError(f"[{name}] got out in a call with gradients; expected a call under no_grad()")
    if not ranvier.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"[{name}] got out of dtype {out.dtype} for a result of {result.dtype}; "
            "expected a dtype that can hold it"
        )
    if name in _RANGES and result.numel() == out.numel():
        result = result.reshape(out.shape)
    with ranvier.no_grad():
        if out.numel() == 0 != result.numel():
            out.data = result.to(out.dtype)  # so an empty `out` gets its shape without the warning
        if out.shape != result.shape:
            warnings.warn(
                f"[{name}] got out of shape {tuple(out.shape)}; it is resized to {tuple(result.shape)}",
                stacklevel=stacklevel,
            )
            out.resize_(result.shape)
        return out.copy_(result)


# --- Tensor's own answer
def default(
    cls: type,
    func: Callable[..., Any],
    types: Iterable[type],
    args: Any = (),
    kwargs: dict[str, Any] | None = None,
) -> Any:
    """Tensor.__torch_function__: calls the function, and converts its results to the class cls."""
    return _core._own_answer(cls, func, types, args, kwargs or {})


def nowrap() -> Any:
    """The functions whose results are not converted to the class of the arguments."""
    _NOWRAP.add(Tensor.grad.__get__)  # the present one: `activate` replaces it, and calls this function
    return _NOWRAP


_NOWRAP: set[Any] = set()  # the core reads this set before it converts a result


def converted(result: Any, cls: type, is_new: bool = False) -> Any:
    """A result whose Tensors are converted to a class.

    is_new: nobody else holds them, so they may be changed.
    """
    if cls is Tensor:
        return result
    if isinstance(result, Tensor):
        if isinstance(result, cls):
            return result
        if is_new:
            return _become(result, cls)
        return as_subclass(result, cls)
    if isinstance(result, (tuple, list)) and any(isinstance(x, (Tensor, tuple, list)) for x in result):
        return getattr(type(result), "_make", type(result))([converted(x, cls, is_new) for x in result])
    return result


def as_subclass(self: Any, cls: type) -> Any:
    """A view of the tensor that is an instance of cls, a class derived from Tensor.

    >>> class Image(Tensor): pass
    >>> type(as_subclass(ranvier.mean(Tensor([1.0])), Image)).__name__
    'Image'
    """
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"[as_subclass] got {cls!r}; expected a class of Tensors")
    with switched_off(2):
        return _become(getitem(self, ...), cls)


def _become(tensor: Tensor, cls: type) -> Any:
    """A new tensor converted to a class: it changes its class, or is copied if the class has slots."""
    try:
        tensor.__class__ = cls
        return tensor
    except TypeError:  # a class with slots of its own
        out = rebuild(cls, tensor._array, False)
        for name in ("_cell", "_requires_grad", "_grad_fn", "_view"):  # not `_grad`: it is new
            setattr(out, name, getattr(tensor, name))
        return out


class _Silent:  # an instance, not a function, so that it does not bind as a method of a class
    """`torch._C._disabled_torch_function_impl`: the `__torch_function__` of classes that are not asked."""

    def __call__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        with switched_off(1):
            return func(*args, **(kwargs or {}))


silent = _Silent()
_core._set_dispatch(ask, converted, silent, _NOWRAP)
_core._set_failed(failed)
