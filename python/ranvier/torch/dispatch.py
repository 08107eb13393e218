"""`__torch_function__`: functions, methods and attributes of Tensors ask the classes of their arguments.

The functions that `torch` hands out are objects of the core (`cpp/bindings/tape/public_function.cpp`), which
call what they wrap at once until :func:`activate` has run. That is at the first class that a program derives
from Tensor, and at the first TorchFunctionMode. From then on Tensor's own methods and attributes are such
objects too, and the layers of `ranvier.nn` call them. A part of this library with tensors of its own, which
have a `__torch_function__`, calls `activate()` before it makes the first.
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import ranvier
import ranvier._core as _core
import ranvier.nn as nn
import ranvier.nn.functional
import ranvier.nn.init
import ranvier.ops as ops
import ranvier.torch.asking as asking
from ranvier import Tensor
from ranvier.nn.loss.functional import FORMS, parameters_of
from ranvier.nn.recurrent import RNNBase
from ranvier.ops.attach import Later
from ranvier.ops.shape.index import getitem
from ranvier.ops.table import FUNCTIONAL_OF
from ranvier.tensors.deepcopy_pickle import rebuild

_MODES_ONLY, _BINDS, _RETRIES, _OPERATOR = 1, 2, 4, 8  # as in public_function.cpp

_made: dict[tuple[str, int], Any] = {}  # the objects of functions, by path and the id of what they wrap
_is_active = False


def public(function: Any, path: str) -> Any:
    """The object that `torch` has under a path, for a function; anything else is given back.

    >>> public(ops.tanh, "tanh").__module__
    'torch'
    """
    space, _, name = path.rpartition(".")
    if type(function) in (_core.PublicFunction, _core.PublicMethod):
        function = getattr(function, "__wrapped__")  # noqa: B009
    if (
        not isinstance(function, _FUNCTIONS)
        or space not in asking.SPACES
        or (space == "" and name in asking.PLAIN)
    ):
        return function
    made = _made.get((path, id(function)))
    if made is None:
        binding = asking.SPACES[space]
        binds = name in binding if binding is not None else name not in asking.F_BUILT_IN
        how = _RETRIES | _BINDS * binds | _MODES_ONLY * (space == "" and name in asking.ONLY_MODES)
        home = "torch.functional" if space == "" and binds else f"torch.{space}".rstrip(".")
        text = f"{space}_{name}" if space in ("linalg", "special") else name  # as PyTorch calls them
        made = _core._public(_core.PublicFunction, function, None, home, name, text, how)
        if (op := asking.op_of(function)) is not None:
            _core._set_op(made, *op)
        _made[path, id(function)] = made
    return made


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)


# --- who is asked
class State(threading.local):
    """The modes that a thread has entered."""

    def __init__(self) -> None:
        self.modes: list[Any] = []


state = State()


class switched_off:
    """A block without questions: 1 to classes, 2 to modes either."""

    def __init__(self, level: int) -> None:
        self.level = level

    def __enter__(self) -> None:
        self._before = _core._dispatch_state(None, None, None)[0]
        _core._dispatch_state(max(self.level, self._before), None, None)

    def __exit__(self, *error: object) -> None:
        _core._dispatch_state(self._before, None, None)


def push(mode: Any) -> None:
    activate()
    state.modes.append(mode)
    _core._dispatch_state(None, len(state.modes), None)


def pop() -> Any:
    mode = state.modes.pop()
    _core._dispatch_state(None, len(state.modes), None)
    return mode


def ask(
    func: Any, kinds: tuple[type, ...], found: list[Any], args: Any, kwargs: Any, otherwise: Any = None
) -> Any:
    """The first answer that is not NotImplemented: of the mode that was entered last, then of those found.

    Raises TypeError where none of them has one.
    """
    if _core._modes_are_asked():
        mode = pop()
        try:
            answer = mode.__torch_function__(func, kinds, args, kwargs)
        finally:
            push(mode)
        if answer is not NotImplemented:
            return answer
    for x in found:
        answer = x.__torch_function__(func, kinds, args, kwargs)
        if answer is not NotImplemented:
            return answer
    if otherwise is not None:
        return otherwise
    raise TypeError(
        f"Multiple dispatch failed for {getattr(func, '__module__', 'torch')!s}.{func.__name__}; all "
        f"__torch_function__ handlers returned NotImplemented: {[kind.__name__ for kind in kinds]}"
    )


# Reductions that PyTorch computes in the dtype of `out`.
_SUMS = {"sum", "nansum", "mean", "nanmean", "prod", "cumsum", "cumprod", "var", "std", "logsumexp"}


def failed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException) -> Any:
    """The result of a call that a function has refused: the answer of an argument of another library, or the
    result written to `out`. Else raises its error."""
    found = _core._overriding((*args, *kwargs.values()), 2)
    for x in found:
        answer = x.__torch_function__(func, tuple(type(x) for x in found), args, kwargs)
        if answer is not NotImplemented:
            return answer
    if not found and "complex" in str(error):
        made = importlib.import_module("ranvier.torch.former").created(func, args, kwargs)
        if made is not None:
            return made
    if found or "out" not in kwargs:
        raise error
    out = kwargs.pop("out")
    if func.__name__ in _SUMS and isinstance(out, Tensor) and kwargs.get("dtype") is None:
        first = args[0] if args else kwargs.pop("input")
        args = first.to(out.dtype), *args[1:]
    result = _core._without_autocast(partial(func.__wrapped__, *args, **kwargs))
    return result if out is None else written(func.__name__, out, result)


def written(name: str, out: Any, result: Any) -> Any:
    """`out` with the values of the result, off the tape; several of several. It gets the shape of the result,
    with PyTorch's warning if it has elements."""
    if isinstance(out, (tuple, list)):
        parts = [written(name, *pair) for pair in zip(out, result, strict=True)]
        return getattr(type(result), "_make", tuple)(parts)
    if result.requires_grad or out.requires_grad:
        raise RuntimeError(f"[{name}] got out in a call with gradients; expected a call under no_grad()")
    with ranvier.no_grad():
        if out.numel() == 0 != result.numel():
            out.data = result.to(out.dtype)
        if out.shape != result.shape:
            warnings.warn(
                f"[{name}] got out of shape {tuple(out.shape)}; it is resized to {tuple(result.shape)}",
                stacklevel=3,
            )
            out.resize_(result.shape)
        return out.copy_(result)


# --- Tensor's own answer
def default(cls: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """Tensor.__torch_function__: calls the function, and gives its results the class."""
    return _core._own_answer(cls, func, types, args, kwargs or {})


def nowrap() -> Any:
    """The functions whose results are given back as they are."""
    _NOWRAP.add(Tensor.grad.__get__)
    return _NOWRAP


_NOWRAP: set[Any] = set()


def converted(result: Any, cls: Any, is_new: bool = False) -> Any:
    """The Tensors of a result as those of a class. is_new: no other has them."""
    if cls is Tensor:
        return result
    if isinstance(result, Tensor):
        return (
            result
            if isinstance(result, cls)
            else _become(result, cls)
            if is_new
            else as_subclass(result, cls)
        )
    if isinstance(result, (tuple, list)) and any(isinstance(x, (Tensor, tuple, list)) for x in result):
        return getattr(type(result), "_make", type(result))([converted(x, cls, is_new) for x in result])
    return result


def as_subclass(self: Any, cls: Any) -> Any:
    """The tensor as one of a class of Tensors: the same memory and, on the tape, a view.

    >>> class Image(Tensor): pass
    >>> type(as_subclass(ops.mean(Tensor([1.0])), Image)).__name__
    'Image'
    """
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"[as_subclass] got {cls!r}; expected a class of Tensors")
    with switched_off(2):
        return _become(getitem(self, ...), cls)


def _become(tensor: Any, cls: Any) -> Any:
    """A new tensor, of the class that it is to have."""
    try:
        tensor.__class__ = cls
        return tensor
    except TypeError:  # a class with slots of its own
        out = rebuild(cls, tensor._array, False)
        for name in ("_cell", "_requires_grad", "_grad_fn", "_view"):
            setattr(out, name, getattr(tensor, name))
        return out


def _new(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Tensor.__new__ for classes that call it with the data."""
    out = object.__new__(cls)
    if args or kwargs:
        Tensor.__init__(out, *args, **kwargs)
    return out


class _Silent:  # its instance is no function: a class that has it as an attribute does not bind it
    """`torch._C._disabled_torch_function_impl`: the `__torch_function__` of classes that are not asked."""

    def __call__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with switched_off(1):
            return func(*args, **(kwargs or {}))


silent = _Silent()
_core._set_dispatch(ask, converted, silent, _NOWRAP)
_core._set_failed(failed)


# --- attached
def attach() -> None:
    """Puts what programs find of it on Tensor."""
    Tensor.__torch_function__ = classmethod(default)  # type: ignore[attr-defined]
    nn.Parameter.__torch_function__ = nn.Buffer.__torch_function__ = silent  # type: ignore[attr-defined]
    Tensor.as_subclass = as_subclass  # type: ignore[attr-defined]
    Tensor.__new__ = _new  # type: ignore[method-assign]
    Tensor.__init_subclass__ = classmethod(_derived)  # type: ignore[assignment,arg-type]
    for kind in Tensor.__subclasses__():
        _derived(kind)


def _derived(cls: Any, **kwargs: Any) -> None:
    """A class that a program derives from Tensor wants to be asked."""
    super(Tensor, cls).__init_subclass__(**kwargs)
    if not cls.__module__.startswith("ranvier.") and cls.__torch_function__ is not silent:
        activate()


def activate() -> None:
    """From now on functions, methods, attributes and layers ask; see the text of this module."""
    global _is_active
    if _is_active:
        return
    _is_active = True
    for name, value in list(vars(Tensor).items()):
        if (name[0] == "_" and name not in asking.SPECIAL) or name in asking.ASK_NOBODY:
            continue
        if not getattr(value, "__globals__", asking.OWN_GLOBALS)["__name__"].startswith("ranvier."):
            continue  # a method that the program has added
        if type(value) is Later:
            value = getattr(Tensor, name)
        _replace(name, value)
    unbind: Any = vars(Tensor)["unbind"]
    Tensor.__iter__ = lambda self: iter(unbind(self, 0))  # type: ignore[method-assign]
    for name, op in asking.OPERATORS.items():
        _replace(name, vars(Tensor)[name].__wrapped__, vars(Tensor)[op])
    nowrap()
    _attach_layers()
    _core._dispatch_state(None, None, True)


def _replace(name: str, value: Any, func: Any = None) -> None:
    if isinstance(value, (staticmethod, classmethod)) or type(value).__name__ == "Lacking":
        return
    is_method = callable(value) and not isinstance(value, type)
    kind = _core.PublicMethod if is_method else _core.PublicAttribute
    how, text = _BINDS | _OPERATOR * (name in asking.BINARY), asking.CALLED.get(name, name)
    setattr(Tensor, name, _core._public(kind, value, func, "torch", f"Tensor.{name}", text, how))


def _attach_layers() -> None:
    """The modules of `ranvier.nn`, and what they call `ops`, get the objects that ask."""
    _ = ops.linear  # loads all ops of layers, which would be written over the objects
    modules = [nn, importlib.import_module("ranvier.data.collate")]
    for info in pkgutil.walk_packages(nn.__path__, "ranvier.nn."):
        modules.append(importlib.import_module(info.name))
    for module in (ops, *modules):
        for name, value in list(vars(module).items()):
            if type(value) is types.FunctionType and (made := _for_layers(value)) is not value:
                setattr(module, name, made)
    rare: Any = ops._rare
    vars(ops)["_rare"] = vars(nn.functional)["_rare"] = lambda module, name: public(
        rare(module, name), f"nn.functional.{name}" if name in FUNCTIONAL_OF else name
    )
    for kind, name in _WHOLE.items():  # which call kernels
        made = _core._public(_core.PublicMethod, kind.forward, None, "torch", name, name, _BINDS)
        kind.forward = made
    for op, form in FORMS.items():
        setattr(ops, op, _loss(getattr(ops, op), public(form, f"nn.functional.{form.__name__}")))


_WHOLE: dict[Any, str] = {
    nn.MultiheadAttention: "multi_head_attention_forward",
    RNNBase: "rnn",
    **dict(
        zip((nn.RNNCell, nn.LSTMCell, nn.GRUCell), ("rnn_tanh_cell", "lstm_cell", "gru_cell"), strict=True)
    ),
}


def _loss(op: Any, form: Any) -> Callable[..., Any]:
    """The function that a layer calls for a loss, whose function in PyTorch has other arguments."""
    op = getattr(op, "__wrapped__", op)
    names = list(parameters_of(op))
    inputs = sum(p.default is p.empty for p in parameters_of(op).values())

    def loss(*args: Any, **settings: Any) -> Any:
        if any(map(_core._has_hook, args)) or state.modes:
            return form(*args[:inputs], **dict(zip(names[inputs:], args[inputs:], strict=False)), **settings)
        return op(*args, **settings)

    loss.__wrapped__ = op  # type: ignore[attr-defined]
    return loss


def _for_layers(function: Callable[..., Any]) -> Any:
    """The object of PyTorch's function that is a function of this library."""
    name = function.__name__
    for path, home in (("nn.functional", nn.functional), ("nn.init", nn.init), ("", ranvier)):
        own: Any = getattr(home, name, None) if name[0] != "_" else None
        own = vars(type(own))["__wrapped__"].__get__(own) if type(own) is _core.PublicFunction else own
        if own is function and not (path == "nn.functional" and name in ("sigmoid", "tanh")):
            return public(function, f"{path}.{name}".lstrip("."))
    return function
