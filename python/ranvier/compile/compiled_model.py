"""Compiled models: what `rv.compile` returns for a module.

It is an object of a class that is made for it. This class inherits from the module's class, and the object's
``__dict__`` is the module's, so all that the module does, it does: attributes, operators, ``with``, hooks,
``modules()``. Only its call differs: ``__call__`` is a slot with a compiled function. Eager runs and
recordings call the module itself.
"""

from __future__ import annotations

import copy
import inspect
from _thread import get_ident
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any
from weakref import ref

from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.policy import Policy
from ranvier.grad_mode import mode, no_grad
from ranvier.nn import Module
from ranvier.observe import current, observers, running
from ranvier.tensors.tensor import Tensor


class OfModel(Policy):
    """The policy of a compiled model's call: the forward pass of its module, replayed without a tape.

    Attributes:
        model: a weak reference to it.
        shown: the module whose attributes it has: that which is called, or the one set as `_orig_mod`.
        kind: the class of that.
    """

    forward_only = True
    model: Callable[[], Any]
    shown: Any
    kind: type

    def __reduce__(self) -> Any:
        return OfModel, ()

    def in_copies(self, function: Any) -> Any:
        return self.shown

    def around_call(self, call: CompiledFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = off_tape(call, args, kwargs)
        if type(self.shown) is not self.kind and (model := self.model()) is not None:
            serve(call, model, self.shown)  # a lazy layer has got its size
        return result


def off_tape(call: CompiledFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call of a model, whose programs have no tape: the model itself runs where gradients may be needed."""
    module: Any = call._function
    in_step = get_ident() in running or (observers and current() is not None)
    if in_step or (mode.enabled and (module.training or _any_requires_grad(args, kwargs))):
        return module(*args, **kwargs)
    with no_grad():  # what is recorded or runs eagerly makes no tape either
        if call._warned and call._rests():
            return call._run_eagerly(module, args, kwargs)
        return call._answer(args, kwargs)


class CompiledModel:
    """The first base of the classes of compiled models: where they are not what the module is.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(3, 2).eval()
    >>> fast = rv.compile(model)
    >>> x = np.ones((4, 3), np.float32)
    >>> for _ in range(3): y = fast(x)
    >>> bool((y == model(x)).all()), fast.in_features, fast == model
    (True, 3, True)
    """

    __call__: Any
    step_root = "__call__"

    def __init_subclass__(cls) -> None:
        """A class of the user's that registers its subclasses is not told of this one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        kind = _module_class(cls)  # ``type(model)`` makes what the module's class makes
        return kind.__new__(kind, *args, **kwargs)

    @property
    def __class__(self) -> Any:
        return type(module_of(self))

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        module_of(self).__class__ = kind
        serve(self.__call__, self, module_of(self))

    def __setattr__(self, name: str, value: Any) -> None:
        """`_orig_mod` is what PyTorch makes of it: the attributes become those of another module, while the
        call stays that of the first one; copies call the other."""
        if name != "_orig_mod":
            super().__setattr__(name, value)
        elif isinstance(value, Module):
            serve(self.__call__, self, module_of(value))
        else:
            raise TypeError(f"[compile] got {type(value).__name__} as _orig_mod; expected a module")

    def __repr__(self) -> str:
        return f"compiled {super().__repr__()}"

    # Copies and pickles are compiled, too, without programs. The model comes before what it holds, since that
    # may hold the model.
    def __copy__(self) -> Any:
        call = self.__call__
        return compiled_model(copy.copy(module_of(self)), call._verify, call._strict)

    __deepcopy__ = None  # copy and pickle use __reduce_ex__

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(module_of(self))
        return _blank, (kind if any(_slots(kind)) else Module,), self.__call__

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, CompiledFunction):
            serve(state, self)
        else:
            super().__setstate__(state)  # type: ignore[misc]


class _OfCall:
    """An attribute of a model's call, which a module may have itself under this name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, model: Any, kind: Any = None) -> Any:
        return self if model is None else getattr(model.__call__, self._name)


class _Signature:
    """The signature of a compiled model or its class is that of the module or the module's class."""

    def __get__(self, model: Any, kind: Any) -> inspect.Signature:
        return inspect.signature(_module_class(kind) if model is None else module_of(model))


class _Programs:
    """The last base: the names that a compiled model has if its module does not have them."""

    programs, explain, run = _OfCall("programs"), _OfCall("explain"), _OfCall("run")
    _orig_mod = property(lambda model: module_of(model))  # PyTorch's name


class _Class(type):
    """The class of such a class, which counts as that of the module: ``type(fast) == type(model)``."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _module_class(cls)(*args, **kwargs)

    def __eq__(cls, other: object) -> bool:
        return cls is other or _module_class(cls) is other

    def __hash__(cls) -> int:
        return hash(_module_class(cls))

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, _module_class(cls))

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _module_class(cls))

    def __setattr__(cls, name: str, value: Any) -> None:
        setattr(_module_class(cls), name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(_module_class(cls), name)


def compiled_model(module: Any, verify: bool | int = True, strict: bool = False) -> Any:
    """The compiled model of a module."""
    model = _blank(type(module))
    serve(CompiledFunction(module, verify, strict, OfModel()), model)
    return model


def serve(call: CompiledFunction, model: Any, shown: Any = None) -> None:
    """`call` becomes that of this model, with the attributes of its module, or of another one."""
    policy: Any = call._policy
    policy.shown = call._function if shown is None else shown
    policy.model, policy.kind = ref(model), type(policy.shown)
    object.__setattr__(model, "__call__", call)
    object.__setattr__(model, "__dict__", policy.shown.__dict__)
    _SET_CLASS(model, _class_for(policy.kind))


def module_of(model: Any) -> Any:
    """The module of a compiled model; any other object itself."""
    return model.__call__._policy.shown if isinstance(model, CompiledModel) else model


def _blank(kind: type) -> Any:
    return object.__new__(_class_for(kind))


def _class_for(kind: type) -> Any:
    """The class of compiled models for the modules of a class."""
    known: list[Any] = type.__subclasses__(kind)
    for made in known:
        if made.__bases__[0] is CompiledModel:
            return made
    own: dict[str, Any] = {name: _slot(member) for name, member in _slots(kind)}
    own |= {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    own["__slots__"] = ("__call__",)
    own["__signature__"] = _Signature()
    if vars(object)["__eq__"] is kind.__eq__:  # else it compares the attributes, which are the same
        own |= {"__eq__": _is_same, "__hash__": lambda model: hash(module_of(model))}
    if hasattr(kind, "__del__"):  # the module's own end is the only one
        own["__del__"] = lambda model: None
    meta = _Class if type(kind) is type else type(type(kind).__name__, (_Class, type(kind)), {})
    # not by a call of the class: a metaclass of the user's is not told of it either
    return type.__new__(meta, kind.__name__, (CompiledModel, kind, _Programs), own)


def _module_class(kind: Any) -> Any:
    return kind.__bases__[1]


def _slots(kind: type) -> list[tuple[str, Any]]:
    members = [pair for base in kind.__mro__ for pair in vars(base).items()]
    return [(name, x) for name, x in members if type(x) is MemberDescriptorType]


def _slot(member: Any) -> property:
    """A value that an instance has outside its ``__dict__``."""
    return property(
        lambda model: member.__get__(module_of(model)),
        lambda model, value: member.__set__(module_of(model), value),
        lambda model: member.__delete__(module_of(model)),
    )


def _is_same(model: Any, other: Any) -> Any:
    return module_of(model) is module_of(other) or NotImplemented


def _any_requires_grad(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(x, Tensor) and x.requires_grad for x in (*args, *kwargs.values()))


_SET_CLASS = vars(object)["__class__"].__set__
